"""Where each model stands on the ladder and what is missing before it may go on, for whoever looks.

It is what the autopilot decides by, without its pauses, quiet hours and limits: those pass by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn._migration import analysis, audit, autopilot_state, parity_runs
from lyftlearn._migration.autopilot import rules_of
from lyftlearn._migration.ladder import SLACK, Rules, what_is_missing
from lyftlearn._migration.results import (
    INCONCLUSIVE,
    NOT_FOUND_WORSE,
    WORSE,
    EvidenceOfKind,
    MigrationStatus,
    ModelEvidence,
    RungStep,
)
from lyftlearn._migration.rungs import Rung, Subject, above
from lyftlearn._migration.survey import Surveyed, survey
from lyftlearn._migration.workflows import workflows

if TYPE_CHECKING:
    from lyftlearn._migration.audit import FlagChange
    from lyftlearn._migration.rung_store import RungStore
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

_MOST_STEPS = 50


def outlook(history: History, config: Config, store: RungStore, now: datetime) -> Mapping[Subject, ModelEvidence]:
    """Return what is shown of each model that has jobs on either side, and what is missing."""
    rules, known = rules_of(config), autopilot_state.recall(history, store.name)
    found: dict[Subject, ModelEvidence] = {}
    for one in survey(history, config, store, now, every_model=True):
        remembered = known.get(one.subject)
        since = remembered.standing.since if remembered and remembered.standing == one.standing else None
        for model, of in one.models.items():
            found[one.subject[0], model] = _evidence(one, rules, since, tuple(of.kinds.values()))
    return found


def status(
    history: History, config: Config, store: RungStore, since: datetime | None, unsettled: int
) -> MigrationStatus:
    """Return how jobs fared, what is shown of each model and kind of workflow, and the newest changes of flags."""
    with history.beside(lambda: analysis.status(history, config, since, unsettled)) as counts:
        known = outlook(history, config, store, datetime.now(UTC))
        return _with_evidence(counts(), known, history, config)


def _with_evidence(
    found: MigrationStatus, known: Mapping[Subject, ModelEvidence], history: History, config: Config
) -> MigrationStatus:
    runs = parity_runs.between(history, found.old, found.new)
    counting = [run for run in runs if found.since is None or run.at >= found.since]
    return replace(
        found,
        models=tuple(replace(of, evidence=known.get((str(of.repository), str(of.model)))) for of in found.models),
        workflows=workflows(history, analysis.condition(history, config), found.since, found.new, counting),
        steps=tuple(_step(change) for change in audit.changes(history, newest=_MOST_STEPS)),
    )


def _step(change: FlagChange) -> RungStep:
    values = {name: getattr(change, name) for name in RungStep.__dataclass_fields__}
    return RungStep(**{**values, "state": str(change.state)})


def _evidence(of: Surveyed, rules: Rules, since: datetime | None, kinds: tuple[EvidenceOfKind, ...]) -> ModelEvidence:
    following = _next_rung(of.standing.rung, rules)
    only_asked_for_worse = of.standing.rung not in SLACK and of.shown.verdict == INCONCLUSIVE
    verdict = NOT_FOUND_WORSE if only_asked_for_worse else of.shown.verdict
    return ModelEvidence(
        rung=str(of.standing.rung),
        next_rung=str(following) if following else None,
        since=since,
        missing=tuple(_missing(of, rules)),
        verdict=verdict,
        because=() if verdict == NOT_FOUND_WORSE else tuple(of.shown.because),
        kinds=kinds,
    )


def _missing(of: Surveyed, rules: Rules) -> list[str]:
    """Return what must be shown before the next rung. What is worse is said on every rung that can be lowered."""
    rung = of.standing.rung
    missing = what_is_missing(of.standing, of.shown, rules) if _next_rung(rung, rules) else []
    worse = f"the new side is worse: {', '.join(of.shown.because)}"
    is_new = of.shown.verdict == WORSE and rung.height > Rung.REHEARSE.height and worse not in missing
    return [worse, *missing] if is_new else missing


def _next_rung(rung: Rung, rules: Rules) -> Rung | None:
    return above(rung) if rung.height < rules.ceiling.height else None
