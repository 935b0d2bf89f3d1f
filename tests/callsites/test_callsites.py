"""Call sites as users write them: unchanged on every backend, and the same comes of them."""

from __future__ import annotations

import ast
import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lyftlearn
from lyftlearn import ops
from tests.callsites.masks import masked
from tests.callsites.running import ARGUMENTS, EXCEPTIONS, HERE, NAMES, PATIENCE, SCRIPTS, CallSite
from tests.doubles.platforms import BACKENDS, Platforms, platforms

REFERENCE = "local-kubernetes"
"""What there was before, in the form that runs everywhere."""
QUICK_BACKENDS = ("local", REFERENCE, "local-sagemaker")
QUICK = ("attach_by_id", "failed_commands", "hyperparameters", "odd_arguments", "shell_command", "with_secrets")
QUICK_ON_LOCAL = ("invalid_searches", "search_a_grid")
"""A search needs a process more for its driver."""
NEVER_NAMED = (
    *("local", "kubernetes", "k8s", "kube", "sagemaker", "aws", "boto", "backend", "substrate", "config"),
    *("namespace", "pod", "instance_type", "ml", "arn", "bucket", "s3", "role", "cluster", "account"),
)
UPDATE = "LYFTLEARN_UPDATE_TRANSCRIPTS"
pytestmark = pytest.mark.timeout(2 * PATIENCE)  # a script ends by its own patience


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Every platform, for the tests of this module."""
    with platforms(tmp_path_factory.mktemp("platforms")) as running:
        yield running


def case(name: str, backend: str) -> Any:
    """One call site on one backend; a few are quick enough for every change."""
    quick = name in (QUICK_ON_LOCAL if backend == "local" else QUICK) and backend in QUICK_BACKENDS
    return pytest.param(name, backend, id=f"{backend}-{name}", marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "backend"), [case(name, backend) for backend in BACKENDS for name in NAMES])
def test_the_same_comes_of_it(name: str, backend: str, everywhere: Platforms, tmp_path: Path) -> None:
    """Output, errors, exit code, metrics and files, byte for byte, as the transcript has them."""
    call_site = CallSite(name, everywhere, backend)
    if why := call_site.why_not():
        pytest.skip(why)
    seen = call_site.transcript(tmp_path)
    kept = HERE / "transcripts" / f"{name}.txt"
    if backend == REFERENCE and os.environ.get(UPDATE):
        kept.write_text(seen)
    wanted = kept.read_text() if everywhere.gateway else re.sub(r"== metrics\n[^=]*", "", kept.read_text())
    assert seen == wanted, f"{kept.name} is how it was; if it is to change: {UPDATE}=1 and the reference"


@pytest.mark.parametrize("backend", ["kubernetes", "sagemaker"])
def test_mounted_files_move_without_an_upload(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call site that reads a shared file system: both plans name the files, and neither sends one."""
    plans = []
    mount = {"path": "/data", "kubernetes": {"hostPath": "/mnt"}, "sagemaker": {"file_system": "fs-01234567"}}
    role = {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1"}
    client = lyftlearn.Client(
        config={
            "home": str(tmp_path),
            "storage": {"url": "s3://bucket/lyftlearn"},
            "jobs": {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/base:1"},
            "sagemaker": {**role, "vpc": {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}},
            "mounts": {"data": mount},
        }
    )

    def process(name: str, **arguments: Any) -> Any:
        plans.append(ops.plan("process", client=client, backend=backend, name=name, **arguments))
        done = SimpleNamespace(status="succeeded")
        return SimpleNamespace(wait=lambda: done, outputs=arguments.get("outputs"), logs=list)

    monkeypatch.setattr(lyftlearn, "process", process)
    monkeypatch.setattr("sys.argv", ["mounted_files.py", "run"])
    runpy.run_path(str(HERE / "scripts" / "mounted_files.py"))
    assert [(plan.plan.faults, plan.uploads) for plan in plans] == [((), ()), ((), ())]


def words(path: Path) -> set[str]:
    """Every word of a script: of its names, its texts and its comments."""
    return set(re.findall(r"[a-z0-9]+", path.read_text().lower()))


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_no_call_site_knows_where_it_runs(path: Path) -> None:
    """Who must not change a line must not have said where: no backend, and nothing that only one of them has."""
    assert words(path) & set(NEVER_NAMED) == set()
    assert set(BACKENDS).isdisjoint(ast.dump(ast.parse(path.read_text())).split("'"))


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_call_sites_are_small(path: Path) -> None:
    """They are read as examples, too."""
    lines = path.read_text().splitlines()
    assert 8 <= len(lines) <= 60
    assert lines[0].startswith('"""')


def test_every_public_name_is_used() -> None:
    """A function that no call site calls is compared nowhere."""
    source = "\n".join(path.read_text() for path in SCRIPTS)
    used = set(re.findall(r"lyftlearn\.(\w+)", source))
    rest = {name for name in lyftlearn.__all__ if name not in used}
    assert rest == UNUSED
    handles = (lyftlearn.Job, lyftlearn.TuningJob, lyftlearn.Notebook)
    methods = {name for handle in handles for name in vars(handle) if not name.startswith("_")}
    assert {name for name in methods if f".{name}" not in source} == set()


UNUSED = {
    *("AccessDenied", "BackendUnavailable", "QuotaExceeded"),  # cannot be brought about by a call site
    *("Duration", "JobKind"),  # users write the words that these stand for
}


def test_every_transcript_has_its_script() -> None:
    """A transcript that nothing runs proves nothing."""
    assert sorted(path.stem for path in (HERE / "transcripts").glob("*.txt")) == NAMES
    assert {*ARGUMENTS, *(name for name, _ in EXCEPTIONS)} <= set(NAMES)


def test_masks_hide_nothing_else() -> None:
    """An id keeps its name and who is who, a time is a time, and a job's own traceback stays as it is."""
    first, second = "eta-tlabcdefghij2", "eta-tcabcdefghij2"
    text = (
        f'{first} {second} {first} at 2026-01-02T03:04:05.678Z in /tmp/x1/out, 2013-01-31\n  File "/lyftlearn/a.py"\n'
    )
    kept = '<id 1> eta-<id 2> eta-<id 1> at <time> in <here>/out, 2013-01-31\n  File "/lyftlearn/a.py"\n'
    assert masked(text, {"/tmp/x1": "<here>"}) == f"eta-{kept}"


def test_masked_tracebacks_keep_the_error() -> None:
    """Where in the library an error came up may change with the library; what it says may not."""
    text = (
        'Traceback:\n  File "/lib/x.py", line 3, in f\n    f()\n    ~^^\n  File "/lib/y.py", line 4\n    g()\nE: why\n'
    )
    assert masked(text, {}) == "Traceback:\n  ...\nE: why\n"
