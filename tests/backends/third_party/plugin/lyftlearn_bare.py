"""A backend for lyftlearn: a job is a directory, a thread of whoever submitted it, and the runtime as its child."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from lyftlearn import backend as api
from lyftlearn.errors import Conflict, JobNotFound
from lyftlearn.types import FailureReason, JobStatus

OFFERS = frozenset({api.Capability.TRAIN, api.Capability.PROCESS, api.Capability.PREDICT})
LACKS = {lacking: f"one plain process offers no {lacking}" for lacking in set(api.Capability) - OFFERS}


class BareBackend(api.Backend):
    def __init__(self, settings: api.BackendSettings) -> None:
        self.name, self.home = settings.name, settings.home / settings.name
        self.home.mkdir(parents=True, exist_ok=True)

    def capabilities(self) -> api.Capabilities:
        return api.Capabilities(offers=OFFERS, lacks=LACKS, sees=("/",))

    def plan(self, spec: api.JobSpec) -> api.Plan:
        faults = tuple(self.unmet(spec.kind, spec.nodes, spec.retries))
        requests = (api.Request(operation="run", body=api.bundle(spec)),)
        return api.Plan(spec=spec, backend=self.name, requests=requests, faults=faults)

    def submit(self, plan: api.Plan) -> api.JobRecord:
        spec, draft, now = plan.spec, Path(tempfile.mkdtemp(dir=self.home, prefix=".")), datetime.now(UTC)
        record = api.JobRecord.of(spec, now)
        for name, content in {"record": record, "event": record.event, "outputs": dict(spec.output_uris)}.items():
            _keep(draft / name, content)
        (draft / "bundle.json").write_text(json.dumps(plan.requests[0].body))
        (draft / "log").touch()
        try:
            draft.rename(self.home / spec.id)  # the commit point: a directory that holds anything is not replaced
        except OSError:
            shutil.rmtree(draft)
            if self.describe(spec.id).digest != spec.digest:
                raise Conflict(f"{spec.id} was submitted with other arguments", spec.id) from None
            return self.describe(spec.id)
        threading.Thread(target=self._run, args=(record,)).start()
        return record

    def _run(self, record: api.JobRecord) -> None:
        job, now = self.home / record.id, datetime.now(UTC)
        places = {"BUNDLE": "bundle.json", "ROOT": "root", "SUBSTRATE_REPORT": "report"}
        env = os.environ | {f"LYFTLEARN_{name}": str(job / place) for name, place in places.items()}
        env["LYFTLEARN_SUBSTRATE"] = "local"
        command = [sys.executable, str(api.runtime_archive(self.home / ".cache")), "run"]
        pipe: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with (job / "log").open("ab") as log, subprocess.Popen(command, cwd=job, env=env, **pipe) as process:
            event = replace(record.event, status=JobStatus.RUNNING, at=now, started_at=now)
            _keep(job / "event", event)
            (job / "pid").write_text(str(process.pid))
            if (job / "stop").exists():
                process.terminate()
            for line in process.stdout or ():
                log.write(b"%.6f %s\n" % (time.time(), line.removesuffix(b"\n")))
                log.flush()
        _keep(job / "event", replace(event, at=datetime.now(UTC), **_end(job)))

    def describe(self, job_id: str) -> api.JobRecord:
        record: api.JobRecord = self._kept(job_id, "record")
        return replace(record, event=self._kept(job_id, "event"))

    def list(self, query: api.JobQuery) -> Iterator[api.JobRecord]:
        records = [self.describe(path.parent.name) for path in self.home.glob("[!.]*/record")]
        records.sort(key=lambda record: record.event.created_at or record.event.at, reverse=True)
        return filter(query.matches, records)

    def logs(self, job_id: str, query: api.LogQuery) -> Iterator[api.LogLine]:
        ended = self.describe(job_id).event.status.finished
        with (self.home / job_id / "log").open("rb") as log:
            lines = [line for line in _lines(log) if query.since is None or line.at >= query.since]
            yield from lines if query.tail is None else lines[max(0, len(lines) - query.tail) :]
            while query.follow and not ended:
                time.sleep(0.1)
                ended = self.describe(job_id).event.status.finished
                yield from _lines(log)

    def stop(self, job_id: str) -> None:
        if not self.describe(job_id).event.status.finished:
            (self.home / job_id / "stop").touch()
            with suppress(OSError, ValueError):  # no process yet: its thread sees the file
                os.kill(int((self.home / job_id / "pid").read_text()), signal.SIGTERM)

    def outputs(self, job_id: str) -> Mapping[str, str]:
        outputs: dict[str, str] = self._kept(job_id, "outputs")
        return outputs

    def _kept(self, job_id: str, name: str) -> Any:
        try:
            return pickle.loads((self.home / job_id / name).read_bytes())
        except FileNotFoundError as exc:
            raise JobNotFound(f"{self.name} has no job {job_id}") from exc


def _keep(path: Path, content: Any) -> None:
    path.with_suffix(".new").write_bytes(pickle.dumps(content))
    path.with_suffix(".new").rename(path)


def _end(job: Path) -> dict[str, Any]:
    report = api.read_report((job / "report").read_text()) if (job / "report").exists() else None
    if report is not None:
        return asdict(report)
    killed = {"status": JobStatus.FAILED, "reason": FailureReason.PLATFORM, "message": "the runtime was killed"}
    return {"status": JobStatus.STOPPED} if (job / "stop").exists() else killed


def _lines(log: BinaryIO) -> Iterator[api.LogLine]:
    """Yield the whole lines that are left."""
    for line in iter(log.readline, b""):
        if not line.endswith(b"\n"):
            log.seek(-len(line), os.SEEK_CUR)
            return
        at, _, text = line[:-1].partition(b" ")
        yield api.LogLine(0, datetime.fromtimestamp(float(at), UTC), text.decode(errors="replace"))
