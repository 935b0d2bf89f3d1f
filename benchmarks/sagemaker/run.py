"""Runs the SageMaker benchmark: see README.md beside it."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.sagemaker.contenders import CONTENDERS
from benchmarks.sagemaker.following import followed
from benchmarks.sagemaker.servers import SageMaker, servers

CREATE = "CreateTrainingJob"
OURS, RAW, SDK = CONTENDERS
PARTS = ("cold", "warm", "following")
SLOWER = 20  # ModelTrainer takes so many times as long for a submission, and gets so many fewer to do


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end with this process
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as directory, servers() as service:
        home, source = Path(directory), None if arguments.without_source else _source(Path(directory))
        result: dict[str, Any] = {"machine": measure.machine(), "state": measure.wait_quiet(arguments.patience)}
        names = [name for name in CONTENDERS if name != SDK or find_spec("sagemaker")]
        if SDK not in names:
            print("the sagemaker SDK is not installed: ModelTrainer is left out")
        parts: dict[str, Callable[[], Any]] = {
            "cold": lambda: _cold(service, names, home, source, arguments.cold),
            "warm": lambda: _warm(names, home, source, arguments.runs, arguments.jobs),
            "following": lambda: followed(service, home, arguments.followed, arguments.seconds),
        }
        for part in arguments.only:
            service.ask("reset")
            result[part] = parts[part]()
    if arguments.write:
        measure.write(arguments.write, result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--cold", type=int, default=5)
    parser.add_argument("--followed", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--patience", type=float, default=30)
    parser.add_argument("--without-source", action="store_true")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def _source(directory: Path) -> Path:
    source = directory / "source"
    source.mkdir()
    (source / "train.py").write_text("print('hello')\n")
    return source


def _run(name: str, home: Path, source: Path | None, jobs: int) -> Mapping[str, float]:
    command = [sys.executable, "-m", "benchmarks.sagemaker.contenders", name, str(home), str(source or ""), str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1]) if jobs else {}
    return rates


def _cold(service: SageMaker, names: list[str], home: Path, source: Path | None, runs: int) -> dict[str, Any]:
    def once(name: str) -> Mapping[str, float]:
        service.ask("reset")
        began = time.monotonic()
        _run(name, home, source, 0)
        arrived = [at for at, operation in json.loads(service.ask("seen")) if operation == CREATE]
        return {"seconds": arrived[0] - began}

    taken = measure.interleaved({name: partial(once, name) for name in names}, runs)
    middle = measure.medians(taken)
    base = middle.get(SDK, middle[RAW])["seconds"]
    rows = [
        [name, f"{each['seconds']:.2f} s", f"{each['seconds'] / base:.3f}", f"{min(taken[name]['seconds']):.2f} s"]
        for name, each in middle.items()
    ]
    heading = ["", "median", f"{SDK if SDK in middle else RAW} = 1", "least"]
    print(measure.table("from a cold process to the create", heading, rows))
    return {"unit": "seconds", "medians": middle, "runs": taken}


def _warm(names: list[str], home: Path, source: Path | None, runs: int, jobs: int) -> dict[str, Any]:
    many = {name: max(5, jobs // SLOWER) if name == SDK else jobs for name in names}
    taken = measure.interleaved({name: partial(_run, name, home, source, many[name]) for name in names}, runs)
    middle = measure.medians(taken)
    best = {name: max(each["submitted"]) for name, each in taken.items()}
    heading = ["", "a second, median", f"{RAW} = 1", "best", f"{RAW} = 1", "processor, least", "requests of each"]
    rows = [
        [
            name,
            f"{each['submitted']:.1f}/s",
            f"{each['submitted'] / middle[RAW]['submitted']:.2f}",
            f"{best[name]:.1f}/s",
            f"{best[name] / best[RAW]:.2f}",
            f"{min(taken[name]['processor']):.1f} ms",
            f"{each['requests']:.1f}",
        ]
        for name, each in middle.items()
    ]
    print(measure.table("submissions, one after another", heading, rows))
    return {"submissions of a run": many, "medians": middle, "runs": taken}


if __name__ == "__main__":
    main()
