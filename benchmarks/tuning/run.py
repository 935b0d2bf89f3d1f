"""What the driver of a search adds to its trials, and what its study weighs: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import measure

SEARCH, LOOP = "search", "loop of train and wait"
COMMAND = ["/bin/echo", "loss=1"]
SIZES = (1_000, 10_000)


def main() -> None:
    options = arguments()
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "trial": lambda folder: trials(folder, options.runs, options.trials),
        "study": lambda folder: {str(size): study(folder, size, options.runs) for size in SIZES},
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
    parts = ["trial", "study"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="what to measure")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each contender")
    parser.add_argument("--trials", type=int, default=30, help="trials of a search, and jobs of a loop")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    options.write = options.write and options.write.absolute()
    return options


def trials(folder: Path, runs: int, count: int) -> dict[str, Any]:
    """Run one trial after the other, drawn and followed by a driver, and submitted by hand."""
    from lyftlearn import Client

    client = Client(config={"home": str(folder / "home"), "backend": "local"})
    contenders = {SEARCH: partial(_search, client, count), LOOP: partial(_loop, client, count)}
    taken = measure.interleaved(contenders, runs)
    middle = {name: of["taken"] for name, of in measure.medians(taken).items()}
    added = middle[SEARCH] - middle[LOOP]
    rows = [*([name, f"{of:.1f} ms"] for name, of in middle.items()), ["added by the driver", f"{added:.1f} ms"]]
    print(measure.table(f"From one of {count} trials to the next", ("", "median"), rows))
    return {"unit": "ms", "medians": middle, "added": added, "runs": taken}


def _search(client: Any, count: int) -> dict[str, float]:
    from lyftlearn import Objective, Uniform

    job = client.tune(
        "bench",
        command=COMMAND,
        space={"rate": Uniform(low=0, high=1)},
        objective=Objective(name="loss", goal="minimize", pattern=r"loss=(\S+)"),
        trials=count,
    )
    job.wait(progress=False)
    return _between([trial.job.state.finished_at for trial in job.trials()])


def _loop(client: Any, count: int) -> dict[str, float]:
    return _between([client.train("bench", command=COMMAND).wait(progress=False).finished_at for _ in range(count)])


def _between(ends: list[datetime]) -> dict[str, float]:
    steps = [(after - before).total_seconds() * 1e3 for before, after in pairwise(ends)]
    return {"taken": statistics.median(steps)}


def study(folder: Path, size: int, runs: int) -> dict[str, Any]:
    """Keep `size` trials as a driver does, and read them with a handle that knows nothing."""
    from lyftlearn._storage import open_storage
    from lyftlearn._studies.ledger import StudyReader

    storage = open_storage(str(folder / "storage"))
    document = write_study(storage, size)
    held = sum(path.stat().st_size for path in (folder / "storage" / "tuning" / document["id"]).iterdir())
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        assert len(StudyReader(storage, document["id"]).records()) == size
        taken.append((time.perf_counter() - start) * 1e3)
    middle = statistics.median(taken)
    rows = [["in the storage", f"{held / 1e6:.2f} MB"], ["trials()", f"{middle:.0f} ms"]]
    print(measure.table(f"A study of {size} trials", ("", ""), rows))
    return {"bytes": held, "milliseconds": middle, "runs": taken}


def write_study(storage: Any, size: int) -> Mapping[str, Any]:
    """Write a search whose trials have all ended; return its document."""
    from lyftlearn._studies.ledger import StudyWriter
    from lyftlearn._studies.study import Study
    from lyftlearn._studies.trial_record import TrialRecord
    from lyftlearn.events import JobEvent
    from lyftlearn.types import JobStatus

    objective = ["Objective", {"name": "loss", "goal": "minimize", "pattern": "loss=(.+)"}]
    space = {name: ["Uniform", {"low": 0.0, "high": 1.0, "log": False}] for name in ("rate", "decay", "dropout")}
    search = {"space": space, "objective": objective, "trials": size, "parallel": 10, "strategy": "random"}
    trial: dict[str, Any] = {"hyperparameters": {}}
    document = {"format": 1, "id": f"bench-{size}", "search": search, "trial": trial, "output_url": "s3://b/o"}
    began, writer = datetime.now(UTC), StudyWriter(storage, Study(json.loads(json.dumps(document))))
    writer.open()
    records = []
    for number in range(size):
        job_id, at = f"bench-tl{number:011}", began + timedelta(seconds=number)
        end = JobEvent(job_id=job_id, status=JobStatus.SUCCEEDED, at=at, exit_code=0, created_at=at, started_at=at)
        draw = dict.fromkeys(space, (number + 0.5) / size)
        records.append(
            TrialRecord(number=number, draw=draw, job_id=job_id, asked_at=at, end=end, objective=1 / (number + 1))
        )
    writer.keep(records)
    return document


if __name__ == "__main__":
    main()
