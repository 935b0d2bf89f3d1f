"""What an import costs, in time and memory, above a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from typing import Any

from benchmarks import measure

OURS, BARE = "lyftlearn", "bare interpreter"
CONTENDERS = {
    BARE: "pass",
    OURS: "import lyftlearn; lyftlearn.train",
    "boto3": "import boto3",
    "kubernetes": "import kubernetes",
    "torchx": "from torchx.runner import get_runner",
    "sagemaker": "from sagemaker.train import ModelTrainer",
}
VENDORS = ("boto3", "botocore", "lightkube", "kubernetes", "sagemaker", "openfeature", "requests", "rich")
_REPORT = "; import sys; print(open('/proc/self/status').read()); print('modules:', *sys.modules)"


def run(runs: int) -> dict[str, Any]:
    taken = measure.interleaved({name: partial(_once, code) for name, code in CONTENDERS.items()}, runs)
    middle = measure.medians(taken)
    bare, ours = middle[BARE], middle[OURS]
    for figures in middle.values():
        for quantity in ("ms", "MiB"):
            above = figures[quantity] - bare[quantity]
            figures[f"{quantity} above bare"] = above
    for figures in middle.values():
        for quantity in ("ms", "MiB"):
            figures[f"{quantity} to lyftlearn's"] = figures[f"{quantity} above bare"] / ours[f"{quantity} above bare"]
    print(measure.table("Import", _HEADING, [_row(name, figures) for name, figures in middle.items()]))
    loaded = sorted(set(_modules(CONTENDERS[OURS])) & set(VENDORS))
    print(f"vendor libraries that lyftlearn loads: {', '.join(loaded) or 'none'}")
    return {"code": CONTENDERS, "medians": middle, "runs": taken, "vendor libraries that lyftlearn loads": loaded}


_HEADING = ("", "time", "above bare", "lyftlearn = 1", "memory", "above bare", "lyftlearn = 1")


def _row(name: str, figures: dict[str, float]) -> list[str]:
    time_ratio, memory_ratio = figures["ms to lyftlearn's"], figures["MiB to lyftlearn's"]
    return [
        name,
        f"{figures['ms']:.0f} ms",
        f"{figures['ms above bare']:.0f} ms",
        f"{time_ratio:.1f}",
        f"{figures['MiB']:.0f} MiB",
        f"{figures['MiB above bare']:.0f} MiB",
        f"{memory_ratio:.1f}",
    ]


def _once(code: str) -> dict[str, float]:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return {"ms": (time.perf_counter() - start) * 1e3, "MiB": _peak_memory(code)}


def _peak_memory(code: str) -> float:
    lines = _report(code).splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _modules(code: str) -> list[str]:
    return _report(code).rpartition("modules:")[2].split()


def _report(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code + _REPORT], check=True, capture_output=True, text=True).stdout
