"""The bundle: found, referred to, checked; hyperparameters as they were given."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyftlearn.runtime import bundle, statsd, storage
from lyftlearn.runtime.environment import Environment
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.job import JobRun
from lyftlearn.runtime.layout import Layout
from lyftlearn.runtime.nodes import Nodes
from lyftlearn.runtime.redaction import Redactor
from lyftlearn.runtime.report import Report
from lyftlearn.runtime.signals import Signals

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def document(**fields: Any) -> dict[str, Any]:
    return {"contract": 1, "job": {"id": "j-1", "name": "j", "kind": "process"}, "command": ["true"], **fields}


def delivered(hyperparameters: Any, directory: Path) -> Any:
    """What the file says after the bundle has been read from its own text."""
    loaded = bundle.load(json.dumps(document(hyperparameters=hyperparameters)))
    layout = Layout(str(directory), str(directory / "ml"))
    Path(layout.at("config")).mkdir(exist_ok=True)
    run = JobRun(
        None,
        {},
        "local",
        layout,
        signals=Signals([]),
        report=Report(None, reports_success=False, redactor=Redactor({})),
    )
    run._write_hyperparameters(loaded)
    return json.loads(Path(layout.hyperparameters).read_text())


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, all the way down: `1`, `1.0` and `true` are three things."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.contract("C-DATA-1")
@given(st.dictionaries(st.text(), JSON, max_size=6))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hyperparameters_keep_their_types(tmp_path: Path, hyperparameters: dict[str, Any]) -> None:
    """The training toolkit makes 1.1 of "1.10"; here whatever JSON can say arrives."""
    assert same(delivered(hyperparameters, tmp_path), hyperparameters)


@pytest.mark.parametrize(
    "value",
    [
        "1.10",
        "007",
        True,
        None,
        "'\"\\",
        "a\nb\r\n\0",
        1e308,
        -0.0,
        "",
        [],
        {},
        "null",
        "true",
        "\ud800",
        10**4000,
        0.1,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_others_have_lost(tmp_path: Path, value: Any) -> None:
    """Each was met in a neighbouring project."""
    assert same(delivered({"x": value, value if isinstance(value, str) else "k": 1}, tmp_path)["x"], value)


def test_sixteen_megabytes_of_hyperparameters_by_reference(containers: Any) -> None:
    """No annotation, argument or variable holds them, and the command finds them in the same file."""
    container = containers.make("sagemaker", ["/bin/sh", "-c", "sha256sum < $LYFTLEARN_HYPERPARAMETERS"])
    content = json.dumps({"table": "x" * (16 << 20)}).encode()
    large = container.ml / "input/data/lyftlearn/hyperparameters.json"
    large.parent.mkdir(parents=True)
    large.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    container.document["hyperparameters"] = {"$ref": "hyperparameters.json", "sha256": digest}
    result = container.run()
    assert result.output.split()[0].decode() == digest


@pytest.mark.contract("C-BUNDLE-3")
def test_a_reference_to_something_else_is_refused(tmp_path: Path) -> None:
    """A half-written or exchanged part would train another model than was asked for."""
    (tmp_path / "env.json").write_text("{}")
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(document(env={"$ref": "env.json", "sha256": "0" * 64})))
    with pytest.raises(RuntimeFailure, match="has sha256 44136fa"):
        bundle.load(str(path))


@pytest.mark.parametrize("place", ["bundle", "reference", "reference by URI"])
def test_a_bundle_that_is_too_large_is_named(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to the storage must not be able to use up the memory of a container."""
    monkeypatch.setattr(storage, "LARGEST_DOCUMENT", 10_000)
    large, path = tmp_path / "env.json", tmp_path / "bundle.json"
    large.write_bytes(b" " * 10_001)
    uri = large.as_uri() if place == "reference by URI" else "env.json"
    path.write_text(json.dumps(document(env={"$ref": uri, "sha256": "0" * 64})))
    where = large if place == "bundle" else path
    with pytest.raises(RuntimeFailure, match=r"env.json has 10001 bytes; a job's documents have at most 10000"):
        bundle.load(str(where))


def test_a_hyperparameter_named_ref_is_a_hyperparameter(tmp_path: Path) -> None:
    """Only an object of exactly a reference and its digest is followed."""
    assert delivered({"$ref": "a", "b": 1}, tmp_path) == {"$ref": "a", "b": 1}


@pytest.mark.contract("C-BUNDLE-1")
def test_a_newer_contract_is_refused_with_the_remedy() -> None:
    """An old runtime must not run half of what a newer client asked for."""
    with pytest.raises(
        RuntimeFailure, match=r"contract 2, this runtime knows up to 1.*bring the image's runtime up to date"
    ):
        bundle.load(json.dumps({"contract": 2}))


@pytest.mark.contract("C-BUNDLE-2")
def test_unknown_fields_are_kept() -> None:
    """A newer client may say more within the same version."""
    assert bundle.load(json.dumps(document(later={"a": 1})))["later"] == {"a": 1}


def test_every_fault_is_listed() -> None:
    """One at a time costs the user a submission each."""
    with pytest.raises(RuntimeFailure) as caught:
        bundle.load(json.dumps({"contract": 1, "command": "train", "env": [], "job": {"id": 1}}))
    for fault in ("job.id: expected str", "job.name: missing", "job.kind: missing", "command: expected list", "env:"):
        assert fault in str(caught.value)


