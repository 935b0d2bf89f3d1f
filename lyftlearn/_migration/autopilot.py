"""The autopilot: it looks at every model, decides one step of each, and takes the steps.

Wherever it dies, the next one goes on. A step is noted as planned, then the flags are written, then the note is settled
and the state written, and then whoever wants to hear of it does. What the flags say is right: a planned step that they
have is brought to its end, and one that they do not have never was.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from lyftlearn._migration import audit, autopilot_state, hooks
from lyftlearn._migration.audit import ChangeState, FlagChange
from lyftlearn._migration.autopilot_state import Remembered
from lyftlearn._migration.ladder import STOPPED, Action, QuietTime, Rules, Standing, Step, decide
from lyftlearn._migration.results import WORSE, AutopilotRun, AutopilotStep
from lyftlearn._migration.rungs import Rung, Subject, highest_of
from lyftlearn._migration.survey import Surveyed, survey
from lyftlearn.errors import BackendUnavailable
from lyftlearn.rollout.stage import Stage

if TYPE_CHECKING:
    from lyftlearn._migration.rung_store import RungStore
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

LEASE = "autopilot"
_SECONDS_OF_LEASE = 120.0
_WHO = "autopilot"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PUT_OFF = "the flag file has it on off: put it on another rung there, and it goes on"
_TAKEN_OUT = "somebody took it out of the flag file: put it on a rung there, and it goes on"


@dataclass(frozen=True)
class _Decided:
    """A model with what is decided of it."""

    of: Surveyed
    step: Step

    @property
    def moves(self) -> bool:
        """Whether flags must change."""
        return self.step.action in (Action.RAISE, Action.LOWER)

    @property
    def changes(self) -> dict[Subject, tuple[Rung | None, Rung]]:
        """What changes in the flags. Models of a repository that are listed by themselves would not move with it."""
        of, rung, repository = self.of, self.step.rung, self.of.subject[0]
        is_raise = self.step.action is Action.RAISE
        apart = {
            (repository, model): (own, rung)
            for model, own in of.apart.items()
            if (own is of.standing.rung if is_raise else own.height > rung.height)
        }
        pinned = {(repository, model): (None, at) for model, at in of.pinned.items()}
        return {of.subject: (of.listed, rung)} | apart | pinned


class Autopilot:
    """One autopilot. is_stopped: whether the kill switch is pulled. now: the time, which simulations make."""

    def __init__(
        self,
        history: History,
        config: Config,
        store: RungStore,
        is_stopped: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._history = history
        self._config = config
        self._store = store
        self._is_stopped = is_stopped
        self._now = now
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"

    def run(self, *, dry_run: bool = False) -> AutopilotRun:
        """Look once, and take the steps. Raises BackendUnavailable if another autopilot is at work."""
        if dry_run:
            return self._result(self._decide(), self._now(), dry_run=True)
        self._hold_lease()
        try:
            self._finish_earlier_steps()
            decided = self._decide()
            done = self._take(decided)
            return self._result(done, self._now(), dry_run=False)
        finally:
            self._history.hold(LEASE, self._holder, 0.0)

    def _hold_lease(self) -> None:
        if not self._history.hold(LEASE, self._holder, _SECONDS_OF_LEASE):
            raise BackendUnavailable("another autopilot is at work on this history: try again in two minutes")

    def _decide(self) -> list[_Decided]:
        """Decide of each model; those that have waited longest are raised first."""
        now, rules, stopped = self._now(), rules_of(self._config), self._is_stopped()
        raised = autopilot_state.raised_since(self._history, self._store.name, autopilot_state.last_day(now))
        decided: dict[Subject, _Decided] = {}
        found = survey(self._history, self._config, self._store, now)
        for one in sorted(found, key=lambda one: one.standing.since):
            step = decide(one.standing, one.shown, rules, now, raised_today=raised, stopped=stopped)
            if one.taken_out or one.put_off:
                reason = _TAKEN_OUT if one.taken_out else _PUT_OFF
                step = Step(action=Action.HOLD, rung=one.standing.rung, reason=reason)
            raised += step.action is Action.RAISE
            decided[one.subject] = _Decided(one, step)
        return [decided[one.subject] for one in found]

    def _take(self, decided: Sequence[_Decided]) -> list[_Decided]:
        """Take the steps, lowering first, and remember what was decided. Return what came of it."""
        done = [one for one in decided if not one.moves]
        done += self._move([one for one in decided if one.step.action is Action.LOWER])
        allowed, refused = self._ask([one for one in decided if one.step.action is Action.RAISE])
        if allowed and self._is_stopped():  # somebody pulled it while hooks were asked, which may take minutes
            refused, allowed = [*refused, *(_hold(one, STOPPED) for one in allowed)], []
        done += [*refused, *self._move(allowed)]
        holds = [self._memory_of(one) for one in done if one.step.action is Action.HOLD]
        autopilot_state.remember(self._history, self._store.name, holds)
        self._tell_of_steps()
        return sorted(done, key=lambda one: one.of.subject)

    def _ask(self, raises: Sequence[_Decided]) -> tuple[list[_Decided], list[_Decided]]:
        """Ask the hook about each raise. Once it gives no answer, nothing more is raised until the next look."""
        hook, allowed, refused, broken = self._config.autopilot["before"], list[_Decided](), list[_Decided](), ""
        for one in raises if hook else ():
            self._hold_lease()
            answer = hooks.Answer(yes=False, said=broken) if broken else hooks.tell(str(hook), self._event(one))
            broken = broken or (answer.said if answer.broken else "")
            (allowed if answer.yes else refused).append(one if answer.yes else _hold(one, f"the hook: {answer.said}"))
        self._note_refusals([] if broken else refused)
        return (allowed, refused) if hook else (list(raises), [])

    def _note_refusals(self, refused: Sequence[_Decided]) -> None:
        """Write down what is new: a hook that says the same at every look would leave nothing else in the log."""
        known = autopilot_state.recall(self._history, self._store.name) if refused else {}
        said = {subject: of.reason for subject, of in known.items()}
        news = [one for one in refused if said.get(one.of.subject) != one.step.reason]
        audit.note(self._history, [self._change(one, ChangeState.REFUSED) for one in news])

    def _move(self, decided: Sequence[_Decided]) -> list[_Decided]:
        """Write the flags, with a note before and after. Models that somebody else moved meanwhile are left there."""
        if not decided:
            return []
        self._hold_lease()
        numbers = audit.note(self._history, [self._change(one, ChangeState.PLANNED) for one in decided])
        moved = self._store.change({of: change for one in decided for of, change in one.changes.items()})
        by_state: dict[ChangeState, list[int]] = {ChangeState.WRITTEN: [], ChangeState.DROPPED: []}
        for number, one in zip(numbers, decided, strict=True):
            by_state[ChangeState.WRITTEN if one.of.subject in moved else ChangeState.DROPPED].append(number)
        autopilot_state.remember(
            self._history, self._store.name, [self._memory_of(one) for one in decided if one.of.subject in moved]
        )
        for state, some in by_state.items():
            audit.settle(self._history, some, state)
        dropped = "somebody changed its rung meanwhile"
        return [one if one.of.subject in moved else _hold(one, dropped) for one in decided]

    def _tell_of_steps(self) -> None:
        """Tell the hook of every step that was taken and that it has not heard of, for as long as it answers."""
        hook, written = self._config.autopilot["after"], self._open_changes(ChangeState.WRITTEN)
        if hook is None:
            audit.settle(self._history, [_number(change) for change in written], ChangeState.DONE)
            return
        for change in reversed(written):
            self._hold_lease()
            if hooks.tell(str(hook), _event_of(change, hooks.DONE, self._config)).broken:
                return
            audit.settle(self._history, [_number(change)], ChangeState.DONE)

    def _finish_earlier_steps(self) -> None:
        """Settle what an autopilot left behind that died: flags say whether it had written them."""
        planned = self._open_changes(ChangeState.PLANNED)
        rungs = self._store.read() if planned else {}
        for change in planned:
            is_written = rungs.get(_subject(change)) == change.rung_after
            if is_written:
                autopilot_state.remember(self._history, self._store.name, [_memory_of_change(change)])
            state = ChangeState.WRITTEN if is_written else ChangeState.DROPPED
            audit.settle(self._history, [_number(change)], state)

    def _open_changes(self, state: ChangeState) -> list[FlagChange]:
        found = audit.changes(self._history, states=[state])
        return [one for one in found if one.who.startswith(f"{_WHO} as ") and one.flags == self._store.name]

    def _change(self, one: _Decided, state: ChangeState) -> FlagChange:
        return FlagChange(
            at=self._now(),
            who=f"{_WHO} as {audit.this_user()}",
            why=one.step.reason,
            flags=self._store.name,
            state=state,
            repository=one.of.subject[0],
            model=one.of.subject[1],
            rung_before=str(one.of.standing.rung),
            rung_after=str(one.step.rung),
            evidence=_evidence(one.of),
        )

    def _event(self, one: _Decided) -> dict[str, Any]:
        return _event_of(self._change(one, ChangeState.PLANNED), hooks.PLANNED, self._config)

    def _memory_of(self, one: _Decided) -> Remembered:
        if one.moves:
            return _memory_of_change(self._change(one, ChangeState.WRITTEN))
        return Remembered(
            subject=one.of.subject,
            standing=one.of.standing,
            decided_at=self._now(),
            decision=one.step.action,
            reason=one.step.reason,
        )

    def _result(self, decided: Iterable[_Decided], at: datetime, *, dry_run: bool) -> AutopilotRun:
        steps = tuple(
            AutopilotStep(
                repository=one.of.subject[0],
                model=one.of.subject[1],
                action=str(one.step.action),
                rung_before=str(one.of.standing.rung),
                rung=str(one.step.rung),
                reason=one.step.reason,
                missing=tuple(one.step.missing),
                adopted=one.of.adopted,
            )
            for one in decided
        )
        return AutopilotRun(
            old=self._config.migration_from,
            new=str(self._config.migration_to),
            at=at,
            flags=self._store.name,
            dry_run=dry_run,
            steps=steps,
        )


def rules_of(config: Config) -> Rules:
    """Return what `[autopilot]` allows, and `[migration] ceiling`."""
    settings = config.autopilot
    lowest = min(Rung(settings["ceiling"]), highest_of(Stage(config.migration_ceiling or Stage.COMPLETE)), key=_height)
    return Rules(
        ceiling=lowest,
        pause=settings["pause"],
        rehearsals=settings["rehearsals"],
        most_raises=settings["raises_a_day"],
        quiet=[quiet_time(written) for written in settings["quiet"]],
        zone=ZoneInfo(settings["zone"]),
    )


def quiet_time(written: str) -> QuietTime:
    """Return the span that `[autopilot] quiet` names, such as `fri-sun 18:00-08:00`."""
    parts = written.split()
    hours = next((part for part in parts if ":" in part), "")
    days = next((part for part in parts if ":" not in part), "mon-sun")
    first, _, last = days.partition("-")
    start, end = (_DAYS.index(day) for day in (first, last or first))
    on = frozenset((start + at) % 7 for at in range((end - start) % 7 + 1))
    begin, _, until = hours.partition("-")
    return QuietTime(time.fromisoformat(begin or "00:00"), time.fromisoformat(until) if until else time.max, on)


def _height(rung: Rung) -> int:
    return rung.height


def _hold(one: _Decided, reason: str) -> _Decided:
    return replace(one, step=Step(action=Action.HOLD, rung=one.of.standing.rung, reason=reason))


def _event_of(change: FlagChange, kind: str, config: Config) -> dict[str, Any]:
    data = {
        "old": config.migration_from,
        "new": str(config.migration_to),
        **{name: getattr(change, name) for name in ("repository", "model", "rung_before", "rung_after", "why", "who")},
        "flags": change.flags,
        "evidence": change.evidence,
    }
    return hooks.event(kind, f"{change.repository}#{change.model}", change.at, data)


def _memory_of_change(change: FlagChange) -> Remembered:
    """Return what is remembered of a model whose step was taken."""
    evidence = dict(change.evidence or {})
    before, after = Rung(str(change.rung_before)), Rung(str(change.rung_after))
    is_lower = after.height < before.height
    worse_with = evidence.get("made_with") if is_lower and evidence.get("verdict") == WORSE else None
    return Remembered(
        subject=_subject(change),
        standing=Standing(rung=after, since=change.at, judged_since=_judged_since(evidence), worse_with=worse_with),
        decided_at=change.at,
        decision=Action.LOWER if is_lower else Action.RAISE,
        reason=change.why,
    )


def _evidence(of: Surveyed) -> dict[str, Any]:
    shown, since = of.shown, of.standing.judged_since
    counts = {"rehearsals": shown.rehearsed, "shadows": shown.compared, "live_jobs": shown.live}
    said = {"verdict": shown.verdict, "because": list(shown.because), "made_with": dict(shown.made_with)}
    return counts | said | {"judged_since": since.isoformat() if since else None}


def _judged_since(evidence: Mapping[str, Any]) -> datetime | None:
    written = evidence.get("judged_since")
    return datetime.fromisoformat(written) if written else None


def _subject(change: FlagChange) -> Subject:
    return str(change.repository), str(change.model)


def _number(change: FlagChange) -> int:
    return change.number or 0
