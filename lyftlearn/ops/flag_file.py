"""What doctor looks for in a flagd definition file: mistakes that evaluation does not complain of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lyftlearn.backend import Check, Verdict
from lyftlearn.rollout import flag_providers

_CHECK = "flag file"


def checks(flags: str | None, flag: str) -> Iterator[Check]:
    """Yield a check of the file that `flags` names; none where it names a service, or nothing."""
    path = flag_providers.file_named(flags) if flags else None
    if path is not None:
        yield _checked(path, flag)


def _checked(path: Path, flag: str) -> Check:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document["flags"][flag]
    except (OSError, ValueError) as exc:
        return Check(_CHECK, Verdict.FAILED, f"{path} cannot be read: {exc}")
    except (KeyError, TypeError):
        return Check(_CHECK, Verdict.WARNING, f"{path} has no flag {flag!r}, so it decides nothing: add it")
    odd = [total for total in map(_total, _fractions([found, document.get("$evaluators")])) if total not in (None, 100)]
    if odd:
        told = ", ".join(f"{total:g}" for total in odd if total is not None)
        return Check(
            _CHECK,
            Verdict.WARNING,
            f"{path}: fractional weights add up to {told}, so they are no percentages: make each list add up to 100",
        )
    return Check(_CHECK, Verdict.OK, f"{path}: flag {flag!r} found, weights add up to 100")


def _fractions(node: Any) -> Iterator[list[Any]]:
    """Yield the arguments of every `fractional` in a document."""
    if isinstance(node, Mapping):
        if isinstance(node.get("fractional"), list):
            yield node["fractional"]
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from _fractions(child)


def _total(arguments: list[Any]) -> float | None:
    """Return the sum of the weights; None where none is written, which shares equally."""
    weights = [one[1] for one in arguments if isinstance(one, list) and len(one) == 2]
    numbers = [weight for weight in weights if isinstance(weight, int | float)]
    return sum(numbers) if numbers else None
