"""A stop at any moment is a stop: from the process's first instant to its last."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.signals import WATCHED

AT_ONCE = 8  # a busy machine loses most
DOCUMENT = {"contract": 1, "job": {"id": "j", "name": "j", "kind": "process"}, "command": ["sleep", "60"]}


def start(archive: Path, root: Path, *, held_back: bool = True, **variables: str) -> subprocess.Popen[bytes]:
    """The runtime on its own; `held_back`: its parent blocks signals until it listens, as a careful one does."""
    environ = {"PATH": os.environ["PATH"], "LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(root)}
    environ |= {"LYFTLEARN_BUNDLE": json.dumps(DOCUMENT), "LYFTLEARN_SUBSTRATE_REPORT": str(root / "report")}
    root.mkdir(parents=True, exist_ok=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED if held_back else set())
    try:
        command = [sys.executable, "-I", "-S", str(archive), "run"]
        return subprocess.Popen(command, env=environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def facts(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "report").read_text().splitlines()[0].partition(" ")[2]))


def stop_after(archive: Path, root: Path, seconds: float, **how: Any) -> tuple[int, bytes]:
    process = start(archive, root, **how)
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 40, 80, 160, 320])
def test_a_stop_in_the_first_moments(archive: Path, tmp_path: Path, milliseconds: int) -> None:
    """Whatever the runtime does just then, the job is stopped, says so, and nothing of ours is seen."""
    assert stop_after(archive, tmp_path / "root", milliseconds / 1000) == (143, b"")
    assert facts(tmp_path / "root")["stopped"] is True


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_stop_of_the_first_second_is_lost(archive: Path, tmp_path: Path) -> None:
    """Every millisecond from 0 to 1,000: one that is lost runs a job to its end that was stopped."""

    def is_lost(milliseconds: int) -> bool:
        root = tmp_path / str(milliseconds)
        ended = stop_after(archive, root, milliseconds / 1000)
        return ended != (143, b"") or facts(root)["stopped"] is not True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        lost = list(pool.map(is_lost, range(1001)))
    assert [milliseconds for milliseconds, is_lost in enumerate(lost) if is_lost] == []


@pytest.mark.parametrize("milliseconds", [0, 10, 30])
def test_before_it_listens_a_stop_ends_it_at_once(archive: Path, tmp_path: Path, milliseconds: int) -> None:
    """Where nobody holds signals back and it is not PID 1, the kernel's default is a stop as well."""
    code, output = stop_after(archive, tmp_path / "root", milliseconds / 1000, held_back=False)
    assert code in (143, -signal.SIGTERM)
    assert output == b""


@pytest.mark.contract("C-STOP-4")
def test_a_stop_that_was_asked_for_before_the_start(archive: Path, tmp_path: Path) -> None:
    """PID 1 cannot hear a signal before it has a handler, so who asks may leave a file as well."""
    (tmp_path / "stop").touch()
    document, stop = json.dumps({**DOCUMENT, "command": ["true"]}), str(tmp_path / "stop")
    process = start(archive, tmp_path / "root", LYFTLEARN_BUNDLE=document, LYFTLEARN_SUBSTRATE_STOP=stop)
    output, _ = process.communicate(timeout=600)
    assert (process.returncode, output) == (143, b"")
    assert facts(tmp_path / "root") == {**facts(tmp_path / "root"), "stopped": True, "attempt": 0}


def test_signals_for_the_command_before_it_runs(archive: Path, tmp_path: Path) -> None:
    """They would end a program that has not said what it does with them."""
    process = start(archive, tmp_path / "root")
    for number in (signal.SIGHUP, signal.SIGUSR1):
        process.send_signal(number)
    (tmp_path / "root").mkdir(exist_ok=True)
    while not (tmp_path / "root/home").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 143
    process.communicate()


def test_the_command_s_own_mask_is_empty(archive: Path, tmp_path: Path) -> None:
    """What a parent holds back from the runtime must reach the command."""
    document = {**DOCUMENT, "command": ["grep", "SigBlk", "/proc/self/status"]}
    process = start(archive, tmp_path / "root", LYFTLEARN_BUNDLE=json.dumps(document))
    output, _ = process.communicate(timeout=600)
    assert output.split() == [b"SigBlk:", b"0" * 16]


def test_two_stops_are_one(containers: Any) -> None:
    """Kubelets and people repeat themselves; the last copies of checkpoints go on."""
    script = "trap 'echo bye; exit 0' TERM; echo ready; sleep 60 & wait"
    container = containers.make("local", ["sh", "-c", script], grace=20)
    kept = container.directory / "kept/checkpoints"
    container.document["checkpoints"] = {"uri": kept.as_uri()}
    container.document["command"][-1] = "echo c > $LYFTLEARN_CHECKPOINTS_DIR/c; " + script
    process = container.start()
    assert process.stdout.readline() == b"ready\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(20):
        if children.exists() and children.read_text().split():
            os.kill(int(children.read_text().split()[0]), signal.SIGTERM)
        time.sleep(0.005)
    output, _ = process.communicate(timeout=600)
    result = container.result(process.returncode, output)
    assert (result.exit_code, result.output, result.facts["stopped"]) == (143, b"bye\n", True)
    assert (kept / "c").read_text() == "c\n"
