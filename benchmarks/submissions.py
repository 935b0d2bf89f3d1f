"""How many trivial jobs one process submits in a second, and how many finish."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure

OURS, BARE, TORCHX = "lyftlearn", "bare subprocess", "torchx local_cwd"
COMMAND = ["/bin/true"]


def run(runs: int, jobs: int) -> dict[str, Any]:
    contenders = {name: partial(_in_a_process, name, jobs) for name in CONTENDERS}
    taken = measure.interleaved(contenders, runs)
    middle = measure.medians(taken)
    for figures in middle.values():
        for quantity in ("submitted", "finished"):
            figures[f"{quantity} to torchx's"] = figures[quantity] / middle[TORCHX][quantity]
    heading = ("", "submitted", "torchx = 1", "finished", "torchx = 1")
    print(measure.table(f"{jobs} trivial jobs, a second", heading, [_row(*each) for each in middle.items()]))
    return {"unit": "jobs a second", "jobs": jobs, "medians": middle, "runs": taken}


def _row(name: str, figures: dict[str, float]) -> list[str]:
    submitted, finished = figures["submitted to torchx's"], figures["finished to torchx's"]
    return [
        name,
        f"{figures['submitted']:.0f}/s",
        f"{submitted:.2f}",
        f"{figures['finished']:.0f}/s",
        f"{finished:.2f}",
    ]


def _in_a_process(name: str, jobs: int) -> dict[str, float]:
    """Run one contender in an interpreter of its own, so that none meets the children of another."""
    command = [sys.executable, "-m", "benchmarks.submissions", name, str(jobs)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr}")
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def _bare(jobs: int, submitted: Callable[[], None]) -> None:
    processes = [subprocess.Popen(COMMAND) for _ in range(jobs)]
    submitted()
    for process in processes:
        process.wait()


def _ours(jobs: int, submitted: Callable[[], None]) -> None:
    import lyftlearn

    handles = [lyftlearn.train("bench", command=COMMAND) for _ in range(jobs)]
    submitted()
    lyftlearn.wait(handles, progress=False)


def _torchx(jobs: int, submitted: Callable[[], None]) -> None:
    from torchx.runner import get_runner

    with get_runner(cache_size=jobs + 1) as runner:
        handles = [runner.run_component("utils.sh", COMMAND, "local_cwd", {"log_dir": ""}) for _ in range(jobs)]
        submitted()
        for handle in handles:
            runner.wait(handle, wait_interval=0.01)


CONTENDERS = {BARE: _bare, OURS: _ours, TORCHX: _torchx}


def main(name: str, jobs: int) -> None:
    """Submit and wait as `name` does it, and print the rates: the import is part of it."""
    marks = [time.monotonic()]
    CONTENDERS[name](jobs, lambda: marks.append(time.monotonic()))
    marks.append(time.monotonic())
    start, submitted, finished = marks
    print(json.dumps({"submitted": jobs / (submitted - start), "finished": jobs / (finished - start)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
