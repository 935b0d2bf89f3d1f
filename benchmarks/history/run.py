"""How long `cost` and the views of a migration take over a history of many jobs: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import measure
from lyftlearn.history.problems import digest_of, kind_of
from lyftlearn.history.store import History
from lyftlearn.history.tables import details, jobs, problems
from lyftlearn.history.tallies import fold
from tests.doubles.postgres import running_postgres

MODELS = 300
AT_ONCE = 20_000
QUESTIONS = ("cost", "migration_report", "migration_status", "migration_guard")
ASK = """
import json, sys, time
import lyftlearn
from lyftlearn import ops
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
start, cpu = time.perf_counter(), time.process_time()
answer = getattr(ops, sys.argv[2])(since=None, client=client)
status = open("/proc/self/status").read()  # what `getrusage` says begins with the parent's
memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "MB": memory}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--url", help="an SQLAlchemy URL of an empty database; by default SQLite, and then PostgreSQL")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    result: dict[str, Any] = {"jobs": options.jobs, "models": MODELS, "machine": measure.machine()}
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as folder, ExitStack() as stack:
        urls = {"given": options.url} if options.url else {"sqlite": f"sqlite:///{folder}/history.sqlite"}
        if not options.url:
            urls["postgresql"] = stack.enter_context(running_postgres()).url
        for name, url in urls.items():
            result[name] = measure_history(url, folder, options.jobs, options.patience)
    if options.write:
        measure.write(options.write, result)


def measure_history(url: str, folder: str, count: int, patience: float) -> dict[str, Any]:
    start = time.perf_counter()
    fill(History(url), count)
    print(f"{url.partition(':')[0]}: {count:,} jobs written in {time.perf_counter() - start:.0f} s")
    before = measure.wait_quiet(patience)
    return {"before": before, "best of three": {question: ask(question, url, folder) for question in QUESTIONS}}


def ask(question: str, url: str, home: str) -> dict[str, float]:
    config = {"home": home, "history": {"url": url}, "migration": {"from": "local-kubernetes", "to": "local-sagemaker"}}
    command = [sys.executable, "-c", ASK, json.dumps(config), question]
    told = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    best: dict[str, float] = min(told, key=lambda one: one["seconds"])
    print(f"{question:18} {best['seconds']:6.2f} s  {best['cpu']:6.2f} s of this process  {best['MB']:4.0f} MB")
    return best


def fill(history: History, count: int) -> None:
    """Write jobs a few thousand at a time, and add up their tallies as whoever writes them does."""
    rows = made(count)
    for start in range(0, count, AT_ONCE):
        some = [next(rows) for _ in range(min(AT_ONCE, count - start))]
        with history.connection() as connection:
            connection.execute(jobs.insert(), [row for row, _ in some])
            connection.execute(
                details.insert(), [{"job_id": row["job_id"], "labels": {"team": "maps"}} for row, _ in some]
            )
            named = [problem for _, problem in some if problem]
            if named:
                connection.execute(problems.insert(), named)
            fold(connection)
    if history.dialect == "postgresql":  # as autovacuum does within a minute
        with sa.create_engine(history.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def made(count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    chance = random.Random(1)
    now = datetime.now(UTC)
    for number in range(count):
        yield one(number, now - timedelta(seconds=number * 5), chance)


def one(number: int, at: datetime, chance: random.Random) -> tuple[dict[str, Any], dict[str, Any] | None]:
    model = number % MODELS
    moved = is_moved(model, number // MODELS, chance)
    failed, seconds = chance.random() < 0.05, chance.lognormvariate(6, 1)
    started = at + timedelta(seconds=chance.lognormvariate(3, 1))
    rehearsed = not moved and number % 3 == 0
    row = {
        "job_id": f"model-{number}",
        "at": at,
        "repository": f"team-{model % 20}/models",
        "team": f"team-{model % 20}",
        "model": f"model-{model}",
        "kind": "train",
        "backend": "local-sagemaker" if moved else "local-kubernetes",
        "stage": "live" if moved else "rehearse",
        "source": "flag",
        "fell_back": False,
        "nodes": 1,
        "rehearsed_on": "local-sagemaker" if rehearsed else None,
        "obstacles": 1 if rehearsed else None,
        "status": "failed" if failed else "succeeded",
        "reason": ("preempted" if number % 4 == 0 else "user-error") if failed else None,
        "exit_code": int(failed),
        "created_at": at,
        "started_at": started,
        "finished_at": started + timedelta(seconds=seconds),
        "start_up": (started - at).total_seconds(),
        "duration": seconds,
        "billed": seconds,
        "cost": seconds / 3600,
        "currency": "USD",
    }
    return row, problem_of(row, number) if rehearsed else None


def is_moved(model: int, ago: int, chance: random.Random) -> bool:
    """Of three models, one has not moved, one goes job by job, and one moved when 1,500 of its jobs were to come."""
    return (False, chance.random() < 0.5, ago < 1500)[model % 3]


def problem_of(row: dict[str, Any], number: int) -> dict[str, Any]:
    problem = f"is s3://bucket/jobs/{number}/output, where nothing may be written: rule {number % 30}"
    of = {name: row[name] for name in ("job_id", "at", "repository", "model", "fell_back")}
    ids = {"kind_id": digest_of(*kind_of("outputs", problem)), "text_id": digest_of(problem)}
    return of | ids | {"number": 0, "path": "outputs", "problem": problem, "backend": row["rehearsed_on"]}


if __name__ == "__main__":
    main()
