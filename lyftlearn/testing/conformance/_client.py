"""The public API over a backend: what a call site sees, and must see everywhere alike."""

from __future__ import annotations

import json
import pickle
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import ops
from lyftlearn.backend import Capability
from lyftlearn.rollout import OVERRIDE
from lyftlearn.testing.conformance._mounts import MountsConformance
from lyftlearn.testing.conformance._tuning import TuningConformance

_SLEEP = "import time; print('up', flush=True); time.sleep(600)"
_TRAIN = """
import json, os, pathlib, sys
import words
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    print(json.dumps(json.load(file), sort_keys=True))
flights = pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"], "flights")
print(sorted(path.name for path in flights.iterdir()), words.HELLO, os.environ["REGION"], sys.argv[1:])
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.txt").write_text("trained")
pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "output", "metrics.json").write_text("{}")
"""
_COPY_MODEL = """
import os, pathlib
model = pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.txt").read_text()
pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "predictions", "all.csv").write_text(model)
"""
_MODEL = "import os, pathlib; pathlib.Path(os.environ['LYFTLEARN_MODEL_DIR'], 'model.txt').write_text('trained')"
_LACKING: dict[Capability, Callable[[lyftlearn.Client], lyftlearn.Job]] = {
    Capability.TUNE: lambda client: client.tune(
        "conformance",
        command=["true"],
        space={"rate": lyftlearn.Uniform(low=0, high=1)},
        objective=lyftlearn.Objective(name="loss", goal="minimize", pattern="loss=([0-9.]+)"),
        trials=2,
    ),
    Capability.NOTEBOOK: lambda client: client.notebook("conformance"),
    Capability.SEVERAL_NODES: lambda client: client.train("conformance", command=["true"], nodes=2),
}


