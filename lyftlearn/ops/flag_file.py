"""What doctor looks for in a flagd definition file: mistakes that evaluation does not complain of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lyftlearn._text.display import reason_of
from lyftlearn._text.small_file import read_small_text
from lyftlearn.backend import Check, Verdict
from lyftlearn.rollout import Stage, flag_providers
from lyftlearn.rollout.flags import UNSET

_CHECK = "flag file"
_ANSWERS = (*map(str, Stage), UNSET)


def checks(flags: str | None, flag: str) -> Iterator[Check]:
    """Yield a check of the file that `flags` names; none where it names a service, or nothing."""
    path = flag_providers.file_named(flags) if flags else None
    if path is not None:
        yield _check(path, flag)


def _check(path: Path, flag: str) -> Check:
    try:
        document = json.loads(read_small_text(path))
    except (OSError, ValueError, RecursionError) as exc:
        return Check(_CHECK, Verdict.FAILED, f"{path} cannot be read: {reason_of(exc)}")
    faults = faults_of(document, flag)
    if faults:
        return Check(_CHECK, Verdict.WARNING, f"{path}: flag {flag!r}: {'; '.join(faults)}")
    return Check(_CHECK, Verdict.OK, f"{path}: flag {flag!r} found, variants are stages, weights add up to 100")


def faults_of(document: Any, flag: str) -> list[str]:
    """Return every mistake in a flag of a definition file that has been read as JSON."""
    try:
        found = document["flags"][flag]
    except (KeyError, TypeError):
        return ["is not there, so nothing is decided: add it to `flags`"]
    return [*_variant_faults(found), *_weight_faults([found, document.get("$evaluators")])]


def _variant_faults(flag: Any) -> Iterator[str]:
    """Yield what is wrong with the answers that a flag has: evaluation gives them as they are, and nobody obeys."""
    variants = flag.get("variants") if isinstance(flag, Mapping) else None
    if not isinstance(variants, Mapping) or not variants:
        yield f"has no variants, so it decides nothing: add {', '.join(_ANSWERS)}"
        return
    for name, value in variants.items():
        if value not in _ANSWERS:
            yield f"variant {name!r} is {value!r}, which is no stage: write one of {', '.join(_ANSWERS)}"
    if flag.get("state") == "DISABLED":
        yield "is disabled, so it decides nothing: set state to ENABLED"
    default = flag.get("defaultVariant")
    named = {str(default)} if default is not None else set()
    for name in sorted((named | {*_named_variants(flag.get("targeting"))}) - variants.keys()):
        yield f"gives variant {name!r}, which it does not have: add it to variants"


def _named_variants(node: Any) -> Iterator[str]:
    """Yield the variants that a targeting rule gives: what `if` and `fractional` end in."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping) and isinstance(node.get("if"), list):
        branches = node["if"]
        ends = {*range(1, len(branches), 2), *([len(branches) - 1] if len(branches) % 2 else [])}
        for at in sorted(ends):
            yield from _named_variants(branches[at])
    elif isinstance(node, Mapping) and isinstance(node.get("fractional"), list):
        yield from (one[0] for one in node["fractional"] if isinstance(one, list) and one and isinstance(one[0], str))


def _weight_faults(nodes: list[Any]) -> Iterator[str]:
    odd = [total for total in map(_total, _fractions(nodes)) if total not in (None, 100)]
    if odd:
        totals = ", ".join(f"{total:g}" for total in odd if total is not None)
        yield f"fractional weights add up to {totals}, so they are no percentages: make each list add up to 100"


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
