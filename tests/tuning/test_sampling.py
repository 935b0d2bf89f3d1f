"""What is drawn depends on the search, the number and earlier batches alone."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lyftlearn import Choice, IntUniform, Uniform
from lyftlearn._studies.space import drawn_values
from lyftlearn._studies.study import Study
from lyftlearn._studies.trial_record import TrialRecord
from lyftlearn.errors import LyftLearnError
from lyftlearn.events import JobEvent
from lyftlearn.tuning.sampling import most_trials, sampler_of
from lyftlearn.types import JobStatus

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SPACE: dict[str, Any] = {
    "lr": Uniform(low=1e-4, high=1e-1, log=True),
    "depth": IntUniform(low=2, high=8),
    "kind": Choice([1, "1", True, None, [1, 2]]),
}


def study(space: dict[str, Any] = SPACE, strategy: str = "bayesian", trials: int = 24, seed: str = "s") -> Study:
    objective = ["Objective", {"name": "loss", "goal": "minimize", "pattern": "(.)"}]
    domains = {name: [type(domain).__name__, asdict(domain)] for name, domain in space.items()}
    search = {"space": domains, "objective": objective, "trials": trials, "parallel": 4, "strategy": strategy}
    return Study({"id": "x", "seed": seed, "search": search})


def objective(values: dict[str, Any]) -> float | None:
    if values["kind"] is None:
        return None
    return float((math.log10(values["lr"]) + 2) ** 2 + abs(values["depth"] - 5))


def search(made: Study, *, restart_at: int | None = None) -> list[dict[str, Any]]:
    """Return what is tried, batch after batch; with a sampler that begins anew before the batch `restart_at`."""
    sampler, ended = sampler_of(made), list[TrialRecord]()
    for first in range(0, most_trials(made), made.parallel):
        if restart_at == first // made.parallel:
            sampler = sampler_of(made)
            for number, record in enumerate(ended):
                sampler.add(record)
                if number % made.parallel == made.parallel - 1:
                    for told in ended[number - made.parallel + 1 : number + 1]:
                        sampler.tell(told)
        batch = [_record(number, sampler.draw(number)) for number in range(first, first + made.parallel)]
        ended += [_end(made, record) for record in batch]
        for record in ended[first:]:
            sampler.tell(record)
    return [drawn_values(made.space, record.draw) for record in ended]


def _record(number: int, draw: Any) -> TrialRecord:
    return TrialRecord(number=number, draw=draw, job_id=f"job-{number}", asked_at=NOW)


def _end(made: Study, record: TrialRecord) -> TrialRecord:
    end = JobEvent(job_id=record.job_id, status=JobStatus.SUCCEEDED, at=NOW)
    return replace(record, end=end, objective=objective(drawn_values(made.space, record.draw)))


@pytest.mark.parametrize("strategy", ["bayesian", "random"])
def test_the_same_search_tries_the_same_values(strategy: str) -> None:
    """A search that is run again is the same search, to the last bit; another one is another."""
    first = search(study(strategy=strategy))
    assert search(study(strategy=strategy)) == first
    assert search(study(strategy=strategy, seed="t")) != first


def test_a_sampler_that_begins_anew_draws_the_same() -> None:
    """A driver that is started anew has no memory but the study, and must not search another way."""
    undisturbed = search(study())
    assert search(study(), restart_at=1) == undisturbed
    assert search(study(), restart_at=4) == undisturbed


def test_the_bayesian_strategy_learns() -> None:
    """What is tried later must lie nearer to the best than what chance gave first."""
    found = [value for value in (objective(tried) for tried in search(study(trials=40))) if value is not None]
    assert sum(found[-12:]) < sum(found[:12]) / 2


def test_types_arrive_as_they_were_written() -> None:
    """`1`, `"1"`, `True` and a list are different values, also to a sampler."""
    tried = search(study(strategy="random", trials=40))
    kinds = {repr(values["kind"]) for values in tried}
    assert kinds == {"1", "'1'", "True", "None", "[1, 2]"}
    assert {type(values["depth"]) for values in tried} == {int}
    assert {type(values["lr"]) for values in tried} == {float}


def test_a_grid_tries_every_point_once_and_needs_no_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a grid wants all of it, in an order that can be read."""
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    made = study({"b": Choice(["x", "y"]), "a": IntUniform(low=1, high=3), "c": Choice([7])}, "grid", trials=8)
    assert most_trials(made) == 6
    sampler = sampler_of(made)
    tried = [tuple(drawn_values(made.space, sampler.draw(number)).values()) for number in range(6)]
    assert tried == [(1, "x", 7), (1, "y", 7), (2, "x", 7), (2, "y", 7), (3, "x", 7), (3, "y", 7)]


def test_a_missing_optuna_is_said_with_the_command_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is missing in an image far away: its log must say what to install."""
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(LyftLearnError, match=r"pip install 'lyftlearn\[tune\]'"):
        sampler_of(study())


@pytest.mark.parametrize(
    "domain",
    [
        Uniform(low=0, high=1),
        Uniform(low=-1e308, high=7e307),
        Uniform(low=5e-324, high=1e308, log=True),
        IntUniform(low=-(2**53), high=2**53),
        IntUniform(low=1, high=2**53, log=True),
        IntUniform(low=3, high=4),
        Choice([None]),
    ],
)
@pytest.mark.parametrize("strategy", ["bayesian", "random"])
def test_every_space_that_a_call_may_name_can_be_drawn_from(domain: Any, strategy: str) -> None:
    """A space that passed the checks of the call must not break the driver an hour later."""
    made = study({"x": domain}, strategy, trials=16)
    sampler = sampler_of(made)
    for number in range(16):
        record = _record(number, sampler.draw(number))
        drawn = record.draw["x"]
        assert isinstance(domain, Choice) or domain.low <= drawn <= domain.high
        sampler.tell(replace(record, end=JobEvent(job_id="j", status=JobStatus.SUCCEEDED, at=NOW), objective=1.0))
