"""The guard: what it judges, by what, and what it says to whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn._migration import guard
from lyftlearn._migration.results import Guard, Measure
from lyftlearn.errors import InvalidJob
from lyftlearn.history.rows import ComparisonRow
from lyftlearn.history.store import History
from tests.migration.records import NEW, NOW, OLD, failing, filled, ran

_OTHERS = 100_000  # the first number of jobs of another kind
START_UP = "start-up time"  # a minute on one side, and a third of it on the other


def measure(found: Guard, name: str) -> Measure:
    (one,) = (one for one in found.measures if one.name == name)
    return one


def days(side: str, count: int, *, each: int = 10, failed: int = 0, first: int = 0, **others: Any) -> list[list[Any]]:
    """Return the records of jobs of the last days on one side, of which so many failed on each day."""
    return [
        ran(
            first + 1000 * day + n,
            side,
            status="failed" if n < failed else "succeeded",
            at=NOW - timedelta(days=day),
            **others,
        )
        for day in range(count)
        for n in range(each)
    ]


@pytest.mark.parametrize(("old", "new", "verdict"), [(5, 30, "worse"), (5, 6, "inconclusive"), (30, 5, "inconclusive")])
def test_failures_are_judged(client: Client, journal: History, old: int, new: int, verdict: str) -> None:
    """Many more are worse; one more of fifty may be chance; fewer leave open what comes."""
    failing(journal, old, new)
    found = ops.migration_guard(ignore=[START_UP], client=client)
    failures = measure(found, "failures")
    assert (failures.verdict, found.worse) == (verdict, verdict == "worse")
    assert (failures.old_bad, failures.old_jobs, failures.new_bad, failures.new_jobs) == (old, 50, new, 50)
    assert found.p_all == failures.p


def test_harm_is_ruled_out(client: Client, journal: History) -> None:
    """After some hundred jobs that fail as seldom as on the old side, waiting longer would only cost."""
    filled(journal, [*days(OLD, 25, each=40, failed=1), *days(NEW, 15, each=20)])
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert (found.verdict, found.more_jobs, found.until) == ("not worse", None, None)
    assert [one.verdict for one in found.by_model] == ["not worse"]


@pytest.mark.parametrize("others", [{"kind": "predict"}, {"model": "trees"}, {"model": "x", "repository": "rides/x"}])
def test_what_is_bad_hides_behind_nothing_sound(client: Client, journal: History, others: dict[str, str]) -> None:
    """Training is sound, and twice as many predictions fail as before: too few to be sure, too many for `not worse`."""
    filled(journal, [*days(OLD, 25, each=40, failed=1), *days(NEW, 15, each=20)])
    filled(journal, days(OLD, 25, each=10, failed=0, first=_OTHERS, **others))
    status = {0: "failed"}
    filled(journal, [ran(_OTHERS + n, NEW, status=status.get(n % 12, "succeeded"), **others) for n in range(48)])
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert measure(found, "failures").verdict != "not worse"
    assert found.verdict != "not worse"
    said = {one.model: one.verdict for one in found.by_model}
    assert said.get("eta") == ("not worse" if "model" in others else found.verdict)


def test_a_kind_with_few_jobs_is_not_waited_for(client: Client, journal: History) -> None:
    """A job a month would keep a migration for years; five are judged, and it is said how many are missing."""
    filled(journal, [*days(OLD, 25, each=40, failed=1), *days(NEW, 15, each=20)])
    filled(journal, days(OLD, 25, each=10, first=_OTHERS, kind="predict"))
    filled(journal, [ran(_OTHERS + n, NEW, kind="predict") for n in range(4)])
    assert ops.migration_guard(ignore=[START_UP], client=client).verdict == "not worse"
    filled(journal, [ran(_OTHERS + n, NEW, kind="predict") for n in range(4, 7)])
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert found.verdict == "inconclusive"
    assert 20 < (found.more_jobs or 0) < 200
    assert found.until is not None


def test_what_an_answer_needs(client: Client, journal: History) -> None:
    """A number of jobs, and a day at the pace of the last week: otherwise nobody knows whether to wait."""
    failing(journal, 3, 3)
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert found.verdict == "inconclusive"
    assert found.more_jobs is not None
    assert 50 < found.more_jobs < 1000
    assert found.until is not None
    days_left = (found.until - datetime.now(UTC)) / timedelta(days=1)
    assert days_left == pytest.approx(found.more_jobs / (50 / 7), rel=0.01)
    (eta,) = found.by_model
    assert (eta.repository, eta.model, eta.verdict) == ("rides/eta", "eta", "inconclusive")
    assert "failures" in eta.because


def test_the_platform_behind_the_users_errors(client: Client, journal: History) -> None:
    """Where many jobs fail by its own fault, those that the platform lost would be lost in the crowd."""
    for backend, lost in ((OLD, 0), (NEW, 28)):
        reasons = ["preempted"] * lost + ["user-error"] * (30 - lost) + [None] * 20
        jobs = (ran(n, backend, status="failed" if why else "succeeded", reason=why) for n, why in enumerate(reasons))
        filled(journal, jobs)
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert (found.p_all, found.worse) == (1.0, True)
    assert (found.old_failed_by_platform, found.new_failed_by_platform) == (0, 28)
    assert measure(found, "platform failures").verdict == "worse"


def test_a_few_jobs_say_nothing(client: Client, journal: History) -> None:
    """One failure of one is bad luck as easily as a bad side, and no job at all is no answer."""
    assert ops.migration_guard(client=client).verdict == "inconclusive"
    filled(journal, [ran(1, NEW, status="failed"), *(ran(n, OLD) for n in range(50))])
    assert ops.migration_guard(client=client).verdict == "inconclusive"


def test_a_model_and_a_kind_are_compared_with_themselves(client: Client, journal: History) -> None:
    """Jobs that always fail, moved alone, must not make the new side look bad (Simpson's paradox)."""
    filled(journal, [ran(n, side, model="steady") for n in range(50) for side in (OLD, NEW)])
    for side, count in ((OLD, 20), (NEW, 80)):
        jobs = [ran(n, side, model="steady", status="failed", kind="process") for n in range(100, 100 + count)]
        filled(journal, jobs)
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert (found.old_failed, found.new_failed) == (20, 80)
    assert measure(found, "failures").verdict != "worse"
    assert found.p_all > 0.5


def test_one_bad_model_of_many_is_named(client: Client, journal: History) -> None:
    """Among others that are well it is a drop, and the one to hold back."""
    for number in range(8):
        bad = 4 if number == 3 else 0
        filled(journal, days(OLD, 10, each=5, model=f"m{number}"))
        filled(journal, days(NEW, 10, each=5, failed=bad, model=f"m{number}"))
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert found.verdict == "worse"
    assert [one.model for one in found.by_model if one.verdict == "worse"] == ["m3"]


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "not worse"), (1.1, "not worse"), (1.6, "worse"), (0.5, "not worse")]
)
def test_times_are_judged(client: Client, journal: History, factor: float, verdict: str) -> None:
    """Slower by half is worse; within the margin it is another machine."""
    for side, slower in ((OLD, 1.0), (NEW, factor)):
        filled(
            journal,
            (
                timed(100 * day + n, side, NOW - timedelta(days=20 - day), timedelta(seconds=slower * (100 + 5 * n)))
                for day in range(20)
                for n in range(8)
            ),
        )
    found = ops.migration_guard(client=client)
    assert measure(found, "duration").verdict == verdict
    assert measure(found, "start-up time").verdict == "not worse"
    assert measure(found, "cost").verdict == "no jobs"


