"""The frozen surface: names, signatures, docstrings, errors, and what an import may cost."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import lyftlearn
from lyftlearn.backend import JobRecord
from lyftlearn.events import JobEvent
from tests import import_profile

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def job() -> lyftlearn.Job:
    event = JobEvent(job_id="eta-tlaaaaaaaaaaa", status=lyftlearn.JobStatus.FAILED, at=NOW, message="boom", exit_code=3)
    record = JobRecord(
        id="eta-tlaaaaaaaaaaa", kind=lyftlearn.JobKind.TRAIN, name="eta", labels={}, digest="", decision="", event=event
    )
    return lyftlearn.Client()._handle(record)


def test_the_surface_is_the_frozen_one() -> None:
    """Widening or changing the API is a deliberate diff of docs/api, never an accident; griffe agrees."""
    answer = subprocess.run(
        [sys.executable, "docs/api/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("function", ["train", "process", "predict", "tune", "notebook"])
def test_every_argument_is_passed_on(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument that a method takes and forgets would change nothing, and nobody would be told."""
    submissions: list[tuple[lyftlearn.JobKind, dict[str, Any]]] = []
    monkeypatch.setattr(lyftlearn.Client, "_submit", lambda _, kind, **given: submissions.append((kind, given)))
    method = getattr(lyftlearn.Client(), function)
    arguments = {name: object() for name in inspect.signature(method).parameters}
    method(**arguments)
    assert submissions == [(lyftlearn.JobKind(function), arguments)]


def test_all_is_sorted_and_complete() -> None:
    """A reader finds a name where the alphabet says; a name that is missing is not public."""
    assert sorted(lyftlearn.__all__) == sorted(set(lyftlearn.__all__))
    assert all(hasattr(lyftlearn, name) for name in lyftlearn.__all__)


def test_everything_public_is_documented() -> None:
    """`help()` is the first documentation that a user sees."""
    without = [name for name, value in _public_callables() if not inspect.getdoc(value)]
    assert without == []


def _public_callables() -> Iterator[tuple[str, Any]]:
    for name in lyftlearn.__all__:
        value = getattr(lyftlearn, name)
        if callable(value):
            yield name, value
        if inspect.isclass(value) and issubclass(value, lyftlearn.Job):
            yield from ((f"{name}.{member}", found) for member, found in vars(value).items() if member[0] != "_")


def test_classes_show_their_public_name() -> None:
    """A traceback or a repr names what the user imported, not the file behind it."""
    assert lyftlearn.Client.__module__ == lyftlearn.Job.__module__ == "lyftlearn"


def test_the_import_profile_is_the_committed_one() -> None:
    """A module that every import of lyftlearn loads from now on is paid by everybody, so a reviewer is to see it."""
    assert import_profile.measure() == import_profile.committed(), import_profile.__doc__


def test_annotations_can_be_evaluated() -> None:
    """Frameworks read them at run time; the types that they name are loaded only then."""
    hints = get_type_hints(lyftlearn.tune)
    assert hints["return"] is lyftlearn.TuningJob
    assert hints["space"] == Mapping[str, lyftlearn.Uniform | lyftlearn.IntUniform | lyftlearn.Choice]


def test_modules_of_types_and_errors_are_attributes() -> None:
    """`import lyftlearn` has always been enough to say `lyftlearn.types.Resources`."""
    program = (
        "import lyftlearn; lyftlearn.types.Resources, lyftlearn.errors.Conflict; print('Choice' in dir(lyftlearn))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.stdout == "True\n", answer.stderr
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        getattr(lyftlearn, "trian")  # noqa: B009 - a checker of types would refuse the other spelling


def test_the_import_loads_no_vendor() -> None:
    """`import lyftlearn` is paid in every notebook and test of every user."""
    heavy = ["boto3", "botocore", "lightkube", "openfeature", "requests", "rich", "sagemaker", "httpx", "asyncio"]
    program = (
        f"import lyftlearn, sys, json; lyftlearn.train; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == []


def _errors(job: lyftlearn.Job) -> list[lyftlearn.LyftLearnError]:
    return [
        lyftlearn.LyftLearnError("said"),
        lyftlearn.InvalidJob([("nodes", "is 0"), ("env", "is a list")]),
        lyftlearn.JobNotFound("no such job"),
        lyftlearn.Conflict("taken", "eta-tlaaaaaaaaaaa"),
        lyftlearn.AccessDenied("no"),
        lyftlearn.QuotaExceeded("too many"),
        lyftlearn.BackendUnavailable("gone", "eta-tlaaaaaaaaaaa"),
        lyftlearn.JobFailed(job, job.state),
        lyftlearn.JobStopped(job, job.state),
        lyftlearn.WaitTimeout([job]),
    ]


def test_errors_cover_the_tree(job: lyftlearn.Job) -> None:
    """A new error must be added to the test that pickles them."""
    public = {value for value in (getattr(lyftlearn, name) for name in lyftlearn.__all__) if _is_error(value)}
    assert {type(error) for error in _errors(job)} == public


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, lyftlearn.LyftLearnError)


def test_errors_pickle_with_their_attributes(job: lyftlearn.Job) -> None:
    """A process pool hands errors to its parent by pickling them; what they know must arrive."""
    for error in _errors(job):
        revived = pickle.loads(pickle.dumps(error))
        assert type(revived) is type(error)
        assert str(revived) == str(error)
        assert vars(revived) == vars(error)


def test_builtin_parents_catch(job: lyftlearn.Job) -> None:
    """Code that knows nothing of lyftlearn catches ValueError, LookupError, PermissionError, ConnectionError."""
    by_type = {type(error): error for error in _errors(job)}
    assert isinstance(by_type[lyftlearn.InvalidJob], ValueError)
    assert isinstance(by_type[lyftlearn.JobNotFound], LookupError)
    assert isinstance(by_type[lyftlearn.AccessDenied], PermissionError)
    assert isinstance(by_type[lyftlearn.BackendUnavailable], ConnectionError)
    assert isinstance(by_type[lyftlearn.WaitTimeout], TimeoutError)
