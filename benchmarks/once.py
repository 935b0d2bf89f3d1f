"""A script that submits one job and ends: what a migration, with its history, adds until the process has ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure

SCRIPT = """
import json, sys, lyftlearn
lyftlearn.Client(config=json.loads(sys.argv[1])).train("bench", command=["/bin/true"])
"""
ALONE = "no migration"
STAGES = ("off", "rehearse")


def run(runs: int, folder: Path) -> dict[str, Any]:
    """Measure whole processes: nothing of them runs before, and their files are in the page cache."""
    contenders = {name: partial(_measured, config) for name, config in _configs(folder).items()}
    taken = measure.interleaved(contenders, runs)
    middle = measure.medians(taken)
    for figures in middle.values():
        figures["added"] = figures["ended"] - middle[ALONE]["ended"]
    rows = [[name, f"{row['ended']:.0f} ms", f"{row['added']:.0f} ms"] for name, row in middle.items()]
    print(measure.table("A script that submits once and ends", ("", "until it has ended", "more than alone"), rows))
    return {"unit": "ms", "medians": middle, "runs": taken}


def _configs(folder: Path) -> dict[str, dict[str, Any]]:
    backends = {"from": "local-kubernetes", "to": "local-sagemaker"}
    migrations = {f"a migration at {stage}": {"migration": {**backends, "default": stage}} for stage in STAGES}
    own = {name: {"home": str(folder / name.replace(" ", "-"))} for name in (ALONE, *migrations)}
    return {name: {"backend": backends["from"], **home, **migrations.get(name, {})} for name, home in own.items()}


def _measured(config: dict[str, Any]) -> dict[str, float]:
    start = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(config)], check=True)
    return {"ended": (time.monotonic_ns() - start) / 1e6}
