"""Promises of docs/reference/container-contract.md that no other test needs, one by one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import nodes, statsd
from lyftlearn.runtime.faults import RuntimeFailure

from .test_supervisor import interrupt

SUBSTRATES = ["kubernetes", "sagemaker", "local"]


def variables(container: Any) -> dict[str, str]:
    """What `env` prints in the container."""
    container.document["command"] = ["/usr/bin/env"]
    lines = container.run().output.decode().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.contract("C-ENV-3")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_the_job_s_identity(containers: Any, substrate: str) -> None:
    """Programs label their metrics and files with it."""
    found = variables(containers.make(substrate, []))
    identity = {"ID": "fares-tsa1b2c3d4e5f6", "NAME": "fares", "KIND": "train"}
    assert {f"LYFTLEARN_JOB_{key}": value for key, value in identity.items()}.items() <= found.items()
    assert {"LYFTLEARN_MODEL": "fares", "LYFTLEARN_ATTEMPT": "1", "LYFTLEARN_CONTRACT": "1"}.items() <= found.items()


@pytest.mark.contract("C-ENV-2")
@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_under_both_names(containers: Any, name: str) -> None:
    """Each library reads one of the two."""
    container = containers.make("kubernetes", [])
    container.variables[name] = "eu-west-1"
    found = variables(container)
    assert (found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")


@pytest.mark.contract("C-ENV-6", "C-ENV-8")
def test_python_is_not_buffered_and_gpus_are_counted(containers: Any) -> None:
    """A traceback that is printed before the lines that led to it misleads; a program takes the GPUs it is shown."""
    found = variables(containers.make("local", [], resources={"gpu": 2}))
    assert (found["PYTHONUNBUFFERED"], found["CUDA_VISIBLE_DEVICES"]) == ("1", "0,1")


@pytest.mark.contract("C-ENV-9")
def test_who_wins(containers: Any) -> None:
    """One order, whatever sets a variable: the job's own beats a secret, and nothing the contract's own."""
    names = ("TMPDIR", "LYFTLEARN_JOB_NAME", "IMAGE_SAYS", "MINE", "OMP_NUM_THREADS")
    container = containers.make("local", [], env={"MINE": "env", "LYFTLEARN_JOB_NAME": "forged"})
    container.document["secrets"] = {"names": ["db"], "provider": {"type": "variables"}}
    container.variables |= {f"LYFTLEARN_SUBSTRATE_SECRET_0_{name}": "secret" for name in names[:-1]}
    container.variables["OMP_NUM_THREADS"] = "7"
    found = variables(container)
    assert [found[name] for name in names] == ["/lyftlearn/tmp", "fares", "secret", "env", "7"]


@pytest.mark.contract("C-EXPAND-1", "C-EXPAND-2")
def test_what_a_reference_may_name(containers: Any) -> None:
    """Kubernetes' rule, so that a command does not change its meaning by moving."""
    env = {"A": "$(LYFTLEARN_JOB_NAME)", "B": "$(A)-$(KEY)", "C": "$(DB_SERVICE_HOST)", "D": "$(PATH) $(IMAGE_SAYS)"}
    container = containers.make("kubernetes", [], env=env)
    container.document["secrets"] = {"names": ["db"], "provider": {"type": "variables"}}
    container.variables |= {"LYFTLEARN_SUBSTRATE_SECRET_0_KEY": "key", "DB_SERVICE_HOST": "10.1.1.1"}
    found = variables(container)
    assert [found[name] for name in "ABCD"] == ["fares", "fares-key", "10.1.1.1", "$(PATH) $(IMAGE_SAYS)"]


@pytest.mark.contract("C-PROC-1")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_the_working_directory_is_named(containers: Any, substrate: str) -> None:
    """What a parent's PWD says is somewhere else; programs that build paths from it would look there."""
    container = containers.make(substrate, [])
    container.variables["OLDPWD"] = "/before"
    found = variables(container)
    assert (found["PWD"], "OLDPWD" in found) == ("/home", False)
    container = containers.make(substrate, [], source={"mode": "mounted"})
    assert variables(container)["PWD"] == "/lyftlearn/source"


@pytest.mark.contract("C-SUB-2")
def test_where_sagemaker_keeps_the_directories(containers: Any) -> None:
    """What is written elsewhere is neither packed nor kept over a restart there."""
    script = "for name in inputs model outputs checkpoints tmp; do readlink -f /lyftlearn/$name; done"
    lines = containers.make("sagemaker", ["/bin/sh", "-c", script], outputs={"output": {}}).run().output.splitlines()
    expected = ("input/data/lyftlearn/inputs", "model", "output/data", "checkpoints/files", "lyftlearn/tmp")
    assert [line.decode() for line in lines] == [f"/opt/ml/{name}" for name in expected]


@pytest.mark.contract("C-SUB-13")
def test_what_credentials_and_gpus_need_stays(containers: Any) -> None:
    """Hidden with the rest of SageMaker's variables, the default chain would find no credentials."""
    container = containers.make("sagemaker", [])
    names = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "NCCL_DEBUG", "FI_X")
    container.variables |= dict.fromkeys(names, "stays")
    found = variables(container)
    assert [found.get(name) for name in names] == ["stays"] * 4


