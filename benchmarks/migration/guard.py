"""How often the guard errs, and by when it finds what is worse: simulations that are too many for the tests.

python -m benchmarks.migration.guard --write benchmarks/results/guard.json

Each simulation is one model with 3,000 jobs on the old side, of which 5 % fail, and then jobs on both sides. The guard
is asked after every block of jobs, which is oftener than 120 times in a migration.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any

from lyftlearn._migration import evidence
from lyftlearn._migration.evidence import ODDS, Day
from lyftlearn._migration.guard import FAILURES, SHARES

LEVEL = 0.02
THRESHOLD = -math.log(LEVEL * SHARES[FAILURES])
KNOWN_DAYS, KNOWN_A_DAY, OLD_RATE = 30, 100, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    result = {"version": version("lyftlearn"), "level": LEVEL, "simulations": options.simulations}
    result["alike"] = alike(options.simulations)
    result["worse"] = {f"{rate:.0%}": worse(options.simulations // 2, rate) for rate in (0.10, 0.15, 0.20, 0.30)}
    text = json.dumps(result, indent=1)
    print(text)
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")


def alike(simulations: int) -> dict[str, Any]:
    """120 days of five jobs a day on either side, which fail alike."""
    found = [first_alarm(random.Random(seed), OLD_RATE, days=120) for seed in range(simulations)]
    return {"new_jobs": 600, "called_worse": sum(jobs is not None for jobs in found) / simulations}


def worse(simulations: int, rate: float) -> dict[str, Any]:
    """The same for 60 days, with failures that are more frequent on the new side."""
    found = [first_alarm(random.Random(10**6 + seed), rate, days=60) for seed in range(simulations)]
    jobs = [count if count is not None else math.inf for count in found]
    return {
        "found_within_150_jobs": sum(count <= 150 for count in jobs) / simulations,
        "found_within_210_jobs": sum(count <= 210 for count in jobs) / simulations,
        "found_within_300_jobs": sum(count <= 300 for count in jobs) / simulations,
        "jobs_until_half_are_found": half if math.isfinite(half := quantiles(jobs, n=2)[0]) else None,
    }


def first_alarm(draw: random.Random, rate: float, days: int) -> int | None:
    """Return after how many new jobs the guard says worse for the first time; None if it never does."""
    logs, jobs = [0.0] * len(ODDS), 0
    for block in evidence.blocks(simulated_days(draw, rate, days), str(draw.random())):
        jobs += block.new
        for at, factor in enumerate(ODDS):
            logs[at] += evidence.log_e(block, evidence.with_odds(block.rate, factor), margin=0.0)
        if evidence.combine([evidence.Evidence(tuple(logs), 0.0)]).log_worse >= THRESHOLD:
            return jobs
    return None


def simulated_days(draw: random.Random, rate: float, days: int) -> Iterator[Day]:
    for _ in range(KNOWN_DAYS):
        yield Day(KNOWN_A_DAY, failed(draw, KNOWN_A_DAY, OLD_RATE), 0, 0)
    for _ in range(days):
        yield Day(5, failed(draw, 5, OLD_RATE), 5, failed(draw, 5, rate))


def failed(draw: random.Random, of: int, rate: float) -> int:
    return sum(draw.random() < rate for _ in range(of))


if __name__ == "__main__":
    main()
