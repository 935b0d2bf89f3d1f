"""What callers write: every fault is found, all are said at once, and what is right arrives unchanged."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lyftlearn
from lyftlearn._call.arguments import Arguments, check
from lyftlearn._call.json_text import MAX_BYTES
from lyftlearn.types import JobKind

MINIMAL: dict[str, Any] = {"model": "eta", "command": ["true"], "resources": None}


def faults(kind: JobKind = JobKind.TRAIN, **arguments: Any) -> dict[str, str]:
    """Return path to problem of a call that must be refused."""
    with pytest.raises(lyftlearn.InvalidJob) as caught:
        check(kind, MINIMAL | arguments)
    return dict(caught.value.faults)


def checked(kind: JobKind = JobKind.TRAIN, **arguments: Any) -> Arguments:
    return check(kind, MINIMAL | arguments)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "empty name": ({"model": ""}, "model"),
    "unicode name": ({"model": "trajet-été"}, "model"),
    "long name": ({"model": "x" * 300}, "model"),
    "leading dash": ({"model": "-eta"}, "model"),
    "name with a slash": ({"model": "a/b"}, "model"),
    "name that is no string": ({"model": 7}, "model"),
    "empty command": ({"command": []}, "command"),
    "blank command": ({"command": "  "}, "command"),
    "empty program": ({"command": [""]}, "command"),
    "number in command": ({"command": ["sleep", 3]}, "command[1]"),
    "NUL in command": ({"command": ["a\0b"]}, "command[0]"),
    "argument beyond what Linux gives": ({"command": ["echo", "x" * 131072]}, "command[1]"),
    "command of another type": ({"command": 3}, "command"),
    "image with a space": ({"image": "a b"}, "image"),
    "env key with a dash": ({"env": {"A-B": "1"}}, "env"),
    "env key with a digit first": ({"env": {"1A": "1"}}, "env"),
    "empty env key": ({"env": {"": "1"}}, "env"),
    "env key with =": ({"env": {"A=B": "1"}}, "env"),
    "env key of the platform": ({"env": {"LYFTLEARN_JOB_ID": "1"}}, "env.LYFTLEARN_JOB_ID"),
    "env value that is no string": ({"env": {"A": 1}}, "env.A"),
    "env value None": ({"env": {"A": None}}, "env.A"),
    "NUL in env": ({"env": {"A": "\0"}}, "env.A"),
    "env that is no mapping": ({"env": ["A=1"]}, "env"),
    "NaN": ({"hyperparameters": {"lr": math.nan}}, "hyperparameters.lr"),
    "infinity": ({"hyperparameters": {"a": [1, -math.inf]}}, "hyperparameters.a[1]"),
    "set": ({"hyperparameters": {"a": {1}}}, "hyperparameters.a"),
    "bytes": ({"hyperparameters": {"a": b"x"}}, "hyperparameters.a"),
    "tuple": ({"hyperparameters": {"a": (1, 2)}}, "hyperparameters.a"),
    "key that is no string": ({"hyperparameters": {1: 2}}, "hyperparameters"),
    "nested key that is no string": ({"hyperparameters": {"a": {None: 2}}}, "hyperparameters.a"),
    "half a surrogate": ({"hyperparameters": {"a": "\ud800"}}, "hyperparameters.a"),
    "hyperparameters as a list": ({"hyperparameters": [1]}, "hyperparameters"),
    "no cpu": ({"resources": lyftlearn.Resources(cpu=0)}, "resources.cpu"),
    "negative cpu": ({"resources": lyftlearn.Resources(cpu=-1)}, "resources.cpu"),
    "absurd cpu": ({"resources": lyftlearn.Resources(cpu=1e9)}, "resources.cpu"),
    "NaN cpu": ({"resources": lyftlearn.Resources(cpu=math.nan)}, "resources.cpu"),
    "no memory": ({"resources": lyftlearn.Resources(memory="0Gi")}, "resources.memory"),
    "negative memory": ({"resources": lyftlearn.Resources(memory="-1Gi")}, "resources.memory"),
    "absurd memory": ({"resources": lyftlearn.Resources(memory="3Ei")}, "resources.memory"),
    "bad quantity": ({"resources": lyftlearn.Resources(memory="16 GB")}, "resources.memory"),
    "quantity as number": ({"resources": lyftlearn.Resources(memory=16)}, "resources.memory"),  # type: ignore[arg-type]
    "bad disk": ({"resources": lyftlearn.Resources(disk="big")}, "resources.disk"),
    "bad shared memory": ({"resources": lyftlearn.Resources(shared_memory="")}, "resources.shared_memory"),
    "half a GPU": ({"resources": lyftlearn.Resources(gpu=0.5)}, "resources.gpu"),  # type: ignore[arg-type]
    "GPU type without GPU": ({"resources": lyftlearn.Resources(gpu_type="A10G")}, "resources.gpu_type"),
    "resources as a mapping": ({"resources": {"cpu": 1}}, "resources"),
    "bad duration": ({"timeout": "soon"}, "timeout"),
    "duration without a unit": ({"timeout": "90"}, "timeout"),
    "duration as number": ({"timeout": 90}, "timeout"),
    "no time at all": ({"timeout": "0s"}, "timeout"),
    "negative duration": ({"timeout": timedelta(seconds=-5)}, "timeout"),
    "duration beyond timedelta": ({"timeout": "9999999999999d"}, "timeout"),
    "channel ..": ({"inputs": {"..": "s3://bucket/a"}}, "inputs..."),
    "channel with a slash": ({"inputs": {"a/b": "s3://bucket/a"}}, "inputs.a/b"),
    "channel of the platform": ({"inputs": {"lyftlearn": "s3://bucket/a"}}, "inputs.lyftlearn"),
    "empty channel": ({"inputs": {"": "s3://bucket/a"}}, "inputs."),
    "URI of another scheme": ({"inputs": {"a": "gs://bucket/a"}}, "inputs.a"),
    "bucket that cannot be": ({"inputs": {"a": "s3://B/a"}}, "inputs.a"),
    "path that is not there": ({"inputs": {"a": "/no/such/path"}}, "inputs.a"),
    "input that is no path": ({"inputs": {"a": 3}}, "inputs.a"),
    "missing source": ({"source": "/no/such/directory"}, "source"),
    "source that is no path": ({"source": 3}, "source"),
    "no nodes": ({"nodes": 0}, "nodes"),
    "nodes as text": ({"nodes": "2"}, "nodes"),
    "nodes True": ({"nodes": True}, "nodes"),
    "negative retries": ({"retries": -1}, "retries"),
    "secrets as a string": ({"secrets": "db"}, "secrets"),
    "duplicate secrets": ({"secrets": ["db", "db"]}, "secrets"),
    "secret that is no name": ({"secrets": ["../db"]}, "secrets[0]"),
    "label key": ({"labels": {"a b": "1"}}, "labels"),
    "label key too long": ({"labels": {"a" * 64: "1"}}, "labels"),
    "label value": ({"labels": {"a": "-"}}, "labels.a"),
    "label value too long": ({"labels": {"a": "x" * 64}}, "labels.a"),
    "label value that is no string": ({"labels": {"a": 1}}, "labels.a"),
    "label of the platform": ({"labels": {"lyftlearn/job": "1"}}, "labels.lyftlearn/job"),
    "label of Kubernetes": ({"labels": {"app.kubernetes.io/name": "1"}}, "labels.app.kubernetes.io/name"),
    "empty key": ({"key": ""}, "key"),
}


@pytest.mark.parametrize("case", BAD)
def test_is_refused_where_it_is_wrong(case: str) -> None:
    """Each of these once failed far from its cause, in a container or in an answer of the substrate."""
    arguments, path = BAD[case]
    assert path in faults(**arguments)


def test_all_faults_are_said_at_once() -> None:
    """Whoever mends one fault should not meet the next one only then."""
    found = faults(model="", command=[], nodes=0, env={"A": 1}, secrets="db", timeout="soon")
    assert set(found) == {"model", "command", "nodes", "env.A", "secrets", "timeout"}


def test_the_message_lists_path_seen_and_remedy() -> None:
    """The message is all that most users will read."""
    with pytest.raises(lyftlearn.InvalidJob) as caught:
        check(JobKind.TRAIN, MINIMAL | {"nodes": 0, "timeout": "soon"})
    assert str(caught.value).startswith("2 faults, nothing was sent\n  ")
    assert "nodes: is 0: write a whole number from 1 to 1000" in str(caught.value)


def test_no_message_repeats_a_variable() -> None:
    """A value of `env` may be what its author forgot to make a secret."""
    found = faults(env={"A-B": "hunter2", "C": "hunter2\0", "D": {"hunter2": 1}})
    assert "hunter2" not in json.dumps(found)


def test_source_that_is_a_plain_file(tmp_path: Path) -> None:
    """A script given as source would be unpacked as an archive, in the container."""
    (tmp_path / "train.py").write_text("")
    assert "source" in faults(source=tmp_path / "train.py")


def test_source_with_a_link_out_of_itself(tmp_path: Path) -> None:
    """What such a link points at is not in the container, or is a file of the host that nobody meant to send."""
    source = tmp_path / "code"
    source.mkdir()
    (source / "link").symlink_to("/etc/passwd")
    assert "link" in faults(source=source)["source"]


def test_source_beyond_two_gigabytes(tmp_path: Path) -> None:
    """Data in the source directory is the usual mistake; its size is seen before anything is packed."""
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(2 * 1024**3 + 1)
    assert "data.bin" in faults(source=tmp_path)["source"]


@pytest.mark.parametrize(("size", "fits"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)])
def test_sixteen_mebibytes_of_hyperparameters(size: int, *, fits: bool) -> None:
    """The limit is exact: 16 MiB fit, one byte more does not."""
    text = "x" * (size - len('{"a":""}'))
    if fits:
        assert len(checked(hyperparameters={"a": text}).hyperparameters) == size
    else:
        assert "hyperparameters" in faults(hyperparameters={"a": text})


def test_hyperparameters_nested_too_deep() -> None:
    """JSON readers give up at some depth; a cycle would never end."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert any("nested more than" in problem for problem in faults(hyperparameters=loop).values())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON_VALUES))
