"""A real Airflow, of which every process is killed at every boundary of a task: one job, and the right end.

`make test-airflow` runs this. The table of docs/how-to/airflow.md is what these tests saw: LYFTLEARN_WRITE_DOCS=1
writes it anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, Job, JobStatus
from tests.doubles.airflow import BIN, COMMAND, ROOT, Airflow, descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
BOUNDARIES = ("before submit", "after submit", "deferred", "at the end")
VICTIMS = ("task", "worker", "scheduler", "scheduler and workers", "triggerer", "api-server", "dag-processor")
PAGE = ROOT / "docs" / "how-to" / "airflow.md"
OLD = 'backend = "local-kubernetes"\n'
NEW = OLD + '[migration]\nto = "local-sagemaker"\nstage = "complete"\n'
_PATIENCE = 900.0


class Room:
    """Where the test and the tasks meet, and the Airflow that runs them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "lyftlearn.toml"
        self.config.write_text(OLD)
        dags = path / "dags"
        dags.mkdir()
        shutil.copy(Path(__file__).with_name("held.py"), dags)
        environment = {
            "LYFTLEARN_HOME": str(path / "lyftlearn"),
            "LYFTLEARN_TEST_ROOM": str(path),
            "LYFTLEARN_TEST_CONFIG_FILE": str(self.config),
        }
        self.airflow = Airflow(path / "airflow", dags, environment)

    def begin(self, run: str, hold: str = "", **conf: Any) -> None:
        self.airflow.trigger("held", run, {"hold": hold, **conf})

    def wait_until_held(self, run: str, hold: str) -> None:
        reached = self.path / f"{run}.reached"
        if hold == "deferred":
            wait_for(lambda: self.state(run) == "deferred" and bool(self.jobs(run)), run)
        else:
            wait_for(reached.exists, run)

    def process_of(self, run: str) -> int:
        return int((self.path / f"{run}.reached").read_text())

    def go_on(self, run: str) -> None:
        (self.path / f"{run}.go").touch()

    def state(self, run: str, dag: str = "held", task: str = "train") -> str | None:
        state: str | None = self.airflow.task(dag, run, task)["state"]
        return state

    def end(self, run: str, dag: str = "held", task: str = "train") -> str:
        wait_for(lambda: self.state(run, dag, task) in ("success", "failed", "upstream_failed"), f"the end of {run}")
        return str(self.state(run, dag, task))

    def jobs(self, run: str) -> list[str]:
        """The ids of the jobs whose command was started, once for each start."""
        file = self.path / f"{run}.jobs"
        return file.read_text().split() if file.exists() else []

    def result(self, run: str, dag: str = "held", task: str = "train") -> Any:
        return self.airflow.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value")[
            "value"
        ]


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    if not (BIN / "airflow").exists():
        pytest.skip(f"needs Airflow: {COMMAND}")
    room = Room(tmp_path_factory.mktemp("airflow"))
    try:
        room.airflow.start()
        wait_for(lambda: all(room.airflow.has_dag(dag) for dag in ("held", "impatient", "kinds")), "the DAGs")
        yield room
    finally:
        room.airflow.stop()


@pytest.fixture
def jobs(room: Room, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Job]]:
    """What lists all jobs that there are, whichever process submitted them."""
    monkeypatch.setenv("LYFTLEARN_HOME", str(room.path / "lyftlearn"))
    return lambda: list(Client(config=room.config).jobs(limit=1000))


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, list[str]]]:
    """What was seen, by victim; the page is written from it where that is asked for."""
    rows: dict[str, list[str]] = {}
    yield rows
    if os.environ.get("LYFTLEARN_WRITE_DOCS"):
        PAGE.write_text(page_with(rows))


def page_with(rows: dict[str, list[str]]) -> str:
    head = ["killed | " + " | ".join(BOUNDARIES), "|".join(["---"] * (1 + len(BOUNDARIES)))]
    lines = [f"| {line} |" for line in [head[0], *(f"{name} | {' | '.join(cells)}" for name, cells in rows.items())]]
    lines.insert(1, f"|{head[1]}|")
    begin, end = "<!-- kills: written by tests/airflow/test_kills.py -->\n\n", "\n\n<!-- end of kills -->"
    return re.sub(f"{begin}.*?{end}", begin + "\n".join(lines) + end, PAGE.read_text(), flags=re.DOTALL)


def kill(room: Room, victim: str, runs: Sequence[str]) -> None:
    """End a process at once, and start it again where that is nobody's work but an operator's."""
    if victim in ("task", "worker"):
        for run in runs:
            kill_task(room.process_of(run), with_parent=victim == "worker")
        return
    name = victim.split(maxsplit=1)[0]
    (room.airflow.kill_alone if victim == "scheduler" else room.airflow.kill)(name)
    room.airflow.start_process(name)
    room.airflow.wait_for_answer()


