"""What the runtime costs: start to user code, the relay, memory.

python -m benchmarks.runtime.run --toolkit VENV [--write FILE]   # VENV: with sagemaker-training 5.1.4
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measure
from lyftlearn._contract.runtime_archive import runtime_archive

MARK = "import sys, time\nnow = time.monotonic_ns()\nopen(sys.argv[-1], 'w').write(str(now))\n"
RATE = 20_000
SECONDS = 5
TICK = 0.005
PACKET = b"rides.requested:1|c|#city:sf,model:eta"
CONFIGURATION: dict[str, Any] = {
    "inputdataconfig": {},
    "resourceconfig": {
        "current_host": "localhost",  # the toolkit waits until its host has an address
        "hosts": ["localhost"],
        "network_interface_name": "lo",
        "current_group_name": "g",
        "current_instance_type": "ml.m5.large",
        "instance_groups": [{"instance_group_name": "g", "instance_type": "ml.m5.large", "hosts": ["localhost"]}],
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolkit", type=Path, help="a virtual environment with sagemaker-training")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as folder:
        archive = runtime_archive(Path(folder))
        result = {
            "machine": measure.machine(),
            "before": measure.wait_quiet(),
            "start_ms": starts(archive, Path(folder), options.toolkit, options.runs),
            "relay": relay(archive, Path(folder)),
        }
    print(json.dumps(result, indent=2))
    if options.write:
        measure.write(options.write, result)


def starts(archive: Path, folder: Path, toolkit: Path | None, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds from the process's start to the user's first statement; contenders take turns."""
    mark = folder / "mark"
    (folder / "mark.py").write_text(MARK)
    program = [sys.executable, str(folder / "mark.py"), str(mark)]
    contenders: dict[str, Callable[[], float]] = {
        "direct": lambda: elapsed(program, {}, mark),
        "runtime": lambda: elapsed(start(archive), variables(folder, program, relay=False), mark),
        "runtime with relay": lambda: elapsed(start(archive), variables(folder, program, relay=True), mark),
    }
    if toolkit:
        given = prepare_toolkit(folder, toolkit, mark)
        contenders["sagemaker-training train"] = lambda: elapsed([str(toolkit / "bin/train")], given, mark)
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(runs + 1):
        for name, contender in contenders.items():
            value = contender()
            if number:  # the first run fills the page cache
                taken[name].append(value)
    return {name: {"median": statistics.median(values), "min": min(values)} for name, values in taken.items()}


def elapsed(command: list[str], environ: dict[str, str], mark: Path) -> float:
    started = time.monotonic_ns()
    subprocess.run(command, env={"PATH": os.environ["PATH"], **environ}, check=True, capture_output=True, timeout=60)
    return (int(mark.read_text()) - started) / 1e6


def start(archive: Path) -> list[str]:
    return [sys.executable, "-I", "-S", str(archive), "run"]


def variables(folder: Path, command: list[str], *, relay: bool, gateway: str | None = None) -> dict[str, str]:
    bundle = {
        "contract": 1,
        "job": {"id": "bench", "name": "bench", "kind": "process"},
        "command": command,
        "hyperparameters": {"out": "x"},
        "metrics": {"relay": relay, "gateway": gateway},
    }
    place = {"LYFTLEARN_ROOT": str(folder / "root"), "LYFTLEARN_SUBSTRATE": "local"}
    return {**place, "LYFTLEARN_BUNDLE": json.dumps(bundle)}


def prepare_toolkit(folder: Path, toolkit: Path, mark: Path) -> dict[str, str]:
    """The directories that a training container has; the hyperparameters as the SDK writes them."""
    base = folder / "ml"
    for name in ("input/config", "input/data", "code", "model", "output/data"):
        (base / name).mkdir(parents=True)
    program = {"sagemaker_program": "mark.py", "sagemaker_submit_directory": str(base / "code"), "out": str(mark)}
    hyperparameters = {name: json.dumps(value) for name, value in program.items()}
    for name, content in {**CONFIGURATION, "hyperparameters": hyperparameters}.items():
        (base / "input/config" / f"{name}.json").write_text(json.dumps(content))
    (base / "code/mark.py").write_text(MARK)
    return {"SAGEMAKER_BASE_DIR": str(base), "PATH": f"{toolkit / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def relay(archive: Path, folder: Path) -> dict[str, Any]:
    """Send at a fixed rate through the runtime of a sleeping command; count what the gateway receives."""
    gateway = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gateway.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    gateway.bind(("127.0.0.1", 0))
    gateway.settimeout(1.0)
    report = 'echo "$STATSD_PORT"; exec sleep 60'
    address = f"127.0.0.1:{gateway.getsockname()[1]}"
    environ = variables(folder, ["/bin/sh", "-c", report], relay=True, gateway=address)
    process = subprocess.Popen(start(archive), env={"PATH": os.environ["PATH"], **environ}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    arrived: list[int] = [0]
    counter = threading.Thread(target=count, args=(gateway, arrived))
    counter.start()
    before = cpu_seconds(process.pid)
    send(port)
    counter.join()
    used = cpu_seconds(process.pid) - before
    memory = resident(process.pid)
    process.terminate()
    process.wait(60)
    gateway.close()
    sent = RATE * SECONDS
    return {
        "packets_per_second": RATE,
        "sent": sent,
        "arrived": arrived[0],
        "share_of_one_core": used / SECONDS,
        "resident_megabytes": memory,
    }


def send(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        started, done = time.monotonic(), 0
        while done < RATE * SECONDS:
            due = min(RATE * SECONDS, int((time.monotonic() - started) * RATE))
            for _ in range(due - done):
                sender.send(PACKET)
            done = max(done, due)
            time.sleep(TICK)


def count(gateway: socket.socket, arrived: list[int]) -> None:
    while True:
        try:
            gateway.recv(65535)
        except TimeoutError:
            if arrived[0]:
                return
            continue
        arrived[0] += 1


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Megabytes, of the runtime alone: the command is another process."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
