"""Two backends whose jobs are files, with faults on demand: what the tests of flips and fallbacks submit to.

A submission really commits (an exclusive create of a file), so two processes that both believe they submitted can be
counted afterwards. `faults` in the backend's table gives the share of calls that are refused before the commit, get no
answer before it, get no answer after it, or end the process before or after it. `kinds` are what it offers, `status`
is how its jobs end, and `writes` is what they put into each of their outputs. `prints` is the line that they print, in
which `{rate}` is their hyperparameter of that name.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lyftlearn.backend import (
    Backend,
    BackendSettings,
    Capabilities,
    Capability,
    JobQuery,
    JobRecord,
    JobSpec,
    LogLine,
    LogQuery,
    Plan,
    Request,
    WatchSet,
    bundle,
)
from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound, QuotaExceeded
from lyftlearn.events import JobEvent
from lyftlearn.types import JobKind, JobStatus


class FileBackend(Backend):
    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self._jobs = settings.home / settings.name
        self._jobs.mkdir(parents=True, exist_ok=True)
        self._faults: Mapping[str, float] = settings.table.get("faults", {})
        self._refuses_plans = bool(settings.table.get("refuses_plans"))
        self._table = settings.table
        self._random = random.Random(f"{os.environ.get('SEED')}-{settings.name}")

    def capabilities(self) -> Capabilities:
        kinds = {Capability(kind) for kind in self._table.get("kinds", ["train"])}
        return Capabilities(offers=frozenset(kinds), sees=("/",))

    def plan(self, spec: JobSpec) -> Plan:
        faults = (("image", "is not allowed here: take another"),) if self._refuses_plans else ()
        return Plan(spec=spec, backend=self.name, requests=(Request(operation="create", body={}),), faults=faults)

    def submit(self, plan: Plan) -> JobRecord:
        self._trouble("refuse", QuotaExceeded("the quota of jobs is used up"))
        self._trouble("silence_before", BackendUnavailable("connection reset", plan.spec.id))
        self._trouble("die_before", None)
        self._commit(plan.spec)
        self._trouble("die_after", None)
        self._trouble("silence_after", BackendUnavailable("connection reset", plan.spec.id))
        return self.describe(plan.spec.id)

    def _commit(self, spec: JobSpec) -> None:
        document: dict[str, Any] = {
            "name": spec.name,
            "digest": spec.digest,
            "decision": spec.decision,
            "pid": os.getpid(),
        }
        document |= {"kind": spec.kind, "labels": dict(spec.labels), "metrics": bundle(spec)["metrics"]}
        document |= {"outputs": self._written(spec), "source": spec.source and spec.source.sha256}
        document |= {"command": spec.command, "inputs": dict(spec.inputs)}
        document |= {"hyperparameters": json.loads(spec.hyperparameters)}
        draft = self._jobs / f".{spec.id}.{os.getpid()}"
        draft.write_text(json.dumps(document))
        try:
            os.link(draft, self._path(spec.id))
        except FileExistsError:
            if self.describe(spec.id).digest != spec.digest:
                raise Conflict("another job has this id", spec.id) from None
        finally:
            draft.unlink()

    def _written(self, spec: JobSpec) -> dict[str, str]:
        places = {name: uri or f"{spec.output_uri}/{name}" for name, uri in spec.outputs.items()}
        for uri in places.values() if "writes" in self._table else ():
            path = Path(uri.removeprefix("file://"))
            path.mkdir(parents=True, exist_ok=True)
            (path / "made").write_text(self._table["writes"])
        return places

    def _trouble(self, kind: str, error: Exception | None) -> None:
        if self._random.random() >= self._faults.get(kind, 0):
            return
        if error is None:
            os._exit(17)
        raise error

    def _path(self, job_id: str) -> Path:
        return self._jobs / job_id

    def describe(self, job_id: str) -> JobRecord:
        try:
            found: dict[str, Any] = json.loads(self._path(job_id).read_text())
        except FileNotFoundError:
            raise JobNotFound(job_id) from None
        at = datetime.fromtimestamp(self._path(job_id).stat().st_mtime, UTC)
        status = JobStatus(self._table.get("status", "succeeded"))
        if not status.finished and self._stopped(job_id).exists():
            status = JobStatus.STOPPED
        return JobRecord(
            id=job_id,
            kind=JobKind(found["kind"]),
            name=found["name"],
            labels=found["labels"],
            digest=found["digest"],
            decision=found["decision"],
            event=JobEvent(job_id=job_id, status=status, at=at),
            outputs=found["outputs"],
        )

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        if self._faults.get("away"):
            raise BackendUnavailable("away")
        ids = [path.name for path in self._jobs.iterdir() if not path.name.startswith(".")]
        records = [record for record in map(self.describe, ids) if query.matches(record)]
        return iter(sorted(records, key=lambda record: record.event.at, reverse=True))

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        document, at = self._path(job_id), self.describe(job_id).event.at
        if "prints" not in self._table:
            return iter(())
        text = self._table["prints"].format(**json.loads(document.read_text())["hyperparameters"])
        return iter([LogLine(0, at, text)])

    def stop(self, job_id: str) -> None:
        self.describe(job_id)
        self._stopped(job_id).touch()

    def _stopped(self, job_id: str) -> Path:
        return self._jobs / f".stopped-{job_id}"

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        while not following.closed:
            for job_id in following.ids:
                try:
                    yield self.describe(job_id).event
                except JobNotFound as error:
                    following.report_absence(job_id, error)
            following.wait_for_change(0.1)

    def outputs(self, job_id: str) -> Mapping[str, str]:
        outputs: dict[str, str] = json.loads(self._path(job_id).read_text())["outputs"]
        return outputs


def create(settings: BackendSettings) -> Backend:
    return FileBackend(settings)