def test_any_json_arrives_as_it_was(value: dict[str, Any]) -> None:
    """`"1.10"` is not 1.1, `"007"` keeps its zeros, True is not 1: hyperparameters keep their types."""
    arrived = json.loads(checked(hyperparameters=value).hyperparameters)
    assert arrived == value
    assert repr(arrived) == repr(value)


def test_outputs_must_be_names() -> None:
    """`outputs="data"` is four letters to Python, and one mistake to a person."""
    process = {"name": "clean", "command": ["true"], "resources": None}
    for outputs in ("data", [".."], ["a", "a"], {"a": "ftp://x"}, {"a": 3}):
        with pytest.raises(lyftlearn.InvalidJob):
            check(JobKind.PROCESS, process | {"outputs": outputs})


def test_a_string_is_a_shell_command() -> None:
    """A string means what it means in a terminal; a list is executed as it is."""
    assert checked(command="a | b").command == ("/bin/sh", "-c", "a | b")
    assert checked(command=["a", "| b"]).command == ("a", "| b")


TUNE: dict[str, Any] = {
    "space": {"depth": lyftlearn.IntUniform(low=1, high=9)},
    "objective": lyftlearn.Objective(name="rmse", goal="minimize", pattern=r"rmse=([0-9.]+)"),
    "trials": 4,
    "parallel": 2,
    "strategy": "bayesian",
}
BAD_TUNE: dict[str, tuple[dict[str, Any], str]] = {
    "grid over Uniform": ({"strategy": "grid", "space": {"lr": lyftlearn.Uniform(low=0, high=1)}}, "space.lr"),
    "log from zero": ({"space": {"lr": lyftlearn.Uniform(low=0, high=1, log=True)}}, "space.lr"),
    "low above high": ({"space": {"lr": lyftlearn.Uniform(low=2, high=1)}}, "space.lr"),
    "log through zero": ({"space": {"a": lyftlearn.IntUniform(low=-1, high=9, log=True)}}, "space.a"),
    "grid larger than trials": ({"strategy": "grid", "trials": 8}, "trials"),
    "grid larger than any search": (
        {"strategy": "grid", "trials": 10_000, "space": {"a": lyftlearn.IntUniform(low=1, high=10_001)}},
        "trials",
    ),
    "more trials than any search": ({"trials": 10_001}, "trials"),
    "no group": ({"objective": lyftlearn.Objective(name="a", goal="minimize", pattern="rmse=1")}, "objective.pattern"),
    "empty range": ({"space": {"lr": lyftlearn.Uniform(low=1, high=1)}}, "space.lr"),
    "half integers": ({"space": {"a": lyftlearn.IntUniform(low=0.5, high=2)}}, "space.a"),  # type: ignore[arg-type]
    "empty choice": ({"space": {"a": lyftlearn.Choice([])}}, "space.a"),
    "choice of NaN": ({"space": {"a": lyftlearn.Choice([math.nan])}}, "space.a.values[0]"),
    "fixed and searched": ({"hyperparameters": {"depth": 3}}, "space.depth"),
    "no space": ({"space": {}}, "space"),
    "two groups": (
        {"objective": lyftlearn.Objective(name="a", goal="minimize", pattern="(a)(b)")},
        "objective.pattern",
    ),
    "bad pattern": ({"objective": lyftlearn.Objective(name="a", goal="minimize", pattern="(")}, "objective.pattern"),
    "no trials": ({"trials": 0}, "trials"),
    "more at once than trials": ({"parallel": 5}, "parallel"),
    "unknown strategy": ({"strategy": "luck"}, "strategy"),
}


@pytest.mark.parametrize("case", BAD_TUNE)
def test_a_search_that_cannot_be(case: str) -> None:
    """A search costs `trials` jobs: what is wrong with it is said before the first."""
    arguments, path = BAD_TUNE[case]
    assert path in faults(JobKind.TUNE, **(TUNE | arguments))


def test_a_search_that_can() -> None:
    """The same arguments without a fault pass, so that the cases above fail for their own reason."""
    assert checked(JobKind.TUNE, **TUNE).search is not None
    assert checked(JobKind.TUNE, **(TUNE | {"trials": 10_000, "parallel": 10_000})).search is not None
    assert checked(JobKind.TUNE, **(TUNE | {"strategy": "grid", "trials": 9})).search is not None
