"""How long the pages of the dashboard take over a history of many jobs, each asked for by a browser's request."""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from benchmarks import measure
from benchmarks.history.run import fill
from lyftlearn.history.store import History

PAGES = {
    "newest jobs": "/",
    "failed jobs": "/?status=failed",
    "jobs of one model": "/?model=model-7",
    "jobs of a team without any": "/?team=nobody",
    "a search that finds nothing": "/?text=nothing",
    "one job": "/jobs/model-77",
    "models": "/models",
    "one model": "/model?model=model-7&repository=team-7/models",
}
RUNS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as folder:
        fill(History(f"sqlite:///{folder}/history.sqlite"), options.jobs)
        result: dict[str, Any] = {"jobs": options.jobs, "machine": measure.machine()}
        result["before"] = measure.wait_quiet()
        with opened(Path(folder)) as (session, address):
            result["measured"] = {name: time_of(session, address + path) for name, path in PAGES.items()}
    for name, of in result["measured"].items():
        print(f"{name:28} {of['median'] * 1000:7.1f} ms, at most {of['most'] * 1000:7.1f} ms, {of['bytes']:7,} bytes")
    if options.write:
        measure.write(options.write, result)


def time_of(session: requests.Session, url: str) -> dict[str, float]:
    seconds, size = [], 0
    for _ in range(RUNS):
        start = time.perf_counter()
        answer = session.get(url, timeout=60)
        seconds.append(time.perf_counter() - start)
        answer.raise_for_status()
        size = len(answer.content)
    return {"median": statistics.median(seconds), "most": max(seconds), "bytes": size}


@contextmanager
def opened(home: Path) -> Iterator[tuple[requests.Session, str]]:
    config = home / "lyftlearn.toml"
    config.write_text(f'home = "{home}"\n')
    command = [sys.executable, "-m", "lyftlearn", "dashboard", "--port", "0", "--config", str(config)]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=home) as process,
        requests.Session() as session,
    ):
        try:
            assert process.stderr is not None
            found = re.search(r"(http://\S+?)/\?\S+", process.stderr.readline())
            assert found
            session.get(found[0], timeout=60)
            session.get(f"{found[1]}/models", timeout=60)
            time.sleep(10)  # its first answers that take long are made now
            yield session, found[1]
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
