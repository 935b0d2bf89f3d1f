"""A whole migration that drives itself, simulated: the real autopilot, over a real history and a real flag file.

python -m benchmarks.migration.autopilot --write benchmarks/results/autopilot.json

Every day each model has jobs where the flag file sends them, and then the autopilot looks once, as it would by cron.
In one of twenty models something is wrong on the new side: half of its jobs crash, or it is slower by half, or its
artifacts differ and nothing else does.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lyftlearn._migration import audit
from lyftlearn._migration.autopilot import Autopilot
from lyftlearn._migration.results import AutopilotRun
from lyftlearn._migration.rung_store import FileStore
from lyftlearn._migration.rungs import Rung
from lyftlearn.config import Config, load
from lyftlearn.history.rows import ComparisonRow, OutcomeRow, RehearsalRow, Row, SubmissionRow
from lyftlearn.history.store import History
from lyftlearn.history.tables import jobs
from lyftlearn.rollout.stage import Stage

OLD, NEW = "local-kubernetes", "local-sagemaker"
SOUND, FAULTS = "sound", ("crashes", "slower", "different")
KNOWN_DAYS = 10


@dataclass(frozen=True)
class Model:
    """fault: what is wrong with it on the new side. fails: how often its jobs fail on either side."""

    repository: str
    name: str
    fault: str
    a_day: int
    fails: float
    seconds: float


@dataclass(frozen=True)
class Size:
    repositories: int = 200
    models: int = 3000
    days: int = 30
    bad: float = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=3000)
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        size = Size(options.repositories, options.models, options.days)
        result = Simulation(Path(home), size, options.seed).run(verbose=True)
    text = json.dumps({"version": version("lyftlearn"), "seed": options.seed, **result}, indent=1)
    print(text)
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")


class Simulation:
    """One migration."""

    def __init__(self, home: Path, size: Size, seed: int) -> None:
        self.size = size
        self.draw = random.Random(seed)
        self.models = list(self._models())
        self.config = self._config(home)
        self.history = History(self.config.history_url)
        self.store = FileStore(home / "flags.json", self.config.migration_flag)
        self.start = datetime.now(UTC) - timedelta(days=size.days + 1)
        self.submitted = 0

    def run(self, *, verbose: bool = False) -> dict[str, Any]:
        for day in range(-KNOWN_DAYS, 0):
            self._jobs_of_day(day)
        first_complete: dict[tuple[str, str], int] = {}
        for day in range(self.size.days):
            self._jobs_of_day(day)
            found = self._look(day)
            for step in found.steps:
                if step.rung == Rung.COMPLETE:
                    first_complete.setdefault((step.repository, step.model), day)
            if verbose:
                print(day, dict(Counter(step.rung for step in found.steps)), flush=True)
        return self._result(first_complete)

    def _look(self, day: int) -> AutopilotRun:
        now = self._noon(day) + timedelta(hours=12)
        return Autopilot(self.history, self.config, self.store, lambda: False, lambda: now).run()

    def _models(self) -> Iterator[Model]:
        count = self.size.models
        bad = set(self.draw.sample(range(count), round(count * self.size.bad)))
        for number in range(count):
            yield Model(
                repository=f"team/repository-{number % self.size.repositories}",
                name=f"model-{number}",
                fault=self.draw.choice(FAULTS) if number in bad else SOUND,
                a_day=self.draw.choice((12, 16, 24)),
                fails=self.draw.uniform(0.0, 0.05),
                seconds=self.draw.uniform(100, 3000),
            )

    def _config(self, home: Path) -> Config:
        return load(
            {
                "home": str(home),
                "history": {"url": f"sqlite:///{home / 'history.sqlite'}"},
                "migration": {
                    "from": OLD,
                    "to": NEW,
                    "flags": str(home / "flags.json"),
                    "shadow": {"models": [model.name for model in self.models]},
                },
                "autopilot": {"raises_a_day": self.size.models},
            }
        )

    def _noon(self, day: int) -> datetime:
        return self.start + timedelta(days=day)

    def _jobs_of_day(self, day: int) -> None:
        rungs, rows = self.store.read(), list[Row]()
        for model in self.models:
            rung = rungs.get((model.repository, model.name), Rung.OFF)
            rows += [row for number in range(model.a_day) for row in self._job(model, rung, day, number)]
            self.submitted += model.a_day
        self.history.record(*rows)

    def _job(self, model: Model, rung: Rung, day: int, number: int) -> Iterator[Row]:
        at = self._noon(day) + timedelta(seconds=self.draw.uniform(0, 3600))
        moved = rung.stage >= Stage.LIVE and self.draw.random() * 100 < rung.percent
        stage = rung.stage if moved or rung.stage < Stage.LIVE else Stage.REHEARSE
        job_id = f"{model.name}-{day}-{number}"
        yield from self._ran(model, job_id, at, (NEW if moved else OLD, stage))
        if stage in (Stage.REHEARSE, Stage.SHADOW):
            yield RehearsalRow(job_id=job_id, backend=NEW, faults=[])
        if stage is Stage.SHADOW:
            yield from self._ran(model, f"{job_id}-s", at, (NEW, stage), shadow_of=job_id)
            differs = model.fault == "different" and rung is Rung.SHADOW
            said = ["model.bin: other bytes"] if differs else []
            yield ComparisonRow(job_id=job_id, shadow_id=f"{job_id}-s", differences=said)

    def _ran(
        self, model: Model, job_id: str, at: datetime, place: tuple[str, Stage], shadow_of: str | None = None
    ) -> Iterator[Row]:
        backend, stage = place
        there = backend == NEW
        fails = 0.5 if there and model.fault == "crashes" else model.fails
        seconds = model.seconds * self.draw.lognormvariate(0, 0.1) * (1.5 if there and model.fault == "slower" else 1)
        begun = at + timedelta(seconds=self.draw.uniform(20, 30))
        yield SubmissionRow(
            job_id=job_id,
            at=at,
            model=model.name,
            kind="train",
            backend=backend,
            repository=model.repository,
            stage=str(stage),
            source="flag",
            shadow_of=shadow_of,
            image="trainer:1",
            code="c0de",
            version="1.1.0",
        )
        yield OutcomeRow(
            job_id=job_id,
            status="failed" if self.draw.random() < fails else "succeeded",
            reason=None,
            exit_code=None,
            created_at=at,
            started_at=begun,
            finished_at=begun + timedelta(seconds=seconds),
        )

    def _result(self, first_complete: Mapping[tuple[str, str], int]) -> dict[str, Any]:
        rungs = self.store.read()
        ends = {model: rungs.get((model.repository, model.name), Rung.OFF) for model in self.models}
        steps = audit.changes(self.history)
        sound = [model for model in self.models if model.fault == SOUND]
        bad = [model for model in self.models if model.fault != SOUND]
        return {
            "repositories": self.size.repositories,
            "models": len(self.models),
            "days": self.size.days,
            "jobs_submitted": self.submitted,
            "jobs_in_history": self._count(),
            "sound": self._of(sound, ends, steps),
            "bad": {fault: self._of([one for one in bad if one.fault == fault], ends, steps) for fault in FAULTS},
            "days_to_complete": _days(first_complete.values()),
            "steps": dict(sorted(Counter(f"{step.rung_before} to {step.rung_after}" for step in steps).items())),
        }

    def _of(self, models: Sequence[Model], ends: Mapping[Model, Rung], steps: Sequence[Any]) -> dict[str, Any]:
        names = {(model.repository, model.name) for model in models}
        backs = {
            (step.repository, step.model)
            for step in steps
            if Rung(str(step.rung_after)).height < Rung(str(step.rung_before)).height
        }
        return {
            "models": len(models),
            "ended_on": dict(sorted(Counter(str(ends[model]) for model in models).items())),
            "rolled_back": len(backs & names),
        }

    def _count(self) -> int:
        (row,) = self.history.select(sa.select(sa.func.count().label("jobs")).where(jobs.c.shadow_of.is_(None)))
        return int(row["jobs"])


def _days(days: Any) -> dict[str, int]:
    ordered = sorted(days)
    return {"first": ordered[0], "half": ordered[len(ordered) // 2], "last": ordered[-1]} if ordered else {}


if __name__ == "__main__":
    main()
