"""Run every part, each in the environment that it needs, and print one table of their medians.

python -m benchmarks.every [--only PART ...]   # of `make bench`, which makes the environments
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import measure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BENCH, CHECKOUT = (str(ROOT / name / "bin/python") for name in (".bench", ".venv"))
TOOLKIT, CLI = (str(ROOT / name) for name in (".bench-toolkit", ".bench-aws"))
PARTS: dict[str, list[str]] = {
    "local": [BENCH, "-m", "benchmarks.run"],
    "kubernetes": [BENCH, "-m", "benchmarks.kubernetes.run"],
    "sagemaker": [BENCH, "-m", "benchmarks.sagemaker.run"],
    "runtime": [BENCH, "-m", "benchmarks.runtime.run", "--toolkit", TOOLKIT],
    "rollout": [BENCH, "-m", "benchmarks.rollout.run"],
    "history": [CHECKOUT, "-m", "benchmarks.history.run"],
    "dashboard": [CHECKOUT, "-m", "benchmarks.dashboard.run"],
    "tuning": [BENCH, "-m", "benchmarks.tuning.run"],
    "guard": [BENCH, "-m", "benchmarks.migration.guard"],
    "packing": [BENCH, "-m", "benchmarks.packing"],
    "transfers": [BENCH, "-m", "benchmarks.transfers", "--cli", CLI],
    "instructions": [BENCH, "-m", "benchmarks.instructions"],
    "growth": [CHECKOUT, "-m", "benchmarks.growth"],
}
"""What writes a history, PostgreSQL and the dashboard need what the tests' environment has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    names = parser.parse_args().only
    failed = [name for name in names if not _ran(name)]
    rows = [row for name in names if name not in failed for row in _rows(name)]
    print(measure.table("Every part", ("", "median"), rows))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _ran(name: str) -> bool:
    """Whether a part ended well. The others are run all the same."""
    print(f"\n== {name} ==", flush=True)
    began = time.monotonic()
    done = subprocess.run([*PARTS[name], "--write", str(RESULTS / f"{name}.json")], cwd=ROOT, check=False)
    print(f"{name}: {time.monotonic() - began:.0f} s, exit code {done.returncode}", flush=True)
    return done.returncode == 0


def _rows(name: str) -> Iterator[tuple[str, str]]:
    for path, value in _medians(json.loads((RESULTS / f"{name}.json").read_text())):
        yield f"{name} {path}", f"{value:.4g}"


def _medians(result: Any, path: str = "", *, inside: bool = False) -> Iterator[tuple[str, float]]:
    """Every number below a key that speaks of medians or of what was best, with the keys that lead to it."""
    if isinstance(result, dict):
        for key, value in result.items():
            yield from _medians(
                value, f"{path} / {key}".lstrip(" /"), inside=inside or key.startswith(("median", "best"))
            )
    elif inside and isinstance(result, (int, float)) and not isinstance(result, bool):
        yield path, result


if __name__ == "__main__":
    main()
