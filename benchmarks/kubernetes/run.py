"""Runs the Kubernetes benchmark: see README.md beside it."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.kubernetes.contenders import CONTENDERS, keep_plan
from benchmarks.kubernetes.following import ask

PARTS = ("requests", "cold", "warm", "following", "following many")


def main() -> None:
    arguments = _arguments()
    names = [name for name, (package, _) in CONTENDERS.items() if find_spec(package)]
    for name in CONTENDERS.keys() - set(names):
        print(f"{name} is not installed: it is left out")
    result: dict[str, Any] = {"machine": measure.machine(), "state": measure.wait_quiet(arguments.patience)}
    parts: dict[str, Callable[[Path], Any]] = {
        "requests": _requests,
        "cold": lambda directory: _cold(directory, names, arguments.cold),
        "warm": lambda directory: _warm(directory, names, arguments.runs, arguments.jobs),
        "following": lambda directory: _following(directory, arguments.followed),
        "following many": lambda directory: _following(directory, arguments.many),
    }
    for part in arguments.only:
        with server() as directory:
            result[part] = parts[part](directory)
    if arguments.write:
        measure.write(arguments.write, result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--cold", type=int, default=10)
    parser.add_argument("--followed", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


@contextmanager
def server() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        command = [measure.DOUBLES, "-m", "benchmarks.kubernetes.server", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                keep_plan(Path(name))
                yield Path(name)
            finally:
                process.terminate()


def _contender(name: str, jobs: int, directory: Path) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.kubernetes.contenders", name, str(jobs), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return times


def _requests(directory: Path) -> dict[str, Any]:
    first, more = (_counted(directory, jobs) for jobs in (1, 11))
    steady = {call: (more[call] - first.get(call, 0)) / 10 for call in more if more[call] != first.get(call, 0)}
    rows = [(call, f"{number:g}") for call, number in steady.items()]
    print(measure.table("requests of a steady submission", ("call", "a job"), rows))
    return steady


def _counted(directory: Path, jobs: int) -> dict[str, int]:
    before = ask(directory, "calls")["calls"]
    _contender("lyftlearn", jobs, directory)
    after = ask(directory, "calls")["calls"]
    return {call: number - before.get(call, 0) for call, number in after.items()}


def _cold(directory: Path, names: list[str], runs: int) -> Any:
    def one(name: str) -> Callable[[], dict[str, float]]:
        def run() -> dict[str, float]:
            began, began_cpu = time.monotonic(), _cpu_of_children()
            _contender(name, 0, directory)
            cpu = _cpu_of_children() - began_cpu
            return {"ms": (ask(directory, "calls")["last_create"] - began) * 1000, "cpu ms": cpu * 1000}

        return run

    taken = measure.interleaved({name: one(name) for name in names}, runs)
    return _told("cold process to accepted job", taken)


def _warm(directory: Path, names: list[str], runs: int, jobs: int) -> Any:
    def one(name: str) -> Callable[[], dict[str, float]]:
        def run() -> dict[str, float]:
            taken = _contender(name, jobs, directory)
            return {quantity: statistics.median(values) for quantity, values in taken.items()}

        return run

    taken = measure.interleaved({name: one(name) for name in names}, runs)
    return _told("a warm submission", taken)


def _told(title: str, taken: measure.Runs) -> dict[str, Any]:
    found = measure.medians(taken)
    rows = [(name, *_figures(of, found["lyftlearn"])) for name, of in found.items()]
    print(measure.table(title, ("contender", "ms", "lyftlearn's share", "cpu ms", "lyftlearn's share"), rows))
    return {"runs": taken, "medians": found}


def _figures(of: dict[str, float], ours: dict[str, float]) -> Iterator[str]:
    for quantity in ("ms", "cpu ms"):
        yield f"{of[quantity]:.2f}"
        yield f"{ours[quantity] / of[quantity]:.2f}"


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _following(directory: Path, jobs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.kubernetes.following", str(jobs), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"following failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    delays = sorted(found.pop("delays"))
    found["delay ms"] = {
        "median": delays[len(delays) // 2] * 1000,
        "99th of 100": delays[len(delays) * 99 // 100] * 1000,
        "largest": delays[-1] * 1000,
    }
    rows = [(call, str(number)) for call, number in found["calls"].items()]
    rows += [(of, f"{found[of]:.0f}") for of in ("submitted a second", "peak MB", "writer's peak MB")]
    rows += [(f"delay, {which} (ms)", f"{value:.1f}") for which, value in found["delay ms"].items()]
    print(measure.table(f"following {jobs} jobs to their end", ("", ""), rows))
    return found


if __name__ == "__main__":
    main()