@pytest.mark.contract("C-SUB-15")
@pytest.mark.parametrize("code", [137, 143])
def test_a_commands_own_end_is_no_end_by_kubernetes(containers: Any, code: int) -> None:
    """A Job replaces pods that end with these codes; a command that failed would run again and again."""
    result = containers.make("kubernetes", ["/bin/sh", "-c", f"exit {code}"]).run()
    assert (result.exit_code, result.facts["exit_code"], result.facts["reason"]) == (1, code, "user-error")
    assert containers.make("sagemaker", ["/bin/sh", "-c", f"exit {code}"]).run().exit_code == code


@pytest.mark.contract("C-PROC-5")
def test_nothing_runs_on_after_the_command(archive: Path, tmp_path: Path) -> None:
    """A daemon that goes on writing would write into the next job's files."""
    late = tmp_path / "late"
    command = ["/bin/sh", "-c", f"(setsid sh -c 'sleep 2; touch {late}' &); exit 0"]
    document = {"contract": 1, "job": {"id": "j", "name": "j", "kind": "process"}, "command": command}
    environ = {"PATH": os.environ["PATH"], "LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(tmp_path / "root")}
    environ["LYFTLEARN_BUNDLE"] = json.dumps(document)
    subprocess.run([sys.executable, "-I", "-S", str(archive), "run"], env=environ, check=True, timeout=600)
    time.sleep(3)
    assert not late.exists()


@pytest.mark.contract("C-PROC-6")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_reach_the_command(containers: Any, number: int) -> None:
    """Programs write a checkpoint or open their logs again on them."""
    name = signal.Signals(number).name.removeprefix("SIG")
    script = f"trap 'echo got; exit 0' {name}; echo ready; while true; do sleep 0.1; done"
    result = interrupt(containers.make("local", ["/bin/sh", "-c", script], timeout=20, grace=1), number)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, b"got")


@pytest.mark.contract("C-SUB-5")
def test_checkpoints_are_copied_while_the_command_runs(containers: Any) -> None:
    """A machine that goes asks nobody first."""
    container = containers.make("local", [], timeout=20, grace=1)
    kept = container.directory / "kept/checkpoints"
    script = f"echo c > $LYFTLEARN_CHECKPOINTS_DIR/c; until [ -f {kept}/c ]; do sleep 0.1; done"
    container.document["command"] = ["/bin/sh", "-c", script]
    container.document["checkpoints"] = {"uri": kept.as_uri(), "interval": 0.1}
    assert container.run().exit_code == 0


@pytest.mark.contract("C-NODE-2")
@pytest.mark.parametrize("rank", [0, 1])
def test_node_0_alone_keeps_the_model(containers: Any, rank: int) -> None:
    """Two nodes that write one archive leave one of the two, and nobody knows which."""
    script = "echo w > $LYFTLEARN_MODEL_DIR/w"
    container = containers.make("kubernetes", ["/bin/sh", "-c", script], nodes=2, model=True)
    container.variables |= {"LYFTLEARN_SUBSTRATE_HOSTS": "127.0.0.1,127.0.0.2", "JOB_COMPLETION_INDEX": str(rank)}
    assert container.run().exit_code == 0
    assert container.artifacts.exists() == (rank == 0)


@pytest.mark.contract("C-NODE-3")
def test_nodes_wait_for_each_other_s_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that meet at MASTER_ADDR rarely wait for its name; one that never comes is the platform's failure."""
    asked: list[str] = []

    def resolve(host: str, _: Any) -> list[int]:
        asked.append(host)
        if len(asked) < 4 or host == "never":
            raise socket.gaierror
        return [1]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("time.sleep", lambda _: None)
    nodes.wait_for(nodes.Nodes(0, ["a", "b"]), seconds=60)
    assert set(asked) == {"a", "b"}
    with pytest.raises(RuntimeFailure, match="no address after 0 s for never") as caught:
        nodes.wait_for(nodes.Nodes(0, ["a", "never"]), seconds=0)
    assert caught.value.reason == "platform"


@pytest.mark.contract("C-METRIC-6")
def test_the_last_packets_wait_for_the_gateway_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short job ends before the first answer of DNS, and its metrics would be lost with it."""
    gateway = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gateway.bind(("127.0.0.1", 0))
    gateway.settimeout(20)
    answer, place = threading.Event(), gateway.getsockname()

    def resolve(*_: Any, **__: Any) -> list[Any]:
        answer.wait(20)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", place)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(statsd, "FLUSH_WAIT", statsd.FLUSH_WAIT * 10)
    relay = statsd.Relay("gateway.internal:8125", address=("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"rides:1|c", ("127.0.0.1", int(relay.port)))
    threading.Timer(0.3, answer.set).start()
    relay.close()
    assert (relay.lost, gateway.recv(100)) == (0, b"rides:1|c")
    gateway.close()
