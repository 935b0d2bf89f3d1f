"""The half of the API that follows jobs is as strict as the half that submits, and shadows are not what it returns."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import lyftlearn
from lyftlearn.errors import InvalidJob
from tests.doubles.old_and_new import Make

HUGE = 10**5000


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("not even this")


class OddPath(os.PathLike[str]):
    def __fspath__(self) -> str:
        raise RuntimeError("no path at all")


ODD: list[Any] = [5, -1, 1.5, HUGE, "", "\0", b"x", [], {}, object(), Unprintable(), True, float("nan"), lambda: 1]


def named(value: Any) -> str:
    return "+".join(sorted(value)) if isinstance(value, set) else "call"


@pytest.fixture
def job(plugins: Path, make: Make) -> lyftlearn.Job:
    return make("off").train("eta", command="true")


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({"name": 5}, {"name"}),
        ({"name": ""}, {"name"}),
        ({"name": "a b"}, {"name"}),
        ({"kind": "dance"}, {"kind"}),
        ({"kind": ["train"]}, {"kind"}),
        ({"status": "gone"}, {"status"}),
        ({"status": HUGE}, {"status"}),
        ({"labels": "team=x"}, {"labels"}),
        ({"labels": ["team"]}, {"labels"}),
        ({"labels": {5: "x"}}, {"labels"}),
        ({"labels": {"team": 5}}, {"labels.team"}),
        ({"labels": {"team": None}}, {"labels.team"}),
        ({"since": 5}, {"since"}),
        ({"since": "yesterday"}, {"since"}),
        ({"since": datetime(2026, 1, 1)}, {"since"}),
        ({"since": timedelta.max}, {"since"}),
        ({"since": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, {"since"}),
        ({"since": timedelta(hours=-1)}, {"since"}),
        ({"limit": -1}, {"limit"}),
        ({"limit": None}, {"limit"}),
        ({"limit": "5"}, {"limit"}),
        ({"limit": True}, {"limit"}),
        ({"limit": 1.0}, {"limit"}),
        ({"name": 5, "kind": 5, "status": 5, "labels": 5, "since": 5, "limit": -5},
         {"name", "kind", "status", "labels", "since", "limit"}),
    ],
    ids=named,
)  # fmt: skip
def test_what_jobs_is_asked_is_checked(plugins: Path, make: Make, arguments: Any, paths: set[str]) -> None:
    """Every fault at once, before the first backend is asked, and not when the list is first read."""
    with pytest.raises(InvalidJob) as caught:
        make("off").jobs(**arguments)
    assert {path for path, _ in caught.value.faults} == paths


@pytest.mark.parametrize(
    "job_id", [5, None, b"eta-tlaaaaaaaaaaa", [], HUGE, Unprintable()], ids=lambda value: str(type(value))
)
def test_an_id_is_a_text(plugins: Path, make: Make, job_id: Any) -> None:
    """What can be no id is a mistake of the call; an id that nobody has is JobNotFound."""
    with pytest.raises(InvalidJob):
        make("off").job(job_id)
    for unknown in ("", "eta", "../../x", "eta-tz" + "a" * 11, "\0", "x" * 10_000):
        with pytest.raises(lyftlearn.JobNotFound) as caught:
            make("off").job(unknown)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({"jobs": None}, {"jobs"}),
        ({"jobs": 5}, {"jobs"}),
        ({"jobs": "eta-tlaaaaaaaaaaa"}, {"jobs"}),
        ({"jobs": ["eta-tlaaaaaaaaaaa"]}, {"jobs[0]"}),
        ({"jobs": [None, 5]}, {"jobs[0]", "jobs[1]"}),
        ({"jobs": {"a": 1}}, {"jobs"}),
        ({"jobs": [], "timeout": 5}, {"timeout"}),
        ({"jobs": [], "timeout": "soon"}, {"timeout"}),
        ({"jobs": [], "timeout": timedelta(-1)}, {"timeout"}),
        ({"jobs": [], "check": "yes"}, {"check"}),
        ({"jobs": [], "check": None}, {"check"}),
        ({"jobs": [], "progress": "yes"}, {"progress"}),
        ({"jobs": [], "on_update": "print"}, {"on_update"}),
        ({"jobs": 5, "timeout": 5, "check": 5, "progress": 5, "on_update": 5},
         {"jobs", "timeout", "check", "progress", "on_update"}),
    ],
    ids=named,
)  # fmt: skip
def test_what_wait_is_asked_is_checked(plugins: Path, make: Make, arguments: Any, paths: set[str]) -> None:
    """A wait that checks nothing, because of what it was given, reports a failure as success."""
    with pytest.raises(InvalidJob) as caught:
        make("off").wait(**arguments)
    assert {path for path, _ in caught.value.faults} == paths


@pytest.mark.parametrize("jobs", [bytearray(b""), memoryview(b"")])
def test_bytes_are_no_list_of_jobs(make: Make, jobs: Any) -> None:
    """Nothing was waited for, in silence."""
    with pytest.raises(InvalidJob, match="write a list of jobs"):
        make("off").wait(jobs)


def test_one_job_is_no_list(job: lyftlearn.Job, make: Make) -> None:
    """The likely mistake has the likely remedy."""
    with pytest.raises(InvalidJob, match=r"\[job\]"):
        make("off").wait(job)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["failed", "succeeded"])
def test_an_iterator_of_jobs_is_waited_for(plugins: Path, make: Make, status: str) -> None:
    """`lyftlearn.jobs(...)` is an iterator: every job of it is waited for, and the first that failed is raised."""
    client = make("off", old={"status": status})
    made = {client.train("eta", command="true").id for _ in range(3)}
    if status == "failed":
        with pytest.raises(lyftlearn.JobFailed):
            client.wait(client.jobs())  # type: ignore[arg-type]
    waited = client.wait(client.jobs(), check=False)  # type: ignore[arg-type]
    assert [state.status for state in waited] == [status] * 3
    assert {job.id for job in client.jobs()} == made
    assert client.wait(iter(()), timeout=timedelta.max) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({"follow": "yes"}, {"follow"}),
        ({"follow": None}, {"follow"}),
        ({"tail": -1}, {"tail"}),
        ({"tail": "5"}, {"tail"}),
        ({"tail": True}, {"tail"}),
        ({"node": -1}, {"node"}),
        ({"node": "0"}, {"node"}),
        ({"since": "later"}, {"since"}),
        ({"since": timedelta(hours=-1)}, {"since"}),
        ({"timestamps": "yes"}, {"timestamps"}),
        ({"follow": 5, "tail": "", "node": "", "since": "", "timestamps": ""},
         {"follow", "tail", "node", "since", "timestamps"}),
    ],
    ids=named,
)  # fmt: skip
def test_what_logs_is_asked_is_checked(job: lyftlearn.Job, arguments: Any, paths: set[str]) -> None:
    """At the call, and not at the first line."""
    with pytest.raises(InvalidJob) as caught:
        job.logs(**arguments)
    assert {path for path, _ in caught.value.faults} == paths


def test_what_download_and_stop_are_asked_is_checked(job: lyftlearn.Job, tmp_path: Path) -> None:
    """A file in the way, an empty path and a wrong output are mistakes of the call."""
    file = tmp_path / "file"
    file.write_text("x")
    for dest in (
        5,
        None,
        "",
        b"out",
        "a\0b",
        str(file),
        file / "below",
        "~nobody-has-this-name/out",
        "s3://b/out",
        file.as_uri(),
        "half of \ud800",
        OddPath(),
    ):
        with pytest.raises(InvalidJob) as caught:
            job.download(dest, output="nothing")  # type: ignore[arg-type]
        assert {path for path, _ in caught.value.faults} == {"dest", "output"}, dest
    for output in ODD:
        with pytest.raises(InvalidJob):
            job.download(tmp_path / "out", output=output)
    for wait in ("yes", 1, None):
        with pytest.raises(InvalidJob):
            job.stop(wait=wait)  # type: ignore[arg-type]
    for timeout in (5, "soon", ""):
        with pytest.raises(InvalidJob):
            job.wait(timeout)  # type: ignore[arg-type]


def test_a_shadow_is_no_job_of_the_model(plugins: Path, make: Make) -> None:
    """`next(lyftlearn.jobs(name=..., status="succeeded"))` is what users predict with: never the other side's."""
    client = make("shadow", shadow={"models": ["eta"]})
    job = client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    assert [found.id for found in client.jobs()] == [job.id]
    assert [found.id for found in client.jobs(name="eta", status="succeeded", limit=1)] == [job.id]
    assert job.id in [found.id for found in client.jobs(limit=10**30)]
    (shadow,) = client.jobs(labels={"lyftlearn/shadow": job.id})
    assert shadow.id != job.id
    assert client.job(shadow.id) == shadow