class ClientConformance(TuningConformance, MountsConformance):
    """Call sites as users write them. A subclass gives the fixture `config`; the backend must be registered."""

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """What `lyftlearn.toml` would say: `backend`, its table, `home` and `[storage] url`."""
        pytest.fail("a subclass of ClientConformance needs a fixture `config`")

    @pytest.fixture
    def python(self) -> Sequence[str]:
        """How the image of the jobs starts Python 3.8 or newer."""
        return ("python3",)

    @pytest.fixture
    def patience(self) -> str:
        """How long a trivial job takes at most, generously."""
        return "10m"

    @pytest.fixture
    def client(self, config: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> lyftlearn.Client:
        """The client under test, which no variable of this shell sends elsewhere."""
        for name in (OVERRIDE, "LYFTLEARN_HOME"):
            monkeypatch.delenv(name, raising=False)
        return lyftlearn.Client(config=config)

    @pytest.fixture
    def another(self, config: Mapping[str, Any]) -> lyftlearn.Client:
        """A client as another process has it."""
        return lyftlearn.Client(config=config)

    def test_a_train_job(self, client: lyftlearn.Client, python: Sequence[str], patience: str, tmp_path: Path) -> None:
        """The call that most people make, with code and data from this machine, and results back on it."""
        source, flights = tmp_path / "source", tmp_path / "flights"
        _write(source, {"train.py": _TRAIN, "words.py": "HELLO = 'hello'\n"})
        _write(flights, {"a.csv": "1", "b.csv": "2"})
        hyperparameters: dict[str, lyftlearn.JSON] = {"version": "1.10", "deep": True, "rate": 0.1, "layers": [1, None]}
        job = client.train(
            "conformance",
            command=[*python, "train.py", "--region=$(REGION)"],
            source=source,
            hyperparameters=hyperparameters,
            inputs={"flights": flights},
            env={"REGION": "sfo"},
            labels={"team": "eta"},
        )
        state = job.wait(patience)
        assert state.status is lyftlearn.JobStatus.SUCCEEDED
        lines = list(job.logs())
        assert lines[0] == json.dumps(hyperparameters, sort_keys=True)
        assert lines[1] == "['a.csv', 'b.csv'] hello sfo ['--region=sfo']"
        job.download(tmp_path / "out")
        assert (tmp_path / "out" / "model" / "model.txt").read_text() == "trained"
        assert (tmp_path / "out" / "output" / "metrics.json").read_text() == "{}"

    def test_a_command_for_the_shell(self, client: lyftlearn.Client, patience: str) -> None:
        """A string is a line of shell, quoting and pipes included."""
        job = client.process("conformance", command="""for word in "a b" 'c  d'; do echo "<$word>"; done | sort -r""")
        job.wait(patience)
        assert list(job.logs()) == ["<c  d>", "<a b>"]

    def test_attaching_by_id(
        self, client: lyftlearn.Client, another: lyftlearn.Client, python: Sequence[str], patience: str
    ) -> None:
        """A job is submitted by one process, followed by a second, and fetched by a third."""
        job = client.train("conformance", command=[*python, "-c", "print('hello')"], labels={"team": "eta"})
        found = another.job(job.id)
        assert (found.id, found.kind, found.name, dict(found.labels)) == (
            job.id,
            lyftlearn.JobKind.TRAIN,
            "conformance",
            {"team": "eta"},
        )
        assert next(found.logs(follow=True)) == "hello"
        assert found.wait(patience) == job.wait(patience)
        assert dict(found.outputs) == dict(job.outputs)

    def test_a_key_makes_one_job_of_many_calls(
        self, client: lyftlearn.Client, another: lyftlearn.Client, python: Sequence[str], patience: str
    ) -> None:
        """A cron that is started twice, or again after it died, trains once."""

        def train(caller: lyftlearn.Client, text: str) -> lyftlearn.Job:
            return caller.train("conformance", command=[*python, "-c", f"print({text!r})"], key="2026-01-01")

        jobs = [train(client, "ran"), train(client, "ran"), train(another, "ran")]
        assert len({job.id for job in jobs}) == 1
        jobs[0].wait(patience)
        assert train(another, "ran").status is lyftlearn.JobStatus.SUCCEEDED
        assert [line for line in jobs[0].logs() if line == "ran"] == ["ran"]
        with pytest.raises(lyftlearn.Conflict) as caught:
            train(another, "other")
        assert caught.value.job_id == jobs[0].id

    def test_a_failure_is_raised_with_its_reason(
        self, client: lyftlearn.Client, python: Sequence[str], patience: str
    ) -> None:
        """`except JobFailed` is written once, for every substrate, and may be in another process than the wait."""
        job = client.train("conformance", command=[*python, "-c", "raise SystemExit('the loss is gone')"])
        with pytest.raises(lyftlearn.JobFailed) as caught:
            job.wait(patience)
        state = caught.value.state
        assert (state.reason, state.exit_code) == (lyftlearn.FailureReason.USER_ERROR, 1)
        assert "the loss is gone" in str(caught.value)
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - just made
        assert (copy.job.id, copy.state, str(copy)) == (job.id, state, str(caught.value))

    def test_a_stop_is_raised_as_such(self, client: lyftlearn.Client, python: Sequence[str], patience: str) -> None:
        """Who waits must tell a stop from a failure, and `check=False` from both."""
        job = client.train("conformance", command=[*python, "-c", _SLEEP])
        _until_up(job)
        job.stop(wait=True)
        assert job.state.status is lyftlearn.JobStatus.STOPPED
        with pytest.raises(lyftlearn.JobStopped):
            job.wait(patience)
        assert job.wait(patience, check=False).status is lyftlearn.JobStatus.STOPPED

    def test_the_end_of_waiting_is_not_the_jobs(self, client: lyftlearn.Client, python: Sequence[str]) -> None:
        """A deadline of the caller's stops nothing that was paid for."""
        job = client.train("conformance", command=[*python, "-c", _SLEEP])
        with pytest.raises(lyftlearn.WaitTimeout) as caught:
            job.wait("1s")
        assert caught.value.jobs == [job]
        assert not job.refresh().status.finished
        job.stop(wait=True)

    def test_jobs_are_found(
        self, client: lyftlearn.Client, another: lyftlearn.Client, python: Sequence[str], patience: str
    ) -> None:
        """`jobs(...)` is where people look when they have lost the id."""
        made = [
            client.train("conformance", command=[*python, "-c", "pass"], labels={"n": str(number)})
            for number in range(3)
        ]
        client.wait(made, patience)
        found = list(another.jobs(name="conformance"))
        assert sorted(job.id for job in found) == sorted(job.id for job in made)
        created = [job.state.created_at for job in found]
        assert created == sorted(created, reverse=True)
        assert [job.id for job in another.jobs(labels={"n": "1"})] == [made[1].id]
        assert list(another.jobs(status="failed")) == []
        assert len(list(another.jobs(limit=2))) == 2

    def test_many_jobs_in_parallel(self, client: lyftlearn.Client, python: Sequence[str], patience: str) -> None:
        """A model per region, from one call site; the states come back in the order of the jobs."""
        codes = [0, 3, 0]
        jobs = [client.train("conformance", command=[*python, "-c", f"raise SystemExit({code})"]) for code in codes]
        ends: dict[str, lyftlearn.JobStatus] = {}
        states = client.wait(
            jobs, patience, check=False, on_update=lambda job, state: ends.update({job.id: state.status})
        )
        assert [state.exit_code for state in states] == codes
        assert [ends[job.id] for job in jobs] == [state.status for state in states]
        with pytest.raises(lyftlearn.JobFailed) as caught:
            client.wait(jobs, patience)
        assert caught.value.job == jobs[1]

    def test_two_handles_of_one_job(self, client: lyftlearn.Client, python: Sequence[str], patience: str) -> None:
        """Each learns the end, also the one that begins to wait after the other has been told."""
        job = client.train("conformance", command=[*python, "-c", "import time; time.sleep(2)"])
        others = [client.job(job.id) for _ in range(3)]
        for handle in (job, *others):
            assert handle.wait(patience).status is lyftlearn.JobStatus.SUCCEEDED

    def test_following_with_times(self, client: lyftlearn.Client, python: Sequence[str]) -> None:
        """RFC 3339 sorts, and is understood by every tool."""
        job = client.process("conformance", command=[*python, "-c", "print('one'); print('two')"])
        lines = list(job.logs(follow=True, timestamps=True))
        assert [line.split(" ", 1)[1] for line in lines] == ["one", "two"]
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", line) for line in lines)

    def test_a_loop_over_the_status(self, client: lyftlearn.Client, python: Sequence[str]) -> None:
        """The simplest program that waits, which many people write before they find `wait`."""
        job = client.train("conformance", command=[*python, "-c", "pass"])
        while not job.status.finished:
            pass
        assert job.state.status is lyftlearn.JobStatus.SUCCEEDED

    def test_a_model_is_used(
        self, client: lyftlearn.Client, python: Sequence[str], patience: str, tmp_path: Path
    ) -> None:
        """Train, then predict with the job itself as the artifact."""
        trained = client.train("conformance", command=[*python, "-c", _MODEL])
        trained.wait(patience)
        _write(tmp_path / "flights", {"a.csv": "1"})
        job = client.predict(
            "conformance",
            artifact=trained,
            command=[*python, "-c", _COPY_MODEL],
            inputs={"flights": tmp_path / "flights"},
        )
        job.wait(patience)
        job.download(tmp_path / "out")
        assert (tmp_path / "out" / "predictions" / "all.csv").read_text() == "trained"

    def test_several_outputs(
        self, client: lyftlearn.Client, python: Sequence[str], patience: str, tmp_path: Path
    ) -> None:
        """One of them alone can be fetched."""
        code = """
            import os, pathlib
            for folder in pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]).iterdir():
                (folder / "part.csv").write_text(folder.name)
        """
        command = [*python, "-c", textwrap.dedent(code)]
        job = client.process("conformance", command=command, outputs=["clean", "report"])
        job.wait(patience)
        assert set(job.outputs) == {"clean", "report"}
        job.download(tmp_path / "out", output="report")
        assert (tmp_path / "out" / "report" / "part.csv").read_text() == "report"
        assert not (tmp_path / "out" / "clean").exists()

    @pytest.mark.parametrize("wanted", _LACKING)
    def test_what_is_lacking_is_said_once_and_before(
        self, client: lyftlearn.Client, config: Mapping[str, Any], wanted: Capability
    ) -> None:
        """A capability that is not there is a fault of the call, with the reason, and nothing was sent."""
        (installed,) = [backend for backend in ops.backends(client) if backend.name == config["backend"]]
        if wanted in installed.offers:
            pytest.skip("offers it")
        with pytest.raises(lyftlearn.InvalidJob) as caught:
            _LACKING[wanted](client)
        assert installed.lacks[wanted] in str(caught.value)
        paths = [path for path, _ in caught.value.faults]
        assert len(paths) == len(set(paths)), f"a fault is said twice: {caught.value.faults}"
        assert list(client.jobs(name="conformance")) == []

    def test_an_unknown_id(self, client: lyftlearn.Client, python: Sequence[str]) -> None:
        """A mistyped id is JobNotFound, whether or not it could be one."""
        job = client.train("conformance", command=[*python, "-c", "pass"])
        other = job.id[:-1] + ("a" if job.id[-1] != "a" else "b")
        for wrong in ("", "conformance", "../../etc", other, job.id + "a", job.id.upper()):
            with pytest.raises(lyftlearn.JobNotFound):
                client.job(wrong)


def _write(directory: Path, files: Mapping[str, str]) -> None:
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)


def _until_up(job: lyftlearn.Job) -> None:
    assert "up" in job.logs(follow=True), f"{job.id} ended before it was up"
