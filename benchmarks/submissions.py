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
from lyftlearn._contract.runtime_archive import runtime_archive

OURS, BARE, XARGS, TORCHX = "lyftlearn", "bare subprocess", "the runtime by xargs -P", "torchx local_cwd"
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


def _xargs(jobs: int, submitted: Callable[[], None]) -> None:
    """Run what a supervisor starts for each job, in the same namespaces, without a store or a supervisor."""
    spec, bundle, run = _planned()
    top = Path.cwd() / f"xargs-{os.getpid()}"
    for number in range(jobs):
        (top / str(number) / "lyftlearn").mkdir(parents=True)
        (top / str(number) / "bundle.json").write_text(json.dumps(bundle).replace(spec.id, f"bench-{number}"))
    variables = {"BUNDLE": top / "{}" / "bundle.json", "SUBSTRATE": "local", "SUBSTRATE_REPORT": top / "{}" / "report"}
    words = ["env", *(f"LYFTLEARN_{name}={value}" for name, value in variables.items()), *_node(run, top / "{}")]
    submitted()
    numbers = "".join(f"{number}\n" for number in range(jobs))
    command = ["xargs", "-P", str(run["parallel"]), "-I{}", *words]
    subprocess.run(command, input=numbers.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    if not all((top / str(number) / "report").exists() for number in range(jobs)):
        raise RuntimeError("a job has no report")


def _planned() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """What a job is given here: its spec, its bundle, and how it is run."""
    from lyftlearn import Client

    given = dict.fromkeys(("source", "hyperparameters", "inputs", "env", "resources", "timeout", "labels", "key"))
    given |= {"model": "bench", "command": COMMAND, "image": None, "secrets": (), "nodes": 1, "retries": 0}
    plan = Client()._prepare("train", None, **given).plan  # noqa: SLF001 - nobody else shows a plan's parts
    bodies = {request.operation: request.body for request in plan.requests}
    return plan.spec, dict(bodies["write bundle.json"]), bodies["write job.json"]["run"]


def _node(run: dict[str, Any], place: Path) -> list[str]:
    """The command of a node whose directory is `place`."""
    from lyftlearn_local.layouts.layout import ContainerLayout
    from lyftlearn_local.supervisor import sandbox

    archive = str(runtime_archive(Path(os.environ["LYFTLEARN_HOME"]) / "cache"))
    runtime = [archive if word.endswith("runtime.pyz") else word for word in run["runtime"]]
    layout = ContainerLayout(place / "report")
    layout.binds.append((str(place / "lyftlearn"), "/lyftlearn"))
    words = sandbox.wrap(run, runtime, layout, paths=(), info=2)
    at = words.index("--info-fd")
    return words[:at] + words[at + 2 :]


CONTENDERS = {BARE: _bare, XARGS: _xargs, OURS: _ours, TORCHX: _torchx}


def main(name: str, jobs: int) -> None:
    """Submit and wait as `name` does it, and print the rates: the import is part of it."""
    marks = [time.monotonic()]
    CONTENDERS[name](jobs, lambda: marks.append(time.monotonic()))
    marks.append(time.monotonic())
    start, submitted, finished = marks
    print(json.dumps({"submitted": jobs / (submitted - start), "finished": jobs / (finished - start)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
