"""What a decision costs, and what a rehearsal costs the submission beside it: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure

OLD, NEW = "local-kubernetes", "local-sagemaker"
NONE = "no migration"
STAGES = (NONE, "off", "rehearse")
FLAGS = Path(__file__).parents[2] / "docs" / "how-to" / "migration" / "flags.json"
SCRIPT = """
import json, sys
import lyftlearn
lyftlearn.Client(config=json.loads(sys.argv[1])).train("bench", command=["/bin/true"])
"""


def main() -> None:
    options = arguments()
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "decision": lambda _: decisions(options.decisions),
        "submission": lambda folder: submissions(folder, options.runs, options.jobs),
        "script": lambda folder: scripts(folder, options.runs),
    }
    result: dict[str, Any] = {"machine": measure.machine()}
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as folder:
            os.environ["LYFTLEARN_HOME"] = str(Path(folder, "home"))
            result[name] = {"before": measure.wait_quiet(options.patience), **parts[name](Path(folder))}
    if options.write:
        measure.write(options.write, result)
        print(f"\nwritten to {options.write}")


def arguments() -> argparse.Namespace:
    parts = ["decision", "submission", "script"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="what to measure")
    parser.add_argument("--decisions", type=int, default=20_000, help="measured decisions of each source")
    parser.add_argument("--runs", type=int, default=15, help="measured runs of each stage")
    parser.add_argument("--jobs", type=int, default=20, help="jobs of a run, one after the other")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    options.write = options.write and options.write.absolute()
    return options


def decisions(count: int) -> dict[str, Any]:
    """Decide for one job again and again, by each source; "evaluated" asks the flag file every time."""
    tables: dict[str, dict[str, Any]] = {
        "no migration": {},
        "repository's stage": {"to": NEW, "stage": "rehearse"},
        "flag, kept": {"to": NEW, "flags": str(FLAGS), "cache": "1h"},
        "flag, evaluated": {"to": NEW, "flags": str(FLAGS), "cache": "0s"},
    }
    taken = {name: _decided({"from": OLD, **table}, count) for name, table in tables.items()}
    rows = [[name, *(f"{of[each]:.1f} µs" for each in ("median", "p99"))] for name, of in taken.items()]
    print(measure.table(f"{count} decisions", ("", "median", "99th percentile"), rows))
    return {"unit": "µs", "decisions": taken}


def _decided(migration: Mapping[str, Any], count: int) -> dict[str, float]:
    from lyftlearn.config import load
    from lyftlearn.rollout import Rollout

    deciding = Rollout(load({"migration": migration}), lambda: (OLD, NEW))
    attributes = {"model": "eta", "kind": "train", "repository": "rides/eta", "team": "maps"}
    attributes |= {"labels": {"tier": "1"}, "nodes": 1, "gpu": 0, "image": "registry/eta:1"}  # type: ignore[dict-item]
    deciding.decide(attributes)
    taken = [_timed(lambda: deciding.decide(attributes)) * 1e6 for _ in range(count)]
    return {"median": statistics.median(taken), "p99": sorted(taken)[int(count * 0.99)]}


def submissions(folder: Path, runs: int, jobs: int) -> dict[str, Any]:
    """Submit jobs one after the other in one process, while what is beside them goes on in the background."""
    from lyftlearn import Client

    clients = {stage: Client(config=configuration(folder, stage)) for stage in STAGES}
    taken = measure.interleaved({stage: partial(_submitted, clients[stage], jobs) for stage in STAGES}, runs)
    return _compared(f"A submission, of {jobs} one after the other", taken)


def _submitted(client: Any, jobs: int) -> dict[str, float]:
    import lyftlearn

    handles: list[Any] = []
    seconds = _timed(lambda: handles.extend(client.train("bench", command=["/bin/true"]) for _ in range(jobs)))
    client._session.recorder.drain(120)  # noqa: SLF001 - not part of what the caller waits for
    lyftlearn.wait(handles, progress=False)
    return {"taken": seconds * 1e3 / jobs}


def scripts(folder: Path, runs: int) -> dict[str, Any]:
    """Run whole scripts that submit once and end: what is beside a submission is finished before they do."""
    contenders = {stage: partial(_script, configuration(folder, stage)) for stage in STAGES}
    return _compared("A script that submits once, from start to end", measure.interleaved(contenders, runs))


def _script(config: Mapping[str, Any]) -> dict[str, float]:
    argv = [sys.executable, "-c", SCRIPT, json.dumps(config)]
    return {"taken": _timed(lambda: subprocess.run(argv, check=True)) * 1e3}


def configuration(folder: Path, stage: str) -> dict[str, Any]:
    """Return a configuration with a home of its stage's own."""
    config: dict[str, Any] = {"home": str(folder / stage.replace(" ", "-")), "backend": OLD}
    return config if stage == NONE else config | {"migration": {"from": OLD, "to": NEW, "stage": stage}}


def _compared(title: str, taken: measure.Runs) -> dict[str, Any]:
    middle = {stage: of["taken"] for stage, of in measure.medians(taken).items()}
    ratios = {stage: of / middle[NONE] for stage, of in middle.items()}
    rows = [[stage, f"{of:.2f} ms", f"{ratios[stage]:.2f}"] for stage, of in middle.items()]
    print(measure.table(title, ("stage", "median", f"{NONE} = 1"), rows))
    return {"unit": "ms", "medians": middle, f"to {NONE}": ratios, "runs": taken}


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
