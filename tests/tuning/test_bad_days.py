"""The driver's bad days: it dies wherever it can, what it asks is away or full, and somebody stops or moves things."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import lyftlearn
from lyftlearn import IntUniform
from lyftlearn._storage._directory import DirectoryStorage
from lyftlearn._studies.ledger import CHUNK
from lyftlearn.backend import Backoff
from lyftlearn.errors import AccessDenied, BackendUnavailable, QuotaExceeded
from lyftlearn.history.tables import details
from lyftlearn.tuning import driver, patience
from tests.doubles.old_and_new import Make
from tests.tuning.searching import AFTER_SIGTERM, OLD, Killed, call, watched


@pytest.fixture(autouse=True)
def surroundings(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver finds the jobs of this test, and nobody waits long for what passes."""
    monkeypatch.setenv("LYFTLEARN_HOME", str(plugins))
    monkeypatch.setattr(patience, "_PAUSES", Backoff(first=0.001, longest=0.001))


@pytest.fixture
def client(make: Make) -> lyftlearn.Client:
    return make(old=OLD)


def die_at(moment: int) -> Callable[[int], None]:
    def kill(crossed: int) -> None:
        if crossed == moment:
            raise Killed

    return kill


def test_a_driver_that_dies_anywhere(client: lyftlearn.Client, plugins: Path) -> None:
    """Killed before and after each write and each submission, it goes on: the same trials, each submitted once."""
    undisturbed = call(client, plugins)
    with watched() as boundaries:
        assert undisturbed.run() == 0
    moments = boundaries.crossed
    assert moments > 20
    for moment in range(1, moments + 1):
        search = call(client, plugins, key=str(moment))
        with watched(die_at(moment)) as first, pytest.raises(Killed):
            search.run()
        with watched() as second:
            assert search.run() == 0
        assert search.found() == undisturbed.found(), moment
        submitted = Counter(first.submitted + second.submitted)
        assert search.submitted() == set(submitted) == {trial.job.id for trial in search.job.trials()}, moment
        assert submitted.total() <= 3 + 1, "only a create whose answer the dead driver had not kept is repeated"


