"""A backend for lyftlearn: each job is a directory, and one detached process that fills it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from lyftlearn import backend as api
from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobKind, JobStatus

OFFERS = {api.Capability.TRAIN, api.Capability.PROCESS, api.Capability.PREDICT, api.Capability.LOCAL_PATHS}
LACKS = {lacking: f"one plain process offers no {lacking}" for lacking in set(api.Capability) - OFFERS}


class BareBackend(api.Backend):
    def __init__(self, settings: api.BackendSettings) -> None:
        self.name, self.home, self.cache = settings.name, settings.home / settings.name, settings.home / "cache"
        self.home.mkdir(parents=True, exist_ok=True)

    def capabilities(self) -> api.Capabilities:
        return api.Capabilities(offers=frozenset(OFFERS), lacks=LACKS)

    def plan(self, spec: api.JobSpec) -> api.Plan:
        wanted = {"kind": api.Capability(spec.kind)} | (
            {"nodes": api.Capability.SEVERAL_NODES} if spec.nodes > 1 else {}
        )
        faults = tuple((path, LACKS[capability]) for path, capability in wanted.items() if capability in LACKS)
        requests = (api.Request(operation="run", body=api.bundle(spec)),)
        return api.Plan(spec=spec, backend=self.name, requests=requests, faults=faults)

    def submit(self, plan: api.Plan) -> api.JobRecord:
        spec, draft = plan.spec, Path(tempfile.mkdtemp(dir=self.home, prefix="."))
        kept = {name: getattr(spec, name) for name in ("id", "kind", "name", "digest", "decision")}
        kept |= {"labels": dict(spec.labels), "outputs": _outputs(spec), "created": time.time()}
        _write(draft / "job.json", kept)
        _write(draft / "bundle.json", plan.requests[0].body)
        runtime = str(api.runtime_archive(self.cache))
        command = ["setsid", "--fork", sys.executable, __file__, str(draft), str(self.home / spec.id), runtime]
        started = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not (self.home / spec.id).exists():
            raise BackendUnavailable(f"the process of {spec.id} did not start: {started.stderr}", spec.id)
        record = self.describe(spec.id)
        if record.digest != spec.digest:
            raise Conflict(f"{spec.id} was submitted with other arguments", spec.id)
        return record

    def describe(self, job_id: str) -> api.JobRecord:
        kept = self._kept(job_id)
        fields = {name: kept[name] for name in ("id", "name", "labels", "digest", "decision")}
        return api.JobRecord(**fields, kind=JobKind(kept["kind"]), event=_event(self.home / job_id, kept["created"]))

    def list(self, query: api.JobQuery) -> Iterator[api.JobRecord]:
        records = [self.describe(path.parent.name) for path in self.home.glob("[!.]*/job.json")]
        records.sort(key=lambda record: record.event.created_at or record.event.at, reverse=True)
        return filter(query.matches, records)

    def logs(self, job_id: str, query: api.LogQuery) -> Iterator[api.LogLine]:
        self._kept(job_id)
        with (self.home / job_id / "log").open("rb") as log:
            ended = self.describe(job_id).event.status.finished
            lines = [line for line in _lines(log) if query.node in (None, line.node)]
            lines = [line for line in lines if query.since is None or line.at >= query.since]
            yield from lines if query.tail is None else lines[max(0, len(lines) - query.tail) :]
            while query.follow and not ended:
                time.sleep(0.1)
                ended = self.describe(job_id).event.status.finished
                yield from (line for line in _lines(log) if query.node in (None, line.node))

    def stop(self, job_id: str) -> None:
        if not self.describe(job_id).event.status.finished:
            (self.home / job_id / "stop").touch()

    def watch(self, following: api.Following) -> Iterator[JobEvent]:
        said: dict[str, JobEvent] = {}
        while not following.closed:
            for job_id in following.ids:
                with suppress(JobNotFound):
                    event = self.describe(job_id).event
                    if said.get(job_id) != event:
                        said[job_id] = event
                        yield event
            following.wait_for_change(0.1)

    def outputs(self, job_id: str) -> Mapping[str, str]:
        outputs: dict[str, str] = self._kept(job_id)["outputs"]
        return outputs

    def _kept(self, job_id: str) -> dict[str, Any]:
        try:
            return _read(self.home / job_id / "job.json")
        except FileNotFoundError as exc:
            raise JobNotFound(f"{self.name} has no job {job_id}") from exc


def run(draft: Path, job: Path, runtime: str) -> None:
    """Become the job, unless another process already has, and report its end."""
    with (draft / "lock").open("w") as lock, (draft / "log").open("ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            draft.rename(job)  # the commit point: a directory that holds anything is not replaced
        except OSError:
            shutil.rmtree(draft)
            return
        os.closerange(1, 3)  # `submit` waits for this
        paths = {
            "BUNDLE": "bundle.json",
            "ROOT": "root",
            "SUBSTRATE_REPORT": "report",
            "SUBSTRATE_PROGRESS": "progress",
        }
        variables = {f"LYFTLEARN_{name}": str(job / file) for name, file in paths.items()}
        env = {**os.environ, **variables, "LYFTLEARN_SUBSTRATE": "local"}
        command = [sys.executable, runtime, "run"]
        with subprocess.Popen(command, cwd=job, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            threading.Thread(target=_obey, args=(job, process), daemon=True).start()
            for line in process.stdout or ():
                log.write(b"%.6f %s\n" % (time.time(), line.removesuffix(b"\n")))
                log.flush()
        _write(job / "end.json", _end(job))


def _obey(job: Path, process: subprocess.Popen[bytes]) -> None:
    while not (job / "stop").exists():
        time.sleep(0.1)
    process.terminate()


def _end(job: Path) -> dict[str, Any]:
    if not (job / "report").exists():
        return {"stopped": (job / "stop").exists(), "reason": "platform", "message": "the runtime left no report"}
    first, _, message = (job / "report").read_text().partition("\n")
    return {**json.loads(first.removeprefix("lyftlearn/1 ")), "message": message}


def _event(job: Path, created: float) -> JobEvent:
    """Say what the files say; whether somebody holds the lock is asked first, because the end is written under it."""
    alive = _is_locked(job / "lock")
    if (job / "end.json").exists() or not alive:
        return _final_event(job, created)
    attempts = (job / "progress").read_text().splitlines() if (job / "progress").exists() else []
    status = JobStatus.STOPPING if (job / "stop").exists() else JobStatus.RUNNING if attempts else JobStatus.STARTING
    started = _time(json.loads(attempts[0])["at"]) if attempts else None
    return JobEvent(
        job_id=job.name,
        status=status,
        at=started or _time(created),
        attempt=max(1, len(attempts)),
        created_at=_time(created),
        started_at=started,
    )


def _final_event(job: Path, created: float) -> JobEvent:
    said: dict[str, Any] = {"reason": "platform", "message": "the process that ran the job is gone"}
    if (job / "end.json").exists():
        said = _read(job / "end.json")
    failed = FailureReason(said["reason"]) if said["reason"] and not said.get("stopped") else None
    return JobEvent(
        job_id=job.name,
        status=JobStatus.STOPPED if said.get("stopped") else JobStatus.FAILED if failed else JobStatus.SUCCEEDED,
        at=_time(said.get("finished_at") or (job / "log").stat().st_mtime),
        attempt=max(1, said.get("attempt", 1)),
        reason=failed,
        message=said["message"],
        exit_code=said.get("exit_code"),
        created_at=_time(created),
        started_at=_time(said["started_at"]) if said.get("started_at") else None,
    )


def _lines(log: BinaryIO) -> Iterator[api.LogLine]:
    """Yield the whole lines that are left."""
    for line in iter(log.readline, b""):
        if not line.endswith(b"\n"):
            log.seek(-len(line), os.SEEK_CUR)
            return
        at, _, text = line[:-1].partition(b" ")
        yield api.LogLine(0, _time(float(at)), text.decode(errors="replace"))


def _outputs(spec: api.JobSpec) -> dict[str, str]:
    model = {"model": f"{spec.output_uri}/model.tar.gz"} if spec.kind is JobKind.TRAIN else {}
    return model | {name: uri or f"{spec.output_uri}/output.tar.gz#{name}" for name, uri in spec.outputs.items()}


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.with_suffix(".new").write_text(json.dumps(content))
    path.with_suffix(".new").rename(path)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
