"""Where every model stands, and what is shown of it: what the autopilot decides by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lyftlearn._migration import autopilot_state, guard
from lyftlearn._migration.freshness import KINDS, Freshness, freshness, is_doubled
from lyftlearn._migration.ladder import SLACK, Shown, Standing
from lyftlearn._migration.results import INCONCLUSIVE, NO_JOBS, NOT_WORSE, WORSE, GuardedModel
from lyftlearn._migration.rungs import EVERY_MODEL, UNKNOWN, Rung, Subject, highest_of
from lyftlearn.rollout.stage import Stage

if TYPE_CHECKING:
    from lyftlearn._migration.autopilot_state import Remembered
    from lyftlearn._migration.rung_store import RungStore
    from lyftlearn.config import Config
    from lyftlearn.history.store import History


_MOST_DIFFERING = 0.2
"""Of shadows, whose number does not grow once a model is live."""


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """One model. adopted: why where it stands is not what is remembered. listed: its rung in the flag file, if any."""

    subject: Subject
    standing: Standing
    shown: Shown
    listed: Rung | None
    adopted: str | None = None
    taken_out: bool = False


def survey(history: History, config: Config, store: RungStore, now: datetime) -> list[Surveyed]:
    """Return every model that the autopilot is to move, in the order of their names."""
    known = _of_subjects(config, freshness(history, config, now))
    remembered = autopilot_state.recall(history, store.name)
    moved = autopilot_state.moved_before(history, store.name)
    rungs = store.read()
    found: list[Surveyed] = []
    for subject, of in sorted(known.items()):
        taken_out = subject in moved and subject not in rungs
        standing, adopted = _standing(of[0], rungs.get(subject), remembered.get(subject), now)
        standing = _forgiven(config, standing, of, now)
        one = Surveyed(
            subject=subject, standing=standing, shown=Shown(), listed=rungs.get(subject), adopted=adopted,
            taken_out=taken_out,
        )  # fmt: skip
        found.append(one)
    verdicts = _verdicts(history, config, found)
    return [replace(one, shown=_evidence_of(config, one.subject, known[one.subject], verdicts)) for one in found]


def _of_subjects(config: Config, known: Mapping[Subject, Freshness]) -> dict[Subject, list[Freshness]]:
    """Return what is known of each thing that is moved, the newest of its models first."""
    settings, found = config.autopilot, defaultdict[Subject, list[Freshness]](list)
    by_repository = settings["by"] == "repository"
    for (repository, model), of in known.items():
        name = f"{repository}#{model}"
        chosen = not settings["only"] or any(fnmatchcase(name, pattern) for pattern in settings["only"])
        if chosen and not any(fnmatchcase(name, pattern) for pattern in settings["never"]):
            found[repository, EVERY_MODEL if by_repository else model].append(of)
    return dict(found)


def _standing(
    of: Freshness, listed: Rung | None, remembered: Remembered | None, now: datetime
) -> tuple[Standing, str | None]:
    """Return where a model stands: the flag file is right, and what is remembered says since when."""
    rung = listed or highest_of(Stage(of.stage or Stage.OFF))
    if remembered is None:
        said = f"the flag file says {listed}" if listed else f"its newest job has the stage {of.stage or Stage.OFF}"
        return Standing(rung=rung, since=now), said
    if remembered.standing.rung is rung:
        return remembered.standing, None
    said = f"the flag file says {rung}" if listed else f"its newest job has the stage {of.stage or Stage.OFF}"
    return Standing(rung=rung, since=now, judged_since=now), f"{said}: somebody changed it"


def _forgiven(config: Config, standing: Standing, of: Sequence[Freshness], now: datetime) -> Standing:
    """Return where a model stands once what was worse is stale: it begins anew, and earlier jobs say nothing."""
    if standing.worse_with is None:
        return standing
    changed = dict(standing.worse_with) != dict(of[0].made_with)
    if changed or now - standing.since > config.autopilot["max_age"]:
        return replace(standing, worse_with=None, judged_since=now)
    return standing


def _verdicts(history: History, config: Config, found: Sequence[Surveyed]) -> dict[Subject, GuardedModel]:
    """Ask the guard, once for each moment since which some models are judged."""
    by_since: dict[datetime | None, dict[Subject, Rung]] = defaultdict(dict)
    for one in found:
        by_since[one.standing.judged_since][one.subject] = one.standing.rung
    verdicts: dict[Subject, GuardedModel] = {}
    settings = config.autopilot
    for since, rungs in by_since.items():

        def slack(model: guard.Model, rungs: Mapping[Subject, Rung] = rungs) -> float | None:
            rung = rungs.get((model[0] or UNKNOWN, model[1])) or rungs.get((model[0] or UNKNOWN, EVERY_MODEL))
            return SLACK.get(rung) if rung else None

        tolerance = guard.Tolerance(settings["level"], slack, _MOST_DIFFERING)
        judged = guard.judge_models(history, config, since, settings["ignore"], tolerance)
        mine = [one for one in judged if {(one.repository, one.model), (one.repository, EVERY_MODEL)} & rungs.keys()]
        verdicts |= {(one.repository, one.model): one for one in mine}
    return verdicts


def _evidence_of(
    config: Config, subject: Subject, of: Sequence[Freshness], verdicts: Mapping[Subject, GuardedModel]
) -> Shown:
    repository, model = subject
    names = [key for key in verdicts if key == subject or (model == EVERY_MODEL and key[0] == repository)]
    judged = [verdicts[name] for name in names]
    fresh = {kind: sum(one.fresh[kind] for one in of) for kind in KINDS}
    return Shown(
        rehearsed=fresh["rehearsal"],
        obstacles=[problem for one in of for problem in one.obstacles],
        is_doubled=any(is_doubled(config, subject, one) for one in of),
        compared=fresh["shadow"],
        live=fresh["live job"],
        verdict=_worst(judged),
        because=sorted({name for one in judged if one.verdict != NOT_WORSE for name in one.because}),
        more_jobs=max((one.more_jobs for one in judged if one.more_jobs), default=None),
        stale={kind: sum(one.stale[kind] for one in of) for kind in KINDS},
        made_with=of[0].made_with,
    )


def _worst(judged: Sequence[GuardedModel]) -> str:
    said = {one.verdict for one in judged}
    return next((verdict for verdict in (WORSE, INCONCLUSIVE, NOT_WORSE) if verdict in said), NO_JOBS)
