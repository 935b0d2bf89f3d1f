"""The same command under every substrate's layout, in namespaces of its own."""

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.parity import probe

KEY = "a key for this test"
SUBSTRATES = ["kubernetes", "sagemaker", "local"]
PROBE = ["python3", "/probe/probe.py"]
MODEL = "echo weights > $LYFTLEARN_MODEL_DIR/model.bin; echo log > $LYFTLEARN_OUTPUTS_DIR/output/log.txt; "
FIELDS: dict[str, Any] = {
    "hyperparameters": {
        "lr": "1.10",
        "zip": "007",
        "yes": True,
        "no": None,
        "big": 1e308,
        "nested": {"a": [1, "\n\"'"]},
    },
    "env": {"GREETING": "hello $(LYFTLEARN_JOB_NAME)", "LONG": "x" * 100_000},
    "outputs": {"output": {"uri": None}},
    "model": True,
    "resources": {"cpu": 1.5, "memory": 1 << 30, "gpu": 0, "shared_memory": 1 << 20},
    "metrics": {"relay": True, "gateway": None, "socket": None},
}

ALLOWED = [
    re.compile(pattern)
    for pattern in (
        r"host .*",
        r"environment (KUBERNETES_.*|HOSTNAME)",
        r"files \S+ (uid|gid)",
        r"files /lyftlearn/inputs\S* writable",
        r"files /lyftlearn/secrets (mode|writable)",
    )
]


def observations(containers: Any, substrate: str) -> dict[str, Any]:
    script = MODEL + "exec python3 /probe/probe.py"
    container = containers.make(substrate, ["/bin/sh", "-c", script], **FIELDS)
    channel = container.ml / "input/data/train" if substrate == "sagemaker" else container.root / "inputs/train"
    channel.mkdir(parents=True)
    (channel / "rides.csv").write_text("1,2\n")
    container.document["inputs"] = {"train": {"mode": "mounted"}}
    container.variables[probe.KEY] = KEY
    result = container.run()
    assert result.exit_code == 0, result.output.decode()
    return dict(json.loads(result.output))


def fingerprint(text: str) -> str:
    """What the probe tells of a content: never the content."""
    return "#" + hashlib.blake2b(text.encode(), key=KEY.encode(), digest_size=8).hexdigest()


def test_a_program_cannot_tell_substrates_apart(containers: Any) -> None:
    """Zero code change is this comparison: only what is documented as different may differ."""
    seen = {substrate: observations(containers, substrate) for substrate in SUBSTRATES}
    reference = comparable(seen["kubernetes"])
    for substrate in SUBSTRATES[1:]:
        found = comparable(seen[substrate])
        assert {key for key in found | reference if found.get(key) != reference.get(key)} == set()


