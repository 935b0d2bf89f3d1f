"""The rungs of the autopilot's ladder, and how a flagd definition file says which models stand on them.

The autopilot has branches of its own in the flag's `targeting`: one for each rung, with the list of what stands on it.
Everything else in the file is left as it is, and a branch that a person writes before them goes first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from enum import StrEnum
from typing import Any, TypeAlias

from lyftlearn.errors import InvalidJob
from lyftlearn.rollout.stage import Stage

Subject: TypeAlias = tuple[str, str]
"""A repository, and one of its models, or `EVERY_MODEL` for all of them."""
EVERY_MODEL = "*"
UNKNOWN = "unknown"
"""The repository of jobs that come from none."""
_REPOSITORY = {"var": ["repository", UNKNOWN]}
_MODEL = {"cat": [_REPOSITORY, "#", {"var": "model"}]}
_LOT = {"cat": [{"var": "targetingKey"}, " ", {"var": "$flagd.timestamp"}]}
"""What a job draws its lot by, so that a part of the jobs of each model is moved, and not a part of the models."""


class Rung(StrEnum):
    """How far a model has come. Rungs compare by their order, like stages."""

    OFF = "off"
    REHEARSE = "rehearse"
    SHADOW = "shadow"
    LIVE_10 = "live-10"
    LIVE_50 = "live-50"
    LIVE_100 = "live-100"
    COMPLETE = "complete"

    @property
    def stage(self) -> Stage:
        """The stage of the jobs that are moved."""
        return Stage(self.value.partition("-")[0])

    @property
    def percent(self) -> int:
        """How many of a hundred jobs are moved; the others are rehearsed."""
        return int(self.value.partition("-")[2] or 100)

    @property
    def height(self) -> int:
        """The place on the ladder, from 0."""
        return LADDER.index(self)


LADDER = tuple(Rung)


def above(rung: Rung) -> Rung | None:
    """Return the next rung, or None from the last."""
    return LADDER[rung.height + 1] if rung.height + 1 < len(LADDER) else None


def highest_of(stage: Stage) -> Rung:
    """Return the highest rung that does not exceed a stage."""
    return max((rung for rung in Rung if rung.stage <= stage), key=lambda rung: rung.height)


def rungs_in(document: Mapping[str, Any], flag: str) -> dict[Subject, Rung]:
    """Return where a flag file has each model that stands on a rung. Raises InvalidJob for a flag that is none."""
    found: dict[Subject, Rung] = {}
    outcomes = _outcomes(_flag(document, flag)["variants"])
    for condition, outcome in _branches(document["flags"].get(flag, {}).get("targeting")):
        rung = next((rung for rung, own in outcomes.items() if own == outcome), None)
        for subject in _subjects(condition) if rung else ():
            found.setdefault(subject, Rung(str(rung)))
    return found


def with_rungs(document: Mapping[str, Any], flag: str, rungs: Mapping[Subject, Rung]) -> dict[str, Any]:
    """Return the document with these models on these rungs, and no others on any. Raises what `rungs_in` raises."""
    changed: dict[str, Any] = deepcopy(dict(document))
    written = _flag(changed, flag)
    outcomes = _outcomes(written["variants"])
    _add_variants(written["variants"])
    own = [part for condition, rung in _conditions(rungs) for part in (condition, outcomes[rung])]
    written["targeting"] = _replace_branches(written.get("targeting"), own, list(outcomes.values()))
    changed["flags"][flag] = written
    return changed


def _flag(document: Mapping[str, Any], flag: str) -> dict[str, Any]:
    new = {"state": "ENABLED", "variants": {"unset": "unset"}, "defaultVariant": "unset"}
    found = document["flags"].get(flag, new)
    if not isinstance(found, dict) or not isinstance(found.get("variants"), dict):
        raise InvalidJob([("flag file", f"its flag {flag!r} has no table of variants: repair it, or remove it")])
    if found.get("state") == "DISABLED":
        raise InvalidJob([("flag file", f"its flag {flag!r} is disabled, so it decides nothing: set state to ENABLED")])
    taken = [str(stage) for stage in Stage if found["variants"].get(stage, stage) != stage]
    if taken:
        raise InvalidJob([("flag file", f"variants of {flag!r} mean something else than their names: {taken}")])
    return found


def _add_variants(variants: dict[str, Any]) -> None:
    for stage in Stage:
        if stage not in variants.values():
            variants[str(stage)] = str(stage)


def _outcomes(variants: Mapping[str, Any]) -> dict[Rung, Any]:
    """Return what a branch of each rung ends in, by the names that the flag has for the stages."""
    names = {stage: next((name for name, value in variants.items() if value == stage), str(stage)) for stage in Stage}
    return {rung: _outcome(rung, names) for rung in Rung}


def _outcome(rung: Rung, names: Mapping[Stage, str]) -> Any:
    if rung.percent == 100:
        return names[rung.stage]
    rest = [names[Stage.REHEARSE], 100 - rung.percent]
    return {"fractional": [_LOT, [names[rung.stage], rung.percent], rest]}


def _conditions(rungs: Mapping[Subject, Rung]) -> Iterator[tuple[Any, Rung]]:
    """Yield a condition for each rung that something stands on: models first, as they are the exceptions."""
    lists: dict[tuple[bool, int], list[str]] = defaultdict(list)
    for (repository, model), rung in sorted(rungs.items()):
        whole = model == EVERY_MODEL
        lists[whole, rung.height].append(repository if whole else f"{repository}#{model}")
    for (whole, height), names in sorted(lists.items()):
        yield {"in": [_REPOSITORY if whole else _MODEL, names]}, LADDER[height]


def _subjects(condition: Any) -> Iterator[Subject]:
    if not isinstance(condition, Mapping) or not isinstance(condition.get("in"), list):
        return
    what, names = condition["in"] if len(condition["in"]) == 2 else (None, None)
    for name in names if isinstance(names, list) and what in (_REPOSITORY, _MODEL) else ():
        repository, _, model = str(name).rpartition("#") if what == _MODEL else (str(name), "", EVERY_MODEL)
        yield repository, model


def _is_own(condition: Any) -> bool:
    arguments = condition.get("in") if isinstance(condition, Mapping) else None
    return isinstance(arguments, list) and bool(arguments) and arguments[0] in (_REPOSITORY, _MODEL)


def _branches(targeting: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the condition and the outcome of each branch, without the last one that has no condition."""
    arguments = targeting.get("if") if isinstance(targeting, Mapping) else None
    parts: list[Any] = arguments if isinstance(arguments, list) else []
    for at in range(0, len(parts) - 1, 2):
        yield parts[at], parts[at + 1]


def _replace_branches(targeting: Any, own: Sequence[Any], outcomes: Sequence[Any]) -> dict[str, Any]:
    """Return the rule with `own` in the place of the autopilot's branches, or before all others."""
    if not isinstance(targeting, Mapping) or not isinstance(targeting.get("if"), list):
        return {"if": [*own, *([targeting] if targeting else [])]}
    arguments, kept, place = targeting["if"], list[Any](), None
    for condition, outcome in _branches(targeting):
        if _is_own(condition) and outcome in outcomes:
            place = len(kept) if place is None else place
        else:
            kept += [condition, outcome]
    place = place or 0
    last = arguments[-1:] if len(arguments) % 2 else []
    return {"if": [*kept[:place], *own, *kept[place:], *last]}
