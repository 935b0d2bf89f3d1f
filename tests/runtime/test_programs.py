"""Programs as they are found in the wild run unchanged, and end alike, under every substrate."""

import json
import pickle
import socket
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

SUBSTRATES = ["kubernetes", "sagemaker", "local"]
ELSEWHERE = ["kubernetes", "local"]
PROGRAMS = Path(__file__).parent / "programs"


def with_programs(container: Any) -> Any:
    container.mounts = ["--ro-bind", str(PROGRAMS), "/code"]
    return container


@pytest.mark.parametrize(
    "substrate", ["sagemaker", *(pytest.param(name, marks=pytest.mark.slow) for name in ELSEWHERE)]
)
def test_a_scikit_learn_script_with_argparse(containers: Any, substrate: str) -> None:
    """Hyperparameters on the command line by `$(NAME)`, data in, a pickle out: the same numbers everywhere."""
    command = [sys.executable, "/code/train_sklearn.py", "--alpha", "$(ALPHA)"]
    container = with_programs(
        containers.make(
            substrate,
            command,
            env={"ALPHA": "0.5"},
            inputs={"train": {"mode": "mounted"}},
            model=True,
            outputs={"output": {}},
        )
    )
    channel = container.ml / "input/data/train" if substrate == "sagemaker" else container.root / "inputs/train"
    channel.mkdir(parents=True)
    (channel / "rides.csv").write_text("".join(f"{x},{x % 3},{2 * x + 1}\n" for x in range(20)))
    result = container.run()
    assert result.exit_code == 0, result.output.decode()
    assert json.loads(result.output)["seen"] == 20
    with tarfile.open(container.artifacts / "model.tar.gz") as archive:
        file = archive.extractfile(next(member for member in archive if member.name.endswith("model.pkl")))
        assert file is not None
        model = pickle.loads(file.read())
    assert round(float(model.predict([[10, 1]])[0])) == 21


@pytest.mark.contract("C-NODE-1", "C-SUB-9")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_two_nodes_meet(containers: Any, substrate: str) -> None:
    """Ranks and addresses come from three different places and are found in one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    running = [node(containers, substrate, rank, port) for rank in (0, 1)]
    outputs = []
    for container, process in running:
        output, _ = process.communicate(timeout=600)
        result = container.result(process.returncode, output)
        assert result.exit_code == 0, (output, result.report)
        outputs.append(output.decode().strip())
    assert outputs == ["total 1", "sent 1"]


def node(containers: Any, substrate: str, rank: int, port: str) -> Any:
    container = with_programs(containers.make(substrate, ["python3", "/code/meet.py"], nodes=2))
    container.network = True
    container.variables["LYFTLEARN_SUBSTRATE_PORT"] = port
    if substrate == "sagemaker":
        hosts = {"current_host": ["127.0.0.1", "127.0.0.2"][rank], "hosts": ["127.0.0.2", "127.0.0.1"]}
        (container.ml / "input/config").mkdir(parents=True)
        (container.ml / "input/config/resourceconfig.json").write_text(json.dumps(hosts))
    else:
        container.variables["LYFTLEARN_SUBSTRATE_HOSTS"] = "127.0.0.1,127.0.0.2"
        name = "JOB_COMPLETION_INDEX" if substrate == "kubernetes" else "LYFTLEARN_SUBSTRATE_RANK"
        container.variables[name] = str(rank)
    return container, container.start()


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_shell_script(containers: Any, substrate: str) -> None:
    """Pipes, here-documents, temporary files, background children: the shell is the commonest launcher."""
    script = """set -eu
t=$(mktemp); cat > "$t" <<END
rides
END
sleep 300 &
wc -l < "$t" | tr -d ' '
printf '%s\\n' "$TMPDIR" "${UNSET-none}"
"""
    result = containers.make(substrate, ["/bin/sh", "-c", script]).run()
    assert (result.exit_code, result.output) == (0, b"1\n/lyftlearn/tmp\nnone\n")


@pytest.mark.contract("C-METRIC-1")
def test_a_statsd_library(containers: Any) -> None:
    """The library's own defaults and variables find the relay."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        gateway.bind(("127.0.0.1", 0))
        gateway.settimeout(20)
        metrics = {"relay": True, "gateway": f"127.0.0.1:{gateway.getsockname()[1]}"}
        container = with_programs(containers.make("sagemaker", [sys.executable, "/code/emit.py"], metrics=metrics))
        container.network = True
        result = container.run()
        assert result.exit_code == 0, result.output
        assert [gateway.recv(100) for _ in range(100)] == [b"rides:1|c"] * 100


@pytest.mark.contract("C-END-5")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_one_that_ignores_sigterm(containers: Any, substrate: str) -> None:
    """Its timeout ends it all the same, as SIGKILL does everywhere."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    result = containers.make(substrate, ["python3", "-c", program], timeout=1, grace=0.5).run()
    assert (result.exit_code, result.facts["reason"], result.facts["exit_code"]) == (124, "timeout", None)


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_one_that_forks_and_dies(containers: Any, substrate: str) -> None:
    """The job ends with the command, as a container does with its first process."""
    program = "import os, time\nif os.fork():\n    os._exit(7)\nos.setsid()\ntime.sleep(600)"
    result = containers.make(substrate, ["python3", "-c", program]).run()
    assert (result.exit_code, result.facts["reason"]) == (7, "user-error")
