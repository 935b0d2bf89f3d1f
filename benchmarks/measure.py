"""Times of interleaved runs, their medians and ratios, and whether the machine was quiet."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DOUBLES = next(
    (str(path) for path in [Path(__file__).resolve().parents[1] / ".venv/bin/python"] if path.exists()), sys.executable
)
"""The interpreter of the tests' environment, which has what their servers need; else this one."""
QUIET = 0.05
"""The share of the machine that others may use, and it still counts as quiet."""

Runs = dict[str, dict[str, list[float]]]
"""Contender to quantity to one value a run."""


def interleaved(contenders: Mapping[str, Callable[[], Mapping[str, float]]], runs: int) -> Runs:
    """Run each contender once unmeasured, then all in turn, `runs` times: what disturbs the machine meets all alike."""
    for contender in contenders.values():
        contender()
    taken: Runs = {name: {} for name in contenders}
    for _ in range(runs):
        for name, contender in contenders.items():
            for quantity, value in contender().items():
                taken[name].setdefault(quantity, []).append(value)
    return taken


def medians(taken: Runs) -> dict[str, dict[str, float]]:
    import statistics  # here: the memory of who imports this module is measured

    return {name: {each: statistics.median(values) for each, values in of.items()} for name, of in taken.items()}


def busy_share(seconds: float = 1.0) -> float:
    """Return the share of all processors that is in use, of 0 to 1."""
    idle, total = _ticks()
    time.sleep(seconds)
    idle_then, total_then = _ticks()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def _ticks() -> tuple[int, int]:
    ticks = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def wait_quiet(patience: float = 60) -> dict[str, Any]:
    """Wait until nothing else uses the machine, at most `patience` seconds; return and print what was seen."""
    end = time.monotonic() + patience
    while (busy := busy_share()) > QUIET and time.monotonic() < end:
        pass
    seen = {"busy": round(busy, 3), "quiet": busy <= QUIET, "load": [round(load, 2) for load in os.getloadavg()]}
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{'quiet' if seen['quiet'] else 'NOT QUIET'}: others use {busy:.1%} of the machine; load average {load}")
    return seen


def submit_from_threads(submit: Callable[[], Any], count: int) -> tuple[list[Any], float]:
    """Submit from 50 threads at once; return the handles, and how many were submitted a second.

    A pool of threads keeps two kilobytes for each of its tasks, which would count as memory of what is measured.
    """
    handles: list[Any] = []
    numbers, began = iter(range(count)), time.monotonic()

    def submit_more() -> None:
        handles.extend(submit() for _ in numbers)

    threads = [threading.Thread(target=submit_more) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(handles) != count:
        raise RuntimeError(f"{count - len(handles)} submissions failed")
    return handles, count / (time.monotonic() - began)


def machine() -> dict[str, Any]:
    import platform  # as above

    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def table(title: str, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table for a terminal: the first column to the left, the others to the right."""
    lines = [list(heading), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heading))]
    lines.insert(1, ["-" * width for width in widths])
    text = ("  ".join(_padded(line, widths)).rstrip() for line in lines)
    return "\n".join(["", title, *text])


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def write(path: Path, result: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=2) + "\n")
    part.replace(path)
