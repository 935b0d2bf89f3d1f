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
_LARGEST_WHOLE = 2**53  # beyond, neighbours are one floating-point number, and samplers compute with those
_STRATEGIES = ("bayesian", "random", "grid")


def search(given: Mapping[str, Any], faults: list[Fault]) -> str:
    """Check what `tune` has beyond `train`; return it as JSON text."""
    before = len(faults)
    _space(given["space"], given.get("hyperparameters") or {}, given["strategy"], faults)
    sound = len(faults) == before
    _objective(given["objective"], faults)
    trials, parallel = given["trials"], given["parallel"]
    counted = _count("trials", trials, faults) & _count("parallel", parallel, faults)
    if counted and parallel > trials:
        faults.append(Fault("parallel", f"is {parallel} and trials only {trials}: write at most {trials}"))
    if given["strategy"] not in _STRATEGIES:
        faults.append(Fault("strategy", f"is {quote(given['strategy'])}: write one of {', '.join(_STRATEGIES)}"))
    elif given["strategy"] == "grid" and sound and counted:
        _grid(given["space"], trials, faults)
    return "{}" if faults else json.dumps({name: _plain(given[name]) for name in _FIELDS})


_FIELDS = ("space", "objective", "trials", "parallel", "strategy")


def _space(space: Any, fixed: Any, strategy: Any, faults: list[Fault]) -> None:
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
    if not isinstance(domain.values, Sequence) or isinstance(domain.values, str | bytes) or not domain.values:
        faults.append(Fault(path, f"has the values {quote(domain.values)}: write a list of at least one"))
    else:
        json_text(f"{path}.values", list(domain.values), faults)


def _range(path: str, domain: Uniform | IntUniform, faults: list[Fault]) -> None:
    whole = isinstance(domain, IntUniform)
    bounds = (domain.low, domain.high)
    shown = f"from {quote(domain.low)} to {quote(domain.high)}"
    if not all(_is_number(bound, whole=whole) for bound in bounds):
        faults.append(Fault(path, f"goes {shown}: write finite numbers of its type"))
    elif whole and any(abs(bound) > _LARGEST_WHOLE for bound in bounds):
        faults.append(
            Fault(path, f"goes {shown}: write whole numbers of at most {_LARGEST_WHOLE}, which a sampler can count")
        )
    elif domain.low >= domain.high:
        faults.append(Fault(path, f"goes {shown}: low must be below high"))
    elif not math.isfinite(float(domain.high) - float(domain.low)):
        faults.append(Fault(path, f"goes {shown}, which is wider than any number: write a narrower range"))
    elif domain.log and domain.low <= 0:
        faults.append(Fault(path, f"is logarithmic {shown}: low must be above 0"))
    log: object = domain.log
    if not isinstance(log, bool):
        faults.append(Fault(f"{path}.log", f"is {quote(log)}: write True or False"))


def _is_number(bound: Any, *, whole: bool) -> bool:
    if isinstance(bound, bool) or not isinstance(bound, int if whole else int | float):
        return False
    try:
        return math.isfinite(bound)
    except OverflowError:  # an integer that no float can hold
        return False


def _grid(space: Mapping[str, Any], trials: int, faults: list[Fault]) -> None:
    sizes = [
        len(domain.values) if isinstance(domain, Choice) else domain.high - domain.low + 1 for domain in space.values()
    ]
    if (points := math.prod(sizes)) > trials:
        remedy = f"write trials={points}" if points <= _MOST_TRIALS else "search fewer values"
        faults.append(Fault("trials", f"is {trials}, and the grid has {points} points: {remedy}, or another strategy"))


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


def _count(path: str, value: Any, faults: list[Fault]) -> bool:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_TRIALS:
        return True
    faults.append(Fault(path, f"is {quote(value)}: write a whole number from 1 to {_MOST_TRIALS}"))
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Choice):
        return ["Choice", {"values": list(value.values)}]
    fields = getattr(value, "__dataclass_fields__", None)
    return [type(value).__name__, {name: getattr(value, name) for name in fields}] if fields else value