@pytest.mark.contract("C-BUNDLE-4")
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"command": []}, "command: expected a list of at least one string"),
        ({"env": {"A=B": "1"}}, "env.A=B"),
        ({"env": {"A": 1}}, "env.A"),
        ({"inputs": {"../up": {"uri": "/x"}}}, "inputs: '../up' is no name"),
        ({"outputs": {"..": {}}}, "outputs: '..' is no name"),
        ({"secrets": {"names": ["a/../b"], "provider": {"type": "files"}}}, "secrets.names: 'a/../b' is no name"),
        ({"secrets": {"names": ["db"]}}, "secrets.provider: missing"),
        ({"model": True}, "output_uri: missing"),
        ({"pack": "nobody"}, "pack: expected"),
        ({"user": {"uid": "root"}}, "user: expected integers"),
        ({"metrics": {"gateway": "statsd"}}, "metrics.gateway: expected host:port"),
        ({"nodes": 0}, "nodes: less than 1"),
        ({"nodes": True}, "nodes: expected int, saw bool"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], fault: str) -> None:
    """Whatever wrote the bundle, nothing of it leads out of the job's directories or is guessed at."""
    with pytest.raises(RuntimeFailure) as caught:
        bundle.load(json.dumps(document(**fields)))
    assert fault in str(caught.value)
    assert caught.value.reason == "configuration"


def test_an_inline_bundle_is_hidden_from_the_command(archive: Path, tmp_path: Path) -> None:
    """A bundle in a variable is the substrate's way, not something programs may read."""
    text = json.dumps(document(command=["/usr/bin/env"]))
    environ = {"LYFTLEARN_BUNDLE": text, "LYFTLEARN_ROOT": str(tmp_path), "LYFTLEARN_SUBSTRATE": "local"}
    command = [sys.executable, "-I", "-S", str(archive), "run"]
    answer = subprocess.run(
        command, env={**environ, "PATH": os.environ["PATH"]}, capture_output=True, check=True, timeout=600
    )
    assert b"LYFTLEARN_JOB_ID=j-1" in answer.stdout
    assert b"LYFTLEARN_BUNDLE" not in answer.stdout
    assert b"LYFTLEARN_ROOT" not in answer.stdout


@pytest.mark.contract("C-DATA-7")
def test_too_little_shared_memory_fails_at_the_start(containers: Any) -> None:
    """A data loader that runs out of it hours later dies of a bus error."""
    container = containers.make("kubernetes", ["/bin/echo", "started"], resources={"shared_memory": 1 << 60})
    result = container.run()
    assert (result.exit_code, result.facts["reason"]) == (78, "configuration")
    assert "resources.shared_memory" in result.last_words
    assert b"started" not in result.output


ODD: list[Any] = [
    None, True, -1, 0, 1.5, 10**400, float("nan"), float("inf"), "", "\0", "\ud800", "../../..", "/etc/passwd",
    "x" * 70000,
    [], [None], ["\0"], [[]], {}, {"": None}, {"..": {}}, {"a": {}}, {"a": None}, {"uri": 1}, {"uid": -1, "gid": 0},
    {"uid": 2**40, "gid": 2**40}, {"$ref": 1, "sha256": "0" * 64}, {"$ref": "/proc/self/environ", "sha256": "0" * 64},
    {"mode": "mounted"}, {"type": "files"}, {"type": "nobody", "path": 1}, {"interval": -1, "uri": "file:///x"},
]  # fmt: skip
PATHS = [field.split(".") for field, _, _ in bundle.FIELDS] + [["job"], ["secrets"], ["resources"], ["metrics"]]
PATHS += [["inputs", "train"], ["outputs", "output"], ["env", "NAME"], ["secrets", "provider", "path"], ["contract"]]


def with_value(path: list[str], value: Any) -> dict[str, Any]:
    changed = document(secrets={"names": ["db"], "provider": {"type": "files", "path": "/nowhere"}})
    holder = changed
    for part in path[:-1]:
        holder = holder.setdefault(part, {})
    holder[path[-1]] = value
    return changed


def load_or_fail(text: str) -> bundle.Bundle | RuntimeFailure:
    try:
        return bundle.load(text)
    except RuntimeFailure as failure:
        return failure


@pytest.mark.contract("C-BUNDLE-4")
@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_bundle_is_not_trusted(path: list[str]) -> None:
    """It lies in a storage where others write: each value anywhere is taken, or refused with its field's name."""
    for value in ODD:
        loaded = load_or_fail(json.dumps(with_value(path, value)))
        if isinstance(loaded, RuntimeFailure):
            assert (loaded.reason, path[0] in str(loaded)) == ("configuration", True)
            continue
        layout = Layout("/nowhere", "/nowhere")
        environment = Environment(loaded, layout, Nodes(0, ["localhost"]), {}, "local")
        variables = environment.variables(1)
        assert all("\0" not in name + os.fsencode(text).decode("latin-1") for name, text in variables.items())
        assert all(isinstance(word, str) for word in environment.command(variables))


def test_a_job_id_is_no_path(containers: Any) -> None:
    """It names a directory of secrets in shared memory."""
    container = containers.make("local", ["true"], secrets={"names": ["db"], "provider": {"type": "variables"}})
    container.document["job"] = {**container.document["job"], "id": "../../tmp/x"}
    container.variables["LYFTLEARN_SUBSTRATE_SECRET_0_KEY"] = "v"
    result = container.run()
    assert (result.exit_code, result.facts["reason"]) == (78, "configuration")
    assert "job.id" in result.last_words


def test_the_socket_of_metrics_replaces_no_file(tmp_path: Path) -> None:
    """A path in a bundle must not remove what is there."""
    (tmp_path / "precious").write_text("kept")
    with pytest.raises(OSError, match="in use"):
        statsd.Relay(None, str(tmp_path / "precious"), address=("127.0.0.1", 0))
    assert (tmp_path / "precious").read_text() == "kept"