def kill_task(pid: int, *, with_parent: bool) -> None:
    """End the task's process; with its parent, the worker's process that supervises it, first."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for each in [parent] * with_parent + [pid, *descendants(pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


@pytest.mark.parametrize("victim", VICTIMS)
def test_one_job_whatever_is_killed(
    room: Room, jobs: Callable[[], list[Job]], table: dict[str, list[str]], victim: str
) -> None:
    """Every boundary at once: each has its own run. A deferred task has no process, and so none to kill."""
    runs = {hold: f"{victim} {hold}".replace(" ", "-") for hold in BOUNDARIES}
    if victim in ("task", "worker"):
        del runs["deferred"]
    for hold, run in runs.items():
        room.begin(run, hold)
    for hold, run in runs.items():
        room.wait_until_held(run, hold)
    kill(room, victim, list(runs.values()))
    for run in runs.values():
        room.go_on(run)
    seen = {hold: (room.end(run), room.jobs(run)) for hold, run in runs.items()}
    table[victim] = [cell(*seen[hold]) if hold in seen else "no process" for hold in BOUNDARIES]
    assert {hold: (end, len(ids)) for hold, (end, ids) in seen.items()} == dict.fromkeys(runs, ("success", 1))
    known = {job.id: job.status for job in jobs()}
    assert {known[room.result(run)["id"]] for run in runs.values()} == {JobStatus.SUCCEEDED}


def cell(end: str, ids: list[str]) -> str:
    return f"{len(ids)} job{'s' * (len(ids) != 1)}, {end}"


def test_the_page_has_what_was_seen(table: dict[str, list[str]]) -> None:
    if len(table) < len(VICTIMS) or os.environ.get("LYFTLEARN_WRITE_DOCS"):
        pytest.skip("needs all the kills before it")
    assert page_with(table) == PAGE.read_text()


def test_the_flag_flips_between_two_tries(room: Room, jobs: Callable[[], list[Job]]) -> None:
    """The next try finds the job where it runs; the next task goes where the flag says."""
    room.begin("flip", "after submit")
    room.wait_until_held("flip", "after submit")
    room.config.write_text(NEW)
    try:
        kill_task(room.process_of("flip"), with_parent=False)
        room.go_on("flip")
        assert (room.end("flip"), len(room.jobs("flip"))) == ("success", 1)
        room.begin("flipped")
        assert room.end("flipped") == "success"
    finally:
        room.config.write_text(OLD)
    letters = [room.result(run)["id"][-12] for run in ("flip", "flipped")]
    assert letters[0] != letters[1], letters


def test_a_job_that_the_platform_failed_has_a_successor(room: Room) -> None:
    """The next try does not take the end of the first job for its own."""
    room.begin("platform", "deferred")
    room.wait_until_held("platform", "deferred")
    kill_supervisor(room.path / "lyftlearn", room.jobs("platform")[0])
    wait_for(lambda: len(room.jobs("platform")) == 2, "the second job")
    room.go_on("platform")
    assert room.end("platform") == "success"
    assert len(set(room.jobs("platform"))) == 2
    assert room.result("platform")["id"] == room.jobs("platform")[1]


def kill_supervisor(home: Path, job_id: str) -> None:
    """End the processes of a local job as a lost machine does."""
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if job_id.encode() in cmdline.read_bytes() and str(home).encode() in cmdline.read_bytes():
                os.kill(int(cmdline.parent.name), signal.SIGKILL)


def test_an_error_of_the_user_fails_at_once(room: Room) -> None:
    """No other try would end otherwise."""
    room.begin("wrong", code=3)
    assert room.end("wrong") == "failed"
    assert len(room.jobs("wrong")) == 1
    assert room.airflow.task("held", "wrong", "train")["try_number"] <= 3


def test_a_person_who_ends_the_task_stops_the_job(room: Room, jobs: Callable[[], list[Job]]) -> None:
    """The triggerer asks, since the task is on no worker."""
    room.begin("marked", "deferred")
    room.wait_until_held("marked", "deferred")
    path = "/dags/held/dagRuns/marked/taskInstances/train"
    room.airflow.call("PATCH", path, {"new_state": "failed"})
    job_id = room.jobs("marked")[0]
    wait_for(lambda: {job.id: job for job in jobs()}[job_id].status is JobStatus.STOPPED, "the stop")


def test_a_person_who_clears_the_task_gets_another_job(room: Room) -> None:
    room.begin("cleared")
    assert room.end("cleared") == "success"
    first = room.result("cleared")["id"]
    wait_for(lambda: room.airflow.call("GET", "/dags/held/dagRuns/cleared")["state"] == "success", "the run's end")
    body = {"dry_run": False, "dag_run_id": "cleared", "task_ids": ["train"], "only_failed": False}
    room.airflow.call("POST", "/dags/held/clearTaskInstances", body)
    wait_for(lambda: len(room.jobs("cleared")) == 2, "the second job")
    assert room.end("cleared") == "success"
    assert room.result("cleared")["id"] != first


def test_the_execution_timeout_stops_the_job(room: Room, jobs: Callable[[], list[Job]]) -> None:
    room.airflow.trigger("impatient", "once")
    assert room.end("once", "impatient") == "failed"
    wait_for(lambda: [job.status for job in jobs() if job.name == "slow"] == [JobStatus.STOPPED], "the stop")


def test_every_kind_passes_its_results_on(room: Room) -> None:
    """Templates, what XCom holds, mapped tasks, the log, and a search's best trial."""
    room.airflow.trigger("kinds", "all")
    wait_for(lambda: room.airflow.call("GET", "/dags/kinds/dagRuns/all")["state"] in ("success", "failed"), "the run")
    assert room.airflow.call("GET", "/dags/kinds/dagRuns/all")["state"] == "success"
    assert room.result("all", "kinds", "tune")["best"]["hyperparameters"] == {"depth": 1}
    assert room.result("all", "kinds", "train")["state"]["status"] == "succeeded"
    logs = "".join(path.read_text() for path in room.airflow.home.glob("logs/dag_id=kinds/**/task_id=predict/**/*.log"))
    assert '"depth 1"' in logs
    assert '"7"' in logs
