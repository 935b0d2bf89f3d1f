"""The autopilot's decision: one rung at a time, only on evidence, and down at once."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lyftlearn._migration.autopilot import quiet_time
from lyftlearn._migration.ladder import Action, Rules, Shown, Standing, decide
from lyftlearn._migration.rungs import LADDER, Rung

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday
LONG_AGO = NOW - timedelta(days=9)
MADE_WITH = {"image": "trainer:1", "source": "c0de", "version": "1.1.0"}
GOOD = Shown(rehearsed=9, is_doubled=True, compared=99, live=99, verdict="not worse", made_with=MADE_WITH)
WORSE = replace(GOOD, verdict="worse", because=["failures"])


def on(rung: Rung, **others: Any) -> Standing:
    return replace(Standing(rung=rung, since=LONG_AGO), **others)


def test_it_climbs_one_rung_at_a_time() -> None:
    """Whatever is shown, nothing is skipped, and from the last rung there is no way up."""
    for rung, following in itertools.pairwise(LADDER):
        step = decide(on(rung), GOOD, Rules(), NOW)
        assert (step.action, step.rung) == (Action.RAISE, following)
    assert decide(on(Rung.COMPLETE), GOOD, Rules(), NOW).action is Action.HOLD


@pytest.mark.parametrize("rung", LADDER[2:])
def test_worse_is_lowered_at_once(rung: Rung) -> None:
    """Neither quiet hours nor a pause, a limit or the kill switch keep a model where its jobs fail."""
    rules = Rules(quiet=[quiet_time("00:00-23:59")], most_raises=0)
    step = decide(on(rung, since=NOW), WORSE, rules, NOW, raised_today=7, stopped=True)
    assert (step.action, step.rung, step.reason) == (Action.LOWER, Rung.REHEARSE, "the new side is worse: failures")


@pytest.mark.parametrize(
    ("rung", "shown", "missing"),
    [
        (Rung.REHEARSE, replace(GOOD, rehearsed=1, stale={"rehearsal": 8}), "2 more rehearsals .*8 earlier .* stale"),
        (Rung.REHEARSE, replace(GOOD, obstacles=["image: has no name there"]), "image: has no name there"),
        (Rung.SHADOW, replace(GOOD, compared=0), "3 more shadows"),
        (
            Rung.SHADOW,
            replace(GOOD, verdict="inconclusive", because=["cost"], more_jobs=7),
            "cost, about 7 more",
        ),
        (Rung.LIVE_10, replace(GOOD, live=2), "1 more live job with today's image"),
        (Rung.LIVE_50, replace(GOOD, verdict="no jobs"), "inconclusive"),
        (Rung.LIVE_100, replace(GOOD, verdict="inconclusive"), "inconclusive"),
    ],
)
def test_what_is_not_shown_holds(rung: Rung, shown: Shown, missing: str) -> None:
    """Each rung says what must be shown before the next."""
    step = decide(on(rung), shown, Rules(), NOW)
    assert (step.action, step.rung) == (Action.HOLD, rung)
    assert step.missing
    assert decide(on(rung), GOOD, Rules(), NOW).action is Action.RAISE
    assert re.search(missing, step.reason)


def test_jobs_that_may_not_run_twice_need_no_shadow() -> None:
    """They would wait for ever for what nobody makes."""
    shown = Shown(rehearsed=3, made_with=MADE_WITH)
    assert decide(on(Rung.SHADOW), shown, Rules(), NOW).rung is Rung.LIVE_10


def test_what_was_worse_stays_down_until_something_changes() -> None:
    """The same code on the same image would be as bad again."""
    standing = on(Rung.REHEARSE, worse_with=MADE_WITH)
    assert decide(standing, WORSE, Rules(), NOW).action is Action.HOLD
    assert decide(standing, GOOD, Rules(), NOW).action is Action.HOLD
    mended = replace(GOOD, made_with=MADE_WITH | {"source": "f00d"})
    assert decide(standing, mended, Rules(), NOW).action is Action.RAISE


def test_a_ceiling_is_never_exceeded() -> None:
    """Not by a raise, and not by who was above before it was lowered."""
    rules = Rules(ceiling=Rung.SHADOW)
    assert decide(on(Rung.SHADOW), GOOD, rules, NOW).action is Action.HOLD
    step = decide(on(Rung.LIVE_50), GOOD, rules, NOW)
    assert (step.action, step.rung) == (Action.LOWER, Rung.SHADOW)
    assert decide(on(Rung.LIVE_50), WORSE, Rules(ceiling=Rung.OFF), NOW).rung is Rung.OFF


@pytest.mark.parametrize(
    ("rules", "others", "why"),
    [
        (Rules(), {"stopped": True}, "kill switch"),
        (Rules(most_raises=5), {"raised_today": 5}, "5 models were raised"),
        (Rules(quiet=[quiet_time("wed 11:00-13:00")]), {}, "quiet"),
        (Rules(pause=timedelta(days=30)), {}, "stays on each rung until"),
    ],
)
def test_a_raise_waits(rules: Rules, others: dict[str, Any], why: str) -> None:
    """All is shown, and still it is not the time."""
    step = decide(on(Rung.LIVE_10), GOOD, rules, NOW, **others)
    assert step.action is Action.HOLD
    assert why in step.reason
    assert not step.missing


def test_a_clock_that_was_set_back_raises_nothing() -> None:
    """A pause whose beginning is to come has not passed."""
    step = decide(on(Rung.LIVE_10, since=NOW + timedelta(days=2)), GOOD, Rules(), NOW)
    assert (step.action, "clock" in step.reason) == (Action.HOLD, True)


@pytest.mark.parametrize(
    ("written", "is_quiet"),
    [
        ("18:00-08:00", False),
        ("09:00-12:00", False),
        ("12:00-12:01", True),
        ("sat-sun", False),
        ("wed", True),
        ("tue-thu 11:00-13:00", True),
        ("tue 23:00-12:30", True),
        ("wed 23:00-12:30", False),
        ("fri-mon", False),
        ("sun-wed", True),
    ],
)
def test_quiet_times(written: str, *, is_quiet: bool) -> None:
    """A night belongs to the day on which it begins, and a week goes round."""
    assert quiet_time(written).covers(NOW) is is_quiet
