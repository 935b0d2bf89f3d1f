"""The fake for tests of code that submits jobs: it takes what a platform would take, and does what its script says."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import JobStatus, Objective, Uniform
from lyftlearn.testing import Fake, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"
CALL: dict[str, Any] = {"command": "python train.py"}


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake that starts something would cost what it is there to save."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen.__init__", refuse)
    monkeypatch.setattr("os.posix_spawn", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.fixture(autouse=True)
def configured_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that stays as it is, and a repository whose jobs go elsewhere."""
    home = tmp_path / "home"
    (tmp_path / "lyftlearn.toml").write_text('backend = "kubernetes"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LYFTLEARN_HOME", str(home))
    return home


def test_what_was_submitted_is_what_was_written(lyftlearn_fake: Fake, configured_otherwise: Path) -> None:
    """Three lines say what a call would submit, whichever client made it."""
    lyftlearn.train("eta", **CALL, hyperparameters={"depth": 8}, nodes=1, timeout="4h")
    lyftlearn.Client(config={"backend": "sagemaker"}).process("clean", command=["true"])
    train, process = lyftlearn_fake.jobs
    written = {"model": "eta", "command": "python train.py", "hyperparameters": {"depth": 8}, "timeout": "4h"}
    assert (train.function, train.arguments) == ("train", written)
    assert (train.spec.timeout, train.spec.command[:2]) == (timedelta(hours=4), ("/bin/sh", "-c"))
    assert (process.function, process.arguments) == ("process", {"name": "clean", "command": ["true"]})
    assert not configured_otherwise.exists()


def test_a_script_says_what_becomes_of_each_job(lyftlearn_fake: Fake, tmp_path: Path) -> None:
    """States, logs, outputs: the whole of what a caller can see."""
    files: dict[str, dict[str, str | bytes]] = {"model": {"deep/m.bin": b"\0"}, "output": {"report.json": "{}"}}
    first = Outcome(logs=["one", "two"], outputs=files, states=["pending", "running"], attempt=2)
    lyftlearn_fake.script("eta", first, Outcome(status="failed", reason="out-of-memory"))
    job = lyftlearn.train("eta", **CALL)
    assert [job.refresh().status for _ in range(2)] == [JobStatus.PENDING, JobStatus.RUNNING]
    seen: list[JobStatus] = []
    (state,) = lyftlearn.wait([job], on_update=lambda _, now: seen.append(now.status))
    assert seen[-1] is JobStatus.SUCCEEDED
    assert (state.attempt, state.exit_code) == (2, 0)
    assert (list(job.logs()), list(job.logs(tail=1))) == (["one", "two"], ["two"])
    out = job.download(tmp_path / "out")
    assert (out / "model" / "deep" / "m.bin").read_bytes() == b"\0"
    assert (out / "output" / "report.json").read_text() == "{}"
    for _ in range(2):
        with pytest.raises(lyftlearn.JobFailed) as failed:
            lyftlearn.train("eta", **CALL).wait()
        assert failed.value.state.reason == "out-of-memory"
        assert failed.value.state.exit_code is None


def test_an_output_with_a_place_of_its_own_is_there(lyftlearn_fake: Fake, tmp_path: Path) -> None:
    """Callers that read what a job left at their own path find it."""
    lyftlearn_fake.script("clean", Outcome(outputs={"rides": {"a/b.csv": "1"}}))
    place = tmp_path / "my rides"
    lyftlearn.process("clean", command="true", outputs={"rides": place.as_uri()}).wait()
    assert (place / "a" / "b.csv").read_text() == "1"


def test_a_failure_ends_with_the_last_words_of_its_log(lyftlearn_fake: Fake) -> None:
    """As everywhere: whoever looks at the message finds the error."""
    lyftlearn_fake.default = Outcome(status="failed", logs=["Traceback", "ValueError: no rides"])
    with pytest.raises(lyftlearn.JobFailed, match="ValueError: no rides"):
        lyftlearn.train("eta", **CALL).wait()


def test_a_job_runs_until_somebody_ends_it(lyftlearn_fake: Fake) -> None:
    """Loops that look at a status, stops, timeouts, and logs that are followed."""
    lyftlearn_fake.default = Outcome(status="running", logs=["began"])
    job, other = lyftlearn.train("eta", **CALL), lyftlearn.train("eta", **CALL)
    assert [job.status for _ in range(3)] == ["running"] * 3
    with pytest.raises(lyftlearn.WaitTimeout):
        job.wait(timeout="0.05s")
    threading.Timer(0.05, lyftlearn_fake.end, [job, Outcome(logs=["ended"])]).start()
    assert job.wait().status == "succeeded"
    assert list(job.logs(follow=True)) == ["began", "ended"]
    other.stop(wait=True)
    assert lyftlearn_fake.jobs[1].state.status == "stopped"
    with pytest.raises(lyftlearn.JobStopped):
        other.wait()


def test_a_refusal_submits_nothing(lyftlearn_fake: Fake) -> None:
    """What callers do on a bad day is what their tests are for; there is no pause in between."""
    errors = [lyftlearn.QuotaExceeded("no"), lyftlearn.BackendUnavailable("away", "eta-tlaaaaaaaaaaa")]
    lyftlearn_fake.script("eta", *(Outcome(error=error) for error in errors), Outcome())
    for error in errors:
        with pytest.raises(type(error)):
            lyftlearn.train("eta", **CALL)
    assert lyftlearn_fake.jobs == []
    lyftlearn.train("eta", **CALL)
    assert len(lyftlearn_fake.jobs) == 1


def test_wrong_arguments_are_refused_as_always(lyftlearn_fake: Fake) -> None:
    """A test that passes with what every platform refuses would be worth nothing."""
    with pytest.raises(lyftlearn.InvalidJob) as invalid:
        lyftlearn.train("e t a", command="", source="/no/such")
    assert {path for path, _ in invalid.value.faults} == {"model", "command", "source"}
    with pytest.raises(lyftlearn.JobNotFound):
        lyftlearn.job("eta-tlaaaaaaaaaaa")


def test_a_key_is_one_job(lyftlearn_fake: Fake) -> None:
    """Callers that may be repeated are tested for just that."""
    lyftlearn_fake.script("eta", Outcome(status="running"), Outcome(status="failed"))
    first = lyftlearn.train("eta", **CALL, key="tonight")
    assert lyftlearn.train("eta", **CALL, key="tonight") == first
    with pytest.raises(lyftlearn.Conflict):
        lyftlearn.train("eta", command="another", key="tonight")
    assert [job.id for job in lyftlearn_fake.jobs] == [first.id]
    assert lyftlearn.train("eta", **CALL, key="tomorrow").wait(check=False).status == "failed"


def test_every_function_is_taken_and_found(lyftlearn_fake: Fake) -> None:
    """Searches, notebooks and predictions have callers, too."""
    trained = lyftlearn.train("eta", **CALL, labels={"team": "eta"})
    trained.wait()
    lyftlearn.predict("eta", artifact=trained, **CALL, inputs={"rides": "s3://bucket/rides/"})
    objective = Objective(name="rmse", goal="minimize", pattern=r"rmse=(\S+)")
    search = lyftlearn.tune("eta", **CALL, space={"x": Uniform(low=0, high=1)}, objective=objective, trials=3)
    notebook = lyftlearn.notebook("scratch", idle_timeout="2h")
    assert [job.function for job in lyftlearn_fake.jobs] == ["train", "predict", "tune", "notebook"]
    assert lyftlearn_fake.jobs[2].arguments["trials"] == 3
    assert lyftlearn_fake.jobs[3].arguments == {"name": "scratch", "idle_timeout": "2h"}
    assert (search.wait().status, search.trials()) == ("succeeded", [])
    assert notebook.url().startswith("http://127.0.0.1")
    assert [job.id for job in lyftlearn.jobs(labels={"team": "eta"})] == [trained.id]
    assert lyftlearn.job(trained.id) == trained


def test_a_script_that_nobody_used_is_an_error() -> None:
    """A misspelt name would otherwise test nothing, and pass."""

    def test(error: type[Exception] | None) -> None:
        with Fake() as fake:
            fake.script("eat", Outcome(status="failed"))
            lyftlearn.train("eta", **CALL)
            if error:
                raise error

    with pytest.raises(AssertionError, match=r"no job called 'eat' was submitted.*submitted: eta"):
        test(None)
    with pytest.raises(ZeroDivisionError):  # the test's own error is the one to see
        test(ZeroDivisionError)


def test_everything_is_as_before_afterwards(tmp_path: Path) -> None:
    """Clients that were used before go on with what they had; those that were used meanwhile begin anew."""
    before, meanwhile = (lyftlearn.Client(config={"home": str(tmp_path / "h"), "project": name}) for name in "ab")
    session = before._session
    with Fake() as fake:
        before.train("eta", **CALL)
        job = meanwhile.train("eta", **CALL)
        assert len(fake.jobs) == 2
        job.wait()
    assert before._session is session
    assert meanwhile._config.project == "b"
    with pytest.raises(lyftlearn.JobNotFound):
        meanwhile.job(job.id)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"status": "faild"}, "status: is 'faild': write one of pending"),
        ({"reason": "timeout"}, "only a job that failed has a reason"),
        ({"status": "failed", "outputs": {"model": {}}}, "only a job that succeeds leaves outputs"),
        ({"logs": "one\ntwo"}, "write a list of lines"),
        ({"states": ["up"]}, "states: is 'up'"),
    ],
)
def test_a_script_that_cannot_be_says_so(given: dict[str, Any], said: str) -> None:
    """At the line that wrote it, and not where some job ends oddly."""
    with pytest.raises(lyftlearn.InvalidJob, match=re.escape(said)):
        Outcome(**given)


def blocks() -> dict[str, str]:
    """Return the files of the page by their name, which is their first line."""
    found = re.findall(
        r"^```python\n# (\S+\.py)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return dict(found)


def test_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten lines to begin with are copied as they are, into a directory that knows nothing of this one."""
    monkeypatch.undo()
    for name, text in blocks().items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_nightly.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_fixture_costs_nothing_where_it_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest imports its plugins at every start, in every project of the environment."""
    monkeypatch.undo()
    (tmp_path / "test_x.py").write_text("import sys\ndef test(): assert 'lyftlearn_pytest' in sys.modules\n")
    (tmp_path / "conftest.py").write_text(
        "import sys\ndef pytest_unconfigure(): print([name for name in sys.modules if name.startswith('lyftlearn')])\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=600)
    assert ran.stdout.splitlines()[-1] == "['lyftlearn_pytest']"
