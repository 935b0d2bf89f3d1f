"""ExitCode codes: the table, its owners, and each of them from a real process."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from lyftlearn import errors
from lyftlearn.cli._exit_codes import ExitCode, exit_code

from .conftest import CommandLine

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
PLUGIN = """
from lyftlearn import errors
from lyftlearn.backend import Backend, Capabilities, Capability, Plan, Request

def create(settings):
    return Refusing(settings)

class Refusing(Backend):
    name = "refusing"
    def __init__(self, settings): self.words = settings.table["words"]
    def capabilities(self): return Capabilities(offers=frozenset(Capability))
    def plan(self, spec):
        if self.words.startswith(("LyftLearnError", "OSError", "ZeroDivisionError")):
            raise eval(self.words, vars(errors))  # after a create these would be silences, and no refusals
        return Plan(spec=spec, backend="refusing", requests=(Request(operation="refuse", body={}),))
    def submit(self, plan):
        raise eval(self.words, {**vars(errors), "id": plan.spec.id})
    def describe(self, job_id): raise errors.JobNotFound(job_id)
    def list(self, query): return iter(())
    def logs(self, job_id, query): return iter(())
    def stop(self, job_id): pass
    def watch(self, following): return iter(())
    def outputs(self, job_id): return {}
"""


@pytest.fixture
def refusing(lyftlearn: CommandLine, tmp_path: Path) -> CommandLine:
    """A command line with one more backend, whose `submit` raises what its table says."""
    site = tmp_path / "site"
    info = site / "refusing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: refusing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lyftlearn.backends]\nrefusing = refusing:create\nbroken = refusing:nothing_here\n"
    )
    (site / "refusing.py").write_text(PLUGIN)
    path = [str(site), *filter(None, [lyftlearn.environment.get("PYTHONPATH")])]
    return CommandLine(lyftlearn.directory, {**lyftlearn.environment, "PYTHONPATH": os.pathsep.join(path)})


def configured(command_line: CommandLine, words: str) -> None:
    text = f'backend = "refusing"\n[refusing]\nwords = {words!r}\n'
    (command_line.directory / "lyftlearn.toml").write_text(text)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ('InvalidJob([("image", "is too old")])', 2, "image: is too old"),
        ('Conflict("the key is held", "eta-tl22222222222")', 5, "the key is held"),
        ('AccessDenied("s3:PutObject is missing")', 6, "s3:PutObject is missing"),
        ('QuotaExceeded("8 of 8 GPUs")', 7, "8 of 8 GPUs"),
        ('BackendUnavailable("no answer", id)', 8, "no answer"),
        ('LyftLearnError("half an installation")', 10, "half an installation"),
        ('OSError(28, "No space left on device")', 11, "No space left on device"),
        ('ZeroDivisionError("a mistake")', 70, "Traceback"),
    ],
)
def test_each_error_has_its_code(refusing: CommandLine, words: str, code: int, said: str) -> None:
    """Scripts decide by the code what to do next: try again, ask for access, give up."""
    configured(refusing, words)
    ran = refusing("train", "eta", "--", "true")
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.err


def test_an_error_as_json_carries_what_its_class_carries(refusing: CommandLine) -> None:
    """Programs need the id of the job that holds the key, not a sentence about it."""
    configured(refusing, 'Conflict("the key is held", "eta-tl22222222222")')
    ran = refusing("train", "eta", "--json", "--", "true")
    assert ran.code == 5
    assert '"job_id": "eta-tl22222222222"' in ran.err
    assert '"type": "Conflict"' in ran.err


def test_a_broken_plugin_is_listed_with_its_reason_and_disturbs_nobody(refusing: CommandLine) -> None:
    """Whoever looks for a backend must find it, and why it cannot be used."""
    configured(refusing, "None")
    ran = refusing("backends", "--json")
    assert ran.code == 0, ran.err
    listed = {backend["name"]: backend for backend in ran.json}
    assert listed["refusing"]["problem"] is None
    assert "nothing_here" in listed["broken"]["problem"]
    assert "local" in listed


def test_doctor_fails_for_a_backend_in_use_that_is_broken(refusing: CommandLine) -> None:
    """Doctor in a script must say by its code that jobs cannot run."""
    ran = refusing("doctor", LYFTLEARN_BACKEND="broken")
    assert ran.code == ExitCode.BACKEND
    assert "XX  backend broken" in ran.out


def test_an_unknown_backend_names_those_that_are_installed(lyftlearn: CommandLine) -> None:
    """A slip in the operator's override must not look like a failed job."""
    ran = lyftlearn("train", "eta", "--", "true", LYFTLEARN_BACKEND="locla")
    assert ran.code == ExitCode.BACKEND
    assert "'local'" in ran.err


def test_every_error_of_the_tree_owns_a_code() -> None:
    """An error class that is added must be given a code of its own, not its parent's by accident."""
    public = [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, Exception) and not error.__name__.startswith("_")
    ]
    codes = [exit_code(error.__new__(error)) for error in public]
    assert len(set(codes)) == len(public)
    assert ExitCode.INTERNAL not in codes


def test_the_documented_table_is_the_table() -> None:
    """A code that the page does not name, or names otherwise, cannot be relied upon."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in rows] == [(code.value, code.meaning) for code in ExitCode]