def test_a_broken_backend_is_named_at_the_callers_line(
    plugins: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin's fault costs its own jobs and a warning that points into user code, never into a library."""
    client = make("off")
    job = client.train("eta", command="true")

    def broken(_: Any) -> Iterator[Any]:
        raise RuntimeError("a bug of the plugin")

    monkeypatch.setattr(client._registry.get("new"), "list", broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(client.jobs()) == [job]
    assert [Path(one.filename) for one in caught] == [Path(__file__)]


@pytest.mark.parametrize("name", ["train", "process", "predict", "tune", "notebook", "job", "jobs", "wait"])
def test_the_functions_pickle(name: str) -> None:
    """`pool.submit(lyftlearn.train, ...)` is how many jobs are submitted at once."""
    function = getattr(lyftlearn, name)
    assert pickle.loads(pickle.dumps(function)) == function


def _named(client: lyftlearn.Client) -> str:
    return client._config.project


def test_a_client_pickles_by_its_configuration(plugins: Path, make: Make) -> None:
    """Another process opens its own connections from the same configuration."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_named, make("off")).result(timeout=600) == "tests"


class Odd(Mapping[str, Any]):
    """A mapping that is no dict, as configuration libraries have them."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def test_nested_mappings_are_hyperparameters(make: Make, plugins: Path) -> None:
    """A mapping is a JSON object at every depth, whatever its class."""
    nested = {"a": MappingProxyType({"b": Odd(c=[Odd(d=1)])})}
    session = make("off")._session
    call = {"model": "eta", "command": "true", "hyperparameters": nested, "resources": None}
    assert session.check(lyftlearn.JobKind.TRAIN, call).hyperparameters == '{"a":{"b":{"c":[{"d":1}]}}}'


def _endless() -> dict[str, Any]:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    return endless


def _laughs() -> list[Any]:
    laughs: list[Any] = ["ha"]
    for _ in range(90):
        laughs = [laughs, laughs]
    return laughs


@pytest.mark.parametrize(
    "value",
    [HUGE, -HUGE, _endless(), {"deep": {"deeper": _endless()}}, object(), Unprintable(), {HUGE: 1}, b"x"],
    ids=["huge", "negative", "endless", "deeper", "object", "unprintable", "key", "bytes"],
)
def test_what_is_no_json_is_a_fault(make: Make, plugins: Path, value: Any) -> None:
    """Whatever a person puts there: an answer in lyftlearn's words, in time."""
    with pytest.raises(InvalidJob) as caught:
        make("off").train("eta", command="true", hyperparameters={"x": value})
    assert len(str(caught.value)) < 2000


@pytest.mark.slow
def test_what_grows_without_end_is_a_fault(make: Make, plugins: Path) -> None:
    """A hundred lists that each hold the next one twice are more values than there are atoms."""
    with pytest.raises(InvalidJob, match="values"):
        make("off").train("eta", command="true", hyperparameters={"x": _laughs()})