def timed(number: int, side: str, at: datetime, took: timedelta) -> list[Any]:
    """Return the records of a job that took so long, and a minute to start on either side."""
    submission, outcome = ran(number, side, at=at)
    started = NOW + timedelta(seconds=60)
    outcome = type(outcome)(**{**vars(outcome), "started_at": started, "finished_at": started + took})
    return [submission, outcome]


@pytest.mark.parametrize(("differing", "verdict"), [(0, "not worse"), (1, "inconclusive"), (6, "worse")])
def test_shadows_are_judged(client: Client, journal: History, differing: int, verdict: str) -> None:
    """Artifacts that silently differ fail no job."""
    numbers = range(12 if differing else 150)
    for n in numbers:
        differences = ["model: other bytes"] if n < differing else []
        row = ComparisonRow(job_id=f"eta-{OLD}-{n}", shadow_id=f"eta-{NEW}-{n}", differences=differences)
        filled(journal, [ran(n, OLD), ran(n, NEW, shadow_of=f"eta-{OLD}-{n}"), [row]])
    found = ops.migration_guard(ignore=[START_UP], client=client)
    assert measure(found, "shadow differences").verdict == verdict
    left_out = ops.migration_guard(ignore=["shadow differences", START_UP], client=client)
    assert "shadow differences" not in [one.name for one in left_out.measures]


@pytest.mark.parametrize("level", [0, 1, -1, 5, 5e-324])
def test_a_level_is_a_probability(client: Client, level: float) -> None:
    """`--level 5` is a mistake for 0.05, and no licence to always stop; and so is a measure that there is not."""
    with pytest.raises(InvalidJob) as caught:
        ops.migration_guard(level=level, ignore=["durations"], client=client)
    assert [path for path, _ in caught.value.faults] == ["level", "ignore"]


def test_stopped_and_unknown_jobs_say_nothing(client: Client, journal: History) -> None:
    """Somebody stopped them, or nobody knows: neither is a failure of a side."""
    failing(journal, 5, 5)
    filled(journal, [ran(100 + n, NEW, status="stopped" if n % 2 else "unknown") for n in range(40)])
    assert ops.migration_guard(client=client).new_jobs == 50


def test_the_level_is_shared_out() -> None:
    """Each measure may use up a part of it, and together no more than all."""
    assert sum(guard.SHARES.values()) == pytest.approx(1)
