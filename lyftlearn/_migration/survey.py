"""Where every model stands, and what is shown of it: what the autopilot decides by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from lyftlearn._migration import autopilot_state, guard
from lyftlearn._migration.freshness import (
    KINDS,
    LIVE_JOB,
    REHEARSAL,
    SHADOW,
    Freshness,
    find_labelled,
    freshness,
    is_doubled,
    together,
)
from lyftlearn._migration.ladder import SLACK, MadeWith, Shown, Standing
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
    """One model. adopted: why where it stands is not what is remembered. listed: its own rung in the flag file, if any.

    models: what is known of it, or of each model of its repository, by their names. apart: where the flag file has
    models of a repository that are listed by themselves. pinned: where its models stand that are never moved. put_off:
    whether the flag file says off.
    """

    subject: Subject
    standing: Standing
    shown: Shown
    listed: Rung | None
    models: Mapping[str, Freshness]
    apart: Mapping[str, Rung] = field(default_factory=dict)
    pinned: Mapping[str, Rung] = field(default_factory=dict)
    adopted: str | None = None
    put_off: bool = False
    taken_out: bool = False


def survey(
    history: History, config: Config, store: RungStore, now: datetime, *, every_model: bool = False
) -> list[Surveyed]:
    """Return what the autopilot is to move, in the order of their names. every_model: also what it leaves alone."""
    rungs, fresh = store.read(), freshness(history, config, now)
    known = _of_subjects(config, fresh, rungs, every_model=every_model)
    remembered = autopilot_state.recall(history, store.name)
    gone = autopilot_state.moved_before(history, store.name) - rungs.keys()
    found = [
        replace(
            _survey_one(config, one, of, _Told(rungs, remembered.get(one)), now),
            pinned={} if every_model else _pins(one, of, fresh, rungs),
            taken_out=one in gone,
        )
        for one, of in sorted(known.items())
    ]
    verdicts = _verdicts(history, config, found)
    on_shadow = [(one.subject[0], model) for one in found if one.standing.rung is Rung.SHADOW for model in one.models]
    doubled = find_labelled(history, config, on_shadow)
    return [replace(one, shown=_evidence_of(config, one, _Known(verdicts, doubled), now)) for one in found]


_Models: TypeAlias = Mapping[str, Freshness]


class _Told(NamedTuple):
    """What flags say of all models, and what is remembered of one."""

    rungs: Mapping[Subject, Rung]
    remembered: Remembered | None


def _survey_one(config: Config, subject: Subject, of: _Models, told: _Told, now: datetime) -> Surveyed:
    rung, said = _rung_of(subject, _in_use(config, of, now), told.rungs)
    standing, adopted = _standing(rung, said, told.remembered, now)
    standing = _forgiven(config, standing, of, now)
    repository = subject[0]
    apart = {model: told.rungs[repository, model] for model in of if (repository, model) in told.rungs}
    return Surveyed(
        subject=subject,
        standing=standing,
        shown=Shown(),
        listed=told.rungs.get(subject),
        models=of,
        apart=apart if subject[1] == EVERY_MODEL else {},
        adopted=adopted,
        put_off=(told.rungs.get(subject) or told.rungs.get((repository, EVERY_MODEL))) is Rung.OFF,
    )


def _of_subjects(
    config: Config, known: Mapping[Subject, Freshness], rungs: Mapping[Subject, Rung], *, every_model: bool
) -> dict[Subject, dict[str, Freshness]]:
    """Return what is known of each model of each thing that is moved. Who put a model of a repository off means it."""
    settings, found = config.autopilot, defaultdict[Subject, dict[str, Freshness]](dict)
    by_repository = settings["by"] == "repository"
    for (repository, model), of in known.items():
        name = f"{repository}#{model}"
        chosen = not settings["only"] or any(fnmatchcase(name, pattern) for pattern in settings["only"])
        chosen = chosen and not any(fnmatchcase(name, pattern) for pattern in settings["never"])
        chosen = chosen and not (by_repository and rungs.get((repository, model)) is Rung.OFF)
        if every_model or chosen:
            found[repository, EVERY_MODEL if by_repository else model][model] = of
    return dict(found)


def _pins(
    subject: Subject, of: _Models, known: Mapping[Subject, Freshness], rungs: Mapping[Subject, Rung]
) -> dict[str, Rung]:
    """Return where models stand that stay there when their repository moves, and are not listed by themselves."""
    repository, moved = subject
    if moved != EVERY_MODEL:
        return {}
    others = {model: one for (other, model), one in known.items() if other == repository and model not in of}
    unlisted = [model for model in others if (repository, model) not in rungs]
    return {model: _rung_of((repository, model), {model: others[model]}, rungs)[0] for model in unlisted}


def _rung_of(subject: Subject, of: _Models, rungs: Mapping[Subject, Rung]) -> tuple[Rung, str]:
    """Return where a model or a repository stands, and who says so.

    The flag file is right; else the newest job tells. Of a repository that is not listed, the lowest model counts:
    nothing is shown of the others on a higher rung.
    """
    repository = subject[0]
    listed = rungs.get(subject) or rungs.get((repository, EVERY_MODEL))
    if listed:
        return listed, f"the flag file says {listed}"
    told = [_rung_of_model(rungs.get((repository, model)), one) for model, one in of.items()]
    return min(told, key=lambda one: one[0].height)


def _rung_of_model(listed: Rung | None, of: Freshness) -> tuple[Rung, str]:
    stage = Stage(of.stage) if of.stage in {*map(str, Stage)} else Stage.OFF  # a later version may know others
    return (
        (listed, f"the flag file says {listed}")
        if listed
        else (highest_of(stage), f"its newest job has the stage {stage}")
    )


def _standing(rung: Rung, said: str, remembered: Remembered | None, now: datetime) -> tuple[Standing, str | None]:
    """Return where it stands since when: what is remembered says so, if it is on the same rung."""
    if remembered is None:
        return Standing(rung=rung, since=now), said
    if remembered.standing.rung is rung:
        return remembered.standing, None
    return Standing(rung=rung, since=now, judged_since=now), f"{said}: somebody changed it"


def _forgiven(config: Config, standing: Standing, of: _Models, now: datetime) -> Standing:
    """Return where a model stands once what was worse is stale: it begins anew, and earlier jobs say nothing."""
    if standing.worse_with is None:
        return standing
    changed = dict(standing.worse_with) != dict(_made_with(config, of, now))
    if changed or now - standing.since > config.autopilot["max_age"]:
        return replace(standing, worse_with=None, judged_since=now)
    return standing


def _in_use(config: Config, of: _Models, now: datetime) -> _Models:
    """Return what is known of the models that still have jobs; of all, if none has."""
    return {model: one for model, one in of.items() if one.newest >= now - config.autopilot["max_age"]} or of


def _made_with(config: Config, of: _Models, now: datetime) -> MadeWith:
    return together([one.made_with for one in _in_use(config, of, now).values()])


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


class _Known(NamedTuple):
    """What is known of models besides their jobs. doubled: those on `shadow` whose labels say safe to run twice."""

    verdicts: Mapping[Subject, GuardedModel]
    doubled: Collection[Subject]


def _evidence_of(config: Config, surveyed: Surveyed, known: _Known, now: datetime) -> Shown:
    """Return what is shown of a model, or of a repository: there, each model must be rehearsed that has jobs."""
    verdicts = known.verdicts
    repository, of = surveyed.subject[0], list(_in_use(config, surveyed.models, now).values())
    judged = [verdicts[repository, model] for model in surveyed.models if (repository, model) in verdicts]
    fresh = {kind: sum(one.kinds[kind].fresh for one in of) for kind in KINDS}
    return Shown(
        rehearsed=min(one.kinds[REHEARSAL].fresh for one in of),
        obstacles=[problem for one in of for problem in one.obstacles],
        is_doubled=any(
            (repository, model) in known.doubled or is_doubled(config, model, one)
            for model, one in surveyed.models.items()
        ),
        compared=fresh[SHADOW],
        live=fresh[LIVE_JOB],
        verdict=_worst(judged),
        because=sorted({name for one in judged if one.verdict != NOT_WORSE for name in one.because}),
        more_jobs=max((one.more_jobs for one in judged if one.more_jobs), default=None),
        stale={kind: sum(one.kinds[kind].stale for one in of) for kind in KINDS},
        made_with=together([one.made_with for one in of]),
    )


def _worst(judged: Sequence[GuardedModel]) -> str:
    said = {one.verdict for one in judged}
    return next((verdict for verdict in (WORSE, INCONCLUSIVE, NOT_WORSE) if verdict in said), NO_JOBS)