def comparable(seen: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every observation by its path, without those that docs/reference/container-contract.md allows to differ."""
    flat: dict[str, Any] = {}
    for key, value in seen.items():
        name = f"{prefix} {key}".strip()
        flat |= comparable(value, name) if isinstance(value, dict) else {name: value}
    return {key: value for key, value in flat.items() if not any(pattern.fullmatch(key) for pattern in ALLOWED)}


@pytest.mark.contract("C-PROC-2", "C-ENV-4", "C-ENV-5", "C-PROC-3", "C-PROC-4", "C-ENV-7", "C-SUB-8")
def test_the_contract_s_variables_and_files_are_what_was_asked_for(containers: Any) -> None:
    """Being equal everywhere is not enough: each row of the contract says what the value is."""
    seen = observations(containers, "sagemaker")
    environment, process = seen["environment"], seen["process"]
    hyperparameters = seen["files"]["/lyftlearn/config/hyperparameters.json"]["content"]
    assert hyperparameters == fingerprint(json.dumps(FIELDS["hyperparameters"]))
    assert environment["GREETING"] == "hello fares"
    assert environment["LONG"] == f"<100000 characters {fingerprint('x' * 100_000)}>"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["STATSD_PORT"] == "8125"
    assert environment["IMAGE_SAYS"] == "hello"
    assert environment["LANG"] == "C.UTF-8"
    assert environment["HOME"] == "/lyftlearn/home"
    assert environment["TMPDIR"] == "/lyftlearn/tmp"
    assert seen["files"]["/lyftlearn/inputs/train/rides.csv"]["content"] == fingerprint("1,2\n")
    assert (process["uid"], process["gid"], process["groups"]) == (1000, 1000, [])
    assert (process["umask"], process["stdin"], process["cwd"]) == ("0022", "", "/home")
    assert process["session_leader"]
    assert list(seen["descriptors"])[:3] == ["0", "1", "2"]
    assert seen["signals"] == {"SigBlk": "0" * 16, "SigIgn": seen["signals"]["SigIgn"]}


@pytest.mark.contract("C-SUB-1", "C-SUB-12", "C-SUB-14")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_private_variables_and_what_sagemaker_adds_are_hidden(containers: Any, substrate: str) -> None:
    """A program that leans on either would behave differently after the migration."""
    container = containers.make(substrate, ["/usr/bin/env"], env={"MINE": "1"})
    container.variables["LYFTLEARN_SUBSTRATE_TOKEN"] = "hidden"
    lines = container.run().output.decode().splitlines()
    private = ("LYFTLEARN_SUBSTRATE", "LYFTLEARN_BUNDLE", "LYFTLEARN_ROOT", "SM_", "SAGEMAKER_", "TRAINING_JOB_")
    assert "MINE=1" in lines
    assert [line for line in lines if line.startswith(private)] == []
    assert any(line.startswith("KUBERNETES_") for line in lines) == (substrate == "kubernetes")


@pytest.mark.contract("C-DATA-3", "C-KEEP-1", "C-SUB-4")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_artifacts_have_the_same_members(containers: Any, substrate: str, tmp_path: Path) -> None:
    """Whoever packs, a consumer unpacks the same tree; an output with a URI of its own is not in it."""
    script = MODEL + "mkdir $LYFTLEARN_MODEL_DIR/d; echo 1 > $LYFTLEARN_OUTPUTS_DIR/apart/one"
    container = containers.make(substrate, ["/bin/sh", "-c", script], **FIELDS)
    apart = container.directory / "kept/apart"
    container.document["outputs"] = {"output": {"uri": None}, "apart": {"uri": f"file://{apart}"}}
    result = container.run()
    assert result.exit_code == 0, result.output.decode()
    assert members(container.artifacts / "model.tar.gz") == {"d": None, "model.bin": b"weights\n"}
    assert members(container.artifacts / "output.tar.gz") == {"output": None, "output/log.txt": b"log\n"}
    assert (apart / "one").read_text() == "1\n"


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_artifacts_keep_the_modes_of_files(containers: Any, substrate: str) -> None:
    """SageMaker keeps them, so a key that its owner alone may read must not become readable elsewhere."""
    script = "cd $LYFTLEARN_MODEL_DIR; echo 1 > private; chmod 600 private; echo 2 > run.sh; chmod 750 run.sh"
    container = containers.make(substrate, ["/bin/sh", "-c", script], **FIELDS)
    result = container.run()
    assert result.exit_code == 0, result.output.decode()
    with tarfile.open(container.artifacts / "model.tar.gz") as archive:
        modes = {member.name.rpartition("/")[2]: oct(member.mode) for member in archive if member.isfile()}
    assert modes == {"private": "0o600", "run.sh": "0o750"}


def members(path: Path) -> dict[str, bytes | None]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            found[member.name.removeprefix("./").rstrip("/")] = file.read() if file else None
    return found


@pytest.mark.contract("C-END-2", "C-REPORT-1")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_the_command_s_exit_code_and_last_words_are_told(containers: Any, substrate: str) -> None:
    """Every other toolkit makes 1 of a user's exit code, and backends read reason and message from here."""
    script = "echo started; echo 'ValueError: no rides' >&2; exit 42"
    result = containers.make(substrate, ["/bin/sh", "-c", script]).run()
    assert result.exit_code == 42
    assert result.facts["exit_code"] == 42
    assert (result.facts["reason"], result.facts["attempt"]) == ("user-error", 1)
    assert result.last_words == "started\nValueError: no rides"
    assert result.output == b"started\nValueError: no rides\n"


@pytest.mark.contract("C-END-1", "C-SUB-11")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_success_is_no_failure(containers: Any, substrate: str) -> None:
    """SageMaker takes any failure file for a failure; elsewhere success is told, too."""
    result = containers.make(substrate, ["/bin/true"]).run()
    assert result.exit_code == 0
    assert (result.report == "") == (substrate == "sagemaker")


@pytest.mark.contract("C-SECRET-1", "C-SECRET-5", "C-SUB-7")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_secrets_are_variables_and_files_in_memory_and_then_gone(containers: Any, substrate: str) -> None:
    """Programs read them either way; on a disk they would outlive the job."""
    script = "echo $PASSWORD; cat $LYFTLEARN_SECRETS_DIR/db/PASSWORD; stat -Lc '%a %u' /lyftlearn/secrets/db/PASSWORD;"
    script += "stat -fLc %T /lyftlearn/secrets/db/PASSWORD; "
    script += "ls -d /dev/shm/lyftlearn-$LYFTLEARN_JOB_ID* 2>/dev/null | wc -l"
    secrets = {"names": ["db"], "provider": {"type": "variables"}}
    container = containers.make(substrate, ["/bin/sh", "-c", script], secrets=secrets)
    container.document["job"] = {**container.document["job"], "id": f"secret-{container.directory.name}"}
    container.variables["LYFTLEARN_SUBSTRATE_SECRET_0_PASSWORD"] = "hunter2222"
    result = container.run()
    linked = b"1" if substrate == "sagemaker" else b"0"
    assert result.output.splitlines() == [b"hunter2222", b"hunter2222400 1000", b"tmpfs", linked]
    assert not list(Path("/dev/shm").glob(f"lyftlearn-secret-{container.directory.name}*"))
