"""Measure everything, print it as tables, and write `benchmarks/results/local.json`."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import imports, measure, once, start, submissions

RESULTS = Path(__file__).resolve().parent / "results"
DISTRIBUTIONS = ("lyftlearn", "boto3", "kubernetes", "sagemaker", "torchx")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as folder:
        os.environ["LYFTLEARN_HOME"] = str(Path(folder, "home"))
        os.environ.pop("LYFTLEARN_BACKEND", None)
        os.chdir(folder)
        parts = {name: part for name, part in all_parts(options, Path(folder)).items() if name in options.only}
        measured = {name: with_quiet(part) for name, part in parts.items()}
    if options.write:
        result = {
            "machine": measure.machine(),
            "versions": {name: version(name) for name in DISTRIBUTIONS},
            "measured": measured,
        }
        measure.write(options.write, result)
        print(f"\nwritten to {options.write}")


def all_parts(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "import": lambda: imports.run(options.runs),
        "cold": lambda: start.cold(options.runs, folder),
        "warm": lambda: start.warm(options.runs, folder),
        "once": lambda: once.run(options.runs, folder),
        "submissions": lambda: submissions.run(options.rounds, options.jobs),
    }


def with_quiet(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    before = measure.wait_quiet()
    figures = part()
    after = [round(load, 2) for load in os.getloadavg()]
    print(f"load average afterwards, its own included: {' '.join(map(str, after))}")
    return {"before": before, "load after": after, **figures}


def arguments() -> argparse.Namespace:
    parts = ["import", "cold", "warm", "once", "submissions"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="what to measure")
    parser.add_argument("--runs", type=int, default=15, help="measured runs of each contender")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of many jobs")
    parser.add_argument("--jobs", type=int, default=500, help="jobs of a round")
    parser.add_argument(
        "--write", type=Path, help="file for the results; by default results/local.json, if all is measured"
    )
    options = parser.parse_args()
    if options.write is None and set(options.only) == set(parts):
        options.write = RESULTS / "local.json"
    options.write = options.write and options.write.absolute()
    return options


if __name__ == "__main__":
    main()