def test_a_stop_that_comes_at_any_moment(make: Make, plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stop` and SIGTERM between any two requests: afterwards no trial runs, whether or not the driver knew of it."""
    client = make(old=OLD | {"status": "running"})
    wait = driver.wait  # type: ignore[attr-defined]
    for moment in range(1, 100):
        search = call(client, plugins, key=str(moment))
        reached: list[int] = []

        def stop(crossed: int, moment: int = moment, job: Any = search.job, reached: list[int] = reached) -> None:
            if crossed == moment and not reached:
                reached.append(crossed)
                job.stop()
                os.kill(os.getpid(), signal.SIGTERM)

        def wait_or_stop(*arguments: Any, stop: Any = stop, moment: int = moment, **options: Any) -> Any:
            stop(moment)  # nothing more is asked: the trials run
            return wait(*arguments, **options)

        monkeypatch.setattr(driver, "wait", wait_or_stop)
        with watched(stop) as boundaries:
            assert search.run() == AFTER_SIGTERM
        running = {name for name in search.submitted() if not (plugins / "old" / f".stopped-{name}").exists()}
        assert running == set(), moment
        if boundaries.crossed < moment:
            return
    raise AssertionError("the boundaries never end")


def test_a_stop_reaches_the_trials_of_a_driver_that_died(make: Make, plugins: Path) -> None:
    """A trial is known before it is submitted, so nothing is left that only its dead driver could have stopped."""
    client = make(old=OLD | {"status": "running"})
    for moment in range(5, 17):
        search = call(client, plugins, key=str(moment))
        with watched(die_at(moment)), pytest.raises(Killed):
            search.run()
        search.job.stop()
        assert all((plugins / "old" / f".stopped-{name}").exists() for name in search.submitted()), moment
    assert search.submitted()


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (BackendUnavailable("no route to the storage"), "the study: waits, because no route to the storage"),
        (AccessDenied("a role that is not known yet"), "the study: waits, because a role that is not known yet"),
    ],
)
def test_a_storage_that_is_away_for_a_while(
    client: lyftlearn.Client,
    plugins: Path,
    capsys: pytest.CaptureFixture[str],
    refusal: lyftlearn.LyftLearnError,
    said: str,
) -> None:
    """Whichever request it is that gets no answer, the driver says so once, waits, and searches the same."""
    undisturbed = call(client, plugins)
    with watched() as boundaries:
        assert undisturbed.run() == 0
    for moment in range(1, boundaries.crossed + 1, 3):
        search = call(client, plugins, key=f"{said}{moment}")

        def refuse(crossed: int, moment: int = moment) -> None:
            if moment <= crossed < moment + 3:
                raise refusal

        capsys.readouterr()
        with watched(refuse):
            assert search.run() == 0
        assert search.found() == undisturbed.found()
        lines = capsys.readouterr().out.splitlines()
        waits = [line for line in lines if "waits, because" in line]
        assert 1 <= len(waits) == len(set(waits)) <= 2, lines
        assert any(line.endswith(": goes on") for line in lines)


def test_a_quota_that_is_full_for_a_while(
    client: lyftlearn.Client,
    plugins: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal by quota is no failed trial: the trial waits, says so, and is submitted when there is room."""
    search = call(client, plugins, trials=2)
    backend = __import__("stores").FileBackend
    commit, tries = backend._commit, Counter[str]()

    def refuse_at_first(self: Any, spec: Any) -> None:
        tries[spec.id] += 1
        if tries[spec.id] <= 4:
            raise QuotaExceeded("exceeded quota: compute, requested: cpu=4")
        commit(self, spec)

    monkeypatch.setattr(backend, "_commit", refuse_at_first)
    assert search.run() == 0
    assert [objective is not None for _, _, objective in search.found()] == [True, True]
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("trial 0: ")] == [
        "trial 0: waits, because exceeded quota: compute, requested: cpu=4",
        "trial 0: goes on",
    ]


def test_a_flag_that_moves_in_the_middle(make: Make, plugins: Path) -> None:
    """The search stays where it began: its driver's successor, and whoever calls again with its key, find it there."""
    search = call(make("off", old=OLD, new=OLD), plugins, key="nightly", trials=4)
    with watched(die_at(20)), pytest.raises(Killed):
        search.run()
    begun = search.submitted()
    assert 0 < len(begun) < 4
    moved = make("complete", old=OLD, new=OLD)
    assert call(moved, plugins, key="nightly", trials=4).job == search.job
    assert search.run() == 0
    assert len(search.submitted()) == 4
    assert search.submitted("new") == set()
    assert [trial.number for trial in moved.job(search.job.id).trials()] == [0, 1, 2, 3]  # type: ignore[attr-defined]
    assert moved.train("eta", command="x").id not in search.submitted("old")


class Requests:
    """What the study costs: requests of the storage, and bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.bytes = self._depth = 0
        for name in ("create", "read", "write", "replace"):
            monkeypatch.setattr(DirectoryStorage, name, self._counted(getattr(DirectoryStorage, name)))

    def _counted(self, action: Callable[..., Any]) -> Callable[..., Any]:
        def counted(storage: DirectoryStorage, key: str, *arguments: Any) -> Any:
            if key.startswith("tuning/") and not self._depth:  # a write is one request, whatever it is made of here
                self.count += 1
                self.bytes += len(arguments[0]) if arguments and isinstance(arguments[0], bytes) else 0
            self._depth += 1
            try:
                return action(storage, key, *arguments)
            finally:
                self._depth -= 1

        return counted


@pytest.mark.parametrize(
    ("trials", "parallel"),
    [(24, 1), (24, 4), pytest.param(10_000, 100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_what_a_trial_costs(
    make: Make,
    plugins: Path,
    monkeypatch: pytest.MonkeyPatch,
    trials: int,
    parallel: int,
) -> None:
    """Two requests a trial beside its submission, and as many bytes for the last trial as for the first."""
    client = make(old=OLD)
    space = {"rate": IntUniform(low=1, high=trials)}
    search = call(client, plugins, space=space, trials=trials, parallel=parallel, strategy="grid")
    requests = Requests(monkeypatch)
    assert search.run() == 0
    assert requests.count <= 2 * trials
    assert requests.bytes <= 2 * trials * CHUNK * 400
    assert [objective for _, _, objective in search.found()] == [float(number) for number in range(1, trials + 1)]
    known = client._session.history.history().select(sa.select(details.c.job_id, details.c.resources))
    assert search.submitted() <= {row["job_id"] for row in known if row["resources"]}
    size = sum(path.stat().st_size for path in (plugins / "storage").rglob("tuning/*/*.json"))
    assert size < 20_000_000 / 1000 * max(trials, 10)
