"""The checks of a tuning job's search: space, objective, trials, strategy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lyftlearn._call.json_text import json_text
from lyftlearn._contract.fault import Fault
from lyftlearn._text.display import quote
from lyftlearn.types import Choice, IntUniform, Objective, Uniform

_MOST_TRIALS = 10_000
_STRATEGIES = ("bayesian", "random", "grid")


def search(given: Mapping[str, Any], faults: list[Fault]) -> str:
    """Check what `tune` has beyond `train`; return it as JSON text."""
    _space(given["space"], given.get("hyperparameters") or {}, given["strategy"], faults)
    _objective(given["objective"], faults)
    trials, parallel = given["trials"], given["parallel"]
    _count("trials", trials, faults)
    _count("parallel", parallel, faults)
    if not faults and parallel > trials:
        faults.append(Fault("parallel", f"is {parallel} and trials only {trials}: write at most {trials}"))
    if given["strategy"] not in _STRATEGIES:
        faults.append(Fault("strategy", f"is {quote(given['strategy'])}: write one of {', '.join(_STRATEGIES)}"))
    return "{}" if faults else json.dumps({name: _plain(given[name]) for name in _FIELDS})


_FIELDS = ("space", "objective", "trials", "parallel", "strategy")


def _space(space: Any, fixed: Mapping[str, Any], strategy: Any, faults: list[Fault]) -> None:
    if not isinstance(space, Mapping) or not space:
        faults.append(Fault("space", f"is {quote(space)}: write a mapping of names to Uniform, IntUniform or Choice"))
        return
    for name, domain in space.items():
        if not isinstance(name, str):
            faults.append(Fault("space", f"{quote(name)} is no name: write a text"))
            continue
        path = f"space.{name}"
        if isinstance(fixed, Mapping) and name in fixed:
            faults.append(Fault(path, "is also in hyperparameters, which are fixed: name it once"))
        if isinstance(domain, Choice):
            _choice(path, domain, faults)
        elif isinstance(domain, Uniform | IntUniform):
            _range(path, domain, faults)
            if isinstance(domain, Uniform) and strategy == "grid":
                faults.append(Fault(path, "is a Uniform, and a grid has no end there: write a Choice or an IntUniform"))
        else:
            faults.append(Fault(path, f"is {quote(domain)}: write Uniform, IntUniform or Choice"))


def _choice(path: str, domain: Choice, faults: list[Fault]) -> None:
    if not isinstance(domain.values, Sequence) or isinstance(domain.values, str) or not domain.values:
        faults.append(Fault(path, f"has the values {quote(domain.values)}: write a list of at least one"))
    else:
        json_text(f"{path}.values", list(domain.values), faults)


def _range(path: str, domain: Uniform | IntUniform, faults: list[Fault]) -> None:
    kinds = (int,) if isinstance(domain, IntUniform) else (int, float)
    bounds = (domain.low, domain.high)
    if not all(isinstance(bound, kinds) and not isinstance(bound, bool) and math.isfinite(bound) for bound in bounds):
        faults.append(
            Fault(path, f"goes from {quote(domain.low)} to {quote(domain.high)}: write finite numbers of its type")
        )
    elif domain.low >= domain.high:
        faults.append(Fault(path, f"goes from {quote(domain.low)} to {quote(domain.high)}: low must be below high"))
    elif domain.log and domain.low <= 0:
        faults.append(Fault(path, f"is logarithmic from {quote(domain.low)}: low must be above 0"))


def _is_finite(bound: float) -> bool:
    try:
        return math.isfinite(bound)
    except OverflowError:  # an integer that no float can hold
        return False


def _objective(objective: Any, faults: list[Fault]) -> None:
    if not isinstance(objective, Objective):
        faults.append(
            Fault("objective", f"is {quote(objective)}: write lyftlearn.Objective(name=..., goal=..., pattern=...)")
        )
        return
    if not isinstance(objective.name, str) or not objective.name:
        faults.append(Fault("objective.name", f'is {quote(objective.name)}: write a text, such as "rmse"'))
    if objective.goal not in ("minimize", "maximize"):
        faults.append(Fault("objective.goal", f'is {quote(objective.goal)}: write "minimize" or "maximize"'))
    try:
        groups = re.compile(objective.pattern).groups
    except (re.error, TypeError, OverflowError, RecursionError) as exc:
        faults.append(Fault("objective.pattern", f"is no regular expression ({exc})"))
        return
    if groups != 1:
        faults.append(Fault("objective.pattern", f"has {groups} groups: write one, which captures the number"))


def _count(path: str, value: Any, faults: list[Fault]) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_TRIALS:
        faults.append(Fault(path, f"is {quote(value)}: write a whole number from 1 to {_MOST_TRIALS}"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    fields = getattr(value, "__dataclass_fields__", None)
    return [type(value).__name__, {name: getattr(value, name) for name in fields}] if fields else value
