"""Make the golden corpus of the version that is checked out: `python -m tests.golden.make DIRECTORY`.

It runs every job of `calls.py` on every backend, through the public API and the tests' own platforms, and keeps what
was stored on the way. A corpus is made once, when its version is released, and is never made again.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3

import lyftlearn
from lyftlearn import Client, Job, ops
from lyftlearn._storage import open_storage
from lyftlearn._submission import claims
from lyftlearn.config import load
from tests.backends.sagemaker.conftest import BUCKET
from tests.doubles.platforms import platforms
from tests.golden.calls import JOBS, KEYED, predict_from
from tests.golden.formats import CONFIG, LOCAL, places, plain, properties, remote_config, rows, scrub

STAGES = ("off", "rehearse", "shadow", "live", "complete")
PATIENCE = 600.0


def main() -> None:
    """Make the whole corpus."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    with (
        tempfile.TemporaryDirectory(prefix="golden-", ignore_cleanup_errors=True) as directory,
        platforms(Path(directory)) as running,
    ):
        variables = running.variables("local")
        os.environ.clear()
        os.environ.update(variables)
        del os.environ["LYFTLEARN_BACKEND"], os.environ["LYFTLEARN_CONFIG"]
        make_local(target, Path(directory) / "local")
        make_elsewhere(target, remote_config(running.config, Path(directory) / "remote"))
        make_journal(target, Path(directory) / "journal")
    make_decisions(target)
    make_configurations(target)
    write(target / "version.json", {"version": version("lyftlearn"), "commit": commit(), "python": sys.version})


def commit() -> str:
    """Return the commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def write(path: Path, document: Any) -> None:
    """Write JSON that a person can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, default=plain, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Send every job to `name`, as an operator would."""
    os.environ["LYFTLEARN_BACKEND"] = name
    yield
    del os.environ["LYFTLEARN_BACKEND"]


def submit(client: Client, call: tuple[str, Mapping[str, Any]]) -> Job:
    """Submit one call."""
    function, arguments = call
    job: Job = getattr(client, function)(**arguments)
    return job


def run_all(client: Client, name: str) -> dict[str, Job]:
    """Run every job to its end on one backend."""
    keys = {"trained": {"key": f"nightly-{name}"}}
    jobs = {
        role: submit(client, (function, {**given, **keys.get(role, {})})) for role, (function, given) in JOBS.items()
    }
    until(lambda: jobs["stopped"].refresh().status == "running")
    until(lambda: "waiting" in list(jobs["stopped"].logs(follow=False)))
    jobs["stopped"].stop()
    for job in jobs.values():
        job.wait(f"{PATIENCE:.0f}s", check=False, progress=False)
    jobs["predicted"] = submit(client, predict_from(jobs["trained"]))
    jobs["predicted"].wait(f"{PATIENCE:.0f}s", progress=False)
    return jobs


def until(look: Callable[[], bool]) -> None:
    """Wait for what `look` looks for."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(look)
        time.sleep(0.05)


def summary(job: Job) -> dict[str, Any]:
    """Return what a version says of a finished job to whoever finds it, for the next ones to say as well."""
    state = job.refresh()
    return {
        "id": job.id,
        "kind": job.kind,
        "name": job.name,
        "status": state.status,
        "reason": state.reason,
        "message": state.message,
        "exit_code": state.exit_code,
        "attempt": state.attempt,
        "created_at": state.created_at,
        "started_at": state.started_at,
        "finished_at": state.finished_at,
        "outputs": dict(job.outputs),
        "log": list(job.logs(follow=False)),
    }


def make_local(target: Path, root: Path) -> None:
    """Keep finished, lost and queued jobs of the local backends, with their storage."""
    home = root / "home"
    client = Client(config={**CONFIG, "home": str(home), **{name: {"parallel": 8} for name in LOCAL}})
    for name in LOCAL:
        with backend(name):
            jobs = run_all(client, name)
            queued = queue_jobs(client, home / name)
            lost = lose_supervisor(client, home / name)
            keep(home / name, target / "local" / name, jobs, home)
            keep_tree(home / name / "jobs" / lost.id, target / "local" / name / "lost" / lost.id, home)
            lost.refresh()
            documents = {
                "finished": {role: summary(client.job(job.id)) for role, job in jobs.items()},
                "queued": {role: job.id for role, job in queued.items()},
                "lost": lost.id,
            }
            text = json.dumps(documents, indent=1, default=plain, ensure_ascii=False)
            (target / "local" / name / "jobs.json").write_text(scrub(text, places(home)) + "\n")
            keep_pickles(target / "pickles", name, jobs)
    keep_tree(home / "storage", target / "local" / "storage", home)
    keep_digests(target / "digests.json", client, (*LOCAL,))


def queue_jobs(client: Client, store: Path) -> dict[str, Job]:
    """Submit jobs of every kind while every slot is taken, so that they stay in the queue."""
    slots = store / "slots"
    calls = {"train": JOBS["trained"], "process": JOBS["processed"], "waiting": JOBS["stopped"]}
    with ExitStack() as stack:
        for number in range(8):
            slot = stack.enter_context((slots / str(number)).open("w"))
            until(lambda slot=slot: taken(slot))  # type: ignore[misc]
        jobs = {}
        for role, (function, arguments) in calls.items():
            jobs[role] = submit(client, (function, {**arguments, "key": f"queued-{role}-{store.name}"}))
        keep_queue(store, store.with_name(f"{store.name}-queued"))
    for role, job in jobs.items():
        if role == "waiting":
            job.stop()
        else:
            job.wait(f"{PATIENCE:.0f}s", check=False, progress=False)
    return jobs


def taken(slot: Any) -> bool:
    """Take a slot; return whether it was free."""
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def keep_queue(store: Path, aside: Path) -> None:
    """Copy the jobs that wait, as they are now."""
    shutil.copytree(store / "queue", aside / "queue")
    for entry in (store / "queue").iterdir():
        job_id = entry.name.partition("-")[2]
        shutil.copytree(store / "jobs" / job_id, aside / "jobs" / job_id)


def lose_supervisor(client: Client, store: Path) -> Job:
    """Return a job whose supervisor was killed, and that nobody has looked at since."""
    job = submit(client, ("train", {"model": "lost", "command": "echo before; sleep 600"}))
    until(lambda: job.refresh().status == "running" and "before" in list(job.logs(follow=False)))
    events = (store / "jobs" / job.id / "events.jsonl").read_text().split("\n")
    pid, _ = next(json.loads(line)["supervisor"] for line in events if "supervisor" in line)
    os.kill(pid, signal.SIGKILL)
    return job


def keep(store: Path, target: Path, jobs: Mapping[str, Job], home: Path) -> None:
    """Keep the finished jobs of one backend, and those that waited."""
    for job in jobs.values():
        keep_tree(store / "jobs" / job.id, target / "finished" / job.id, home)
    keep_tree(store.with_name(f"{store.name}-queued"), target / "queued", home)


def keep_tree(source: Path, target: Path, home: Path) -> None:
    """Copy files with placeholders in their text; the runtime only once, and nothing that only a supervisor needs."""
    known = places(home)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if not path.is_file() or path.name == "reserve" or "nodes" in path.parts:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "runtime.pyz":
            copy = next(parent for parent in target.parents if parent.name == "local") / "runtime.pyz"
        data = path.read_bytes()
        try:
            copy.write_text(scrub(data.decode(), known))
        except UnicodeDecodeError:
            copy.write_bytes(data)


def keep_digests(path: Path, client: Client, names: tuple[str, ...]) -> None:
    """Keep the digest and the ids of every keyed call."""
    documents = {}
    for call, (function, arguments) in KEYED.items():
        planned = {
            name: ops.plan(function, client=client, backend=name, key="nightly", **arguments).spec for name in names
        }
        (digest,) = {spec.digest for spec in planned.values()}
        documents[call] = {"digest": digest, "ids": {name: spec.id for name, spec in planned.items()}}
    write(path, documents)


def keep_pickles(directory: Path, name: str, jobs: Mapping[str, Job]) -> None:
    """Keep handles, states and every error, as a notebook or a queue of a user would."""
    directory.mkdir(exist_ok=True)
    job = jobs["trained"]
    things: dict[str, Any] = {f"handle-{name}": job, f"state-{name}": job.state}
    if name == "local":
        things |= {f"error-{type(error).__name__}": error for error in errors(jobs)}
        things["resources"] = lyftlearn.Resources(cpu=2, gpu=1, gpu_type="A10G")
        things["record"] = job._record
        things["progress"] = job._observed
        things["event"] = job._record.event
    for file, thing in things.items():
        (directory / f"{file}.pickle").write_bytes(pickle.dumps(thing, protocol=4))


def errors(jobs: Mapping[str, Job]) -> list[Exception]:
    """Return one of every error."""
    failed, stopped = jobs["failed"], jobs["stopped"]
    return [
        lyftlearn.InvalidJob([("command", "is empty: write what to run"), ("nodes", "is 0")]),
        lyftlearn.JobNotFound("local has no job eta-tlaaaaaaaaaaa"),
        lyftlearn.Conflict("the key is held", "eta-tlaaaaaaaaaaa"),
        lyftlearn.AccessDenied("may not"),
        lyftlearn.QuotaExceeded("no room"),
        lyftlearn.BackendUnavailable("no answer", "eta-tlaaaaaaaaaaa"),
        lyftlearn.JobFailed(failed, failed.state),
        lyftlearn.JobStopped(stopped, stopped.state),
        lyftlearn.WaitTimeout([jobs["trained"]]),
        lyftlearn.LyftLearnError("something"),
    ]


def make_elsewhere(target: Path, config: dict[str, Any]) -> None:
    """Keep the jobs of Kubernetes and SageMaker, as requests and as these keep them, and the bucket."""
    client = Client(config=config)
    for name, look in (("kubernetes", KubernetesObjects(config).of), ("sagemaker", training_job)):
        with backend(name):
            jobs = run_all(client, name)
            for role, job in jobs.items():
                write(target / name / f"{role}.json", {**look(job.id), "summary": summary(client.job(job.id))})
            for role in ("trained", "processed", "stopped", "retried"):
                function, arguments = JOBS[role]
                submission = ops.plan(function, client=client, **{**arguments, "key": f"new-{role}-{name}"})
                requests = [{"operation": one.operation, "body": one.body} for one in submission.plan.requests]
                write(target / name / "requests" / f"{role}.json", requests)
            keep_pickles(target / "pickles", name, jobs)
    intend(config, client)
    keep_bucket(target / "bucket")


class KubernetesObjects:
    """Objects as the API server gives them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        kubeconfig = json.loads(Path(config["kubernetes"]["kubeconfig"]).read_text())
        self._server = kubeconfig["clusters"][0]["cluster"]["server"]

    def of(self, job_id: str) -> dict[str, Any]:
        """Return the Job and its pods."""
        job = self._get(f"/apis/batch/v1/namespaces/ml/jobs/{job_id}")
        pods = self._get(f"/api/v1/namespaces/ml/pods?labelSelector=lyftlearn/job={job_id}")
        return {"job": job, "pods": pods["items"]}

    def _get(self, path: str) -> dict[str, Any]:
        with urlopen(f"{self._server}{path}") as answer:
            document: dict[str, Any] = json.load(answer)
        return document


def training_job(job_id: str) -> dict[str, Any]:
    """Return what Describe and ListTags say."""
    service = boto3.client("sagemaker", endpoint_url=os.environ["AWS_ENDPOINT_URL_SAGEMAKER"])
    described = service.describe_training_job(TrainingJobName=job_id)
    tags = service.list_tags(ResourceArn=described["TrainingJobArn"])["Tags"]
    return {"describe": {key: value for key, value in described.items() if key != "ResponseMetadata"}, "tags": tags}


def intend(config: Mapping[str, Any], client: Client) -> None:
    """Leave a claim as a caller does that dies before it sends its job."""
    spec = ops.plan("train", client=client, backend="kubernetes", key="died", model="eta", command="true").spec
    claim = claims.Claim(digest=spec.digest, id=spec.id, backend="kubernetes")
    claims.take(open_storage(config["storage"]["url"]), ("golden", "train", "eta", "died"), claim)


def keep_bucket(target: Path) -> None:
    """Keep every object of the platform's bucket."""
    store = boto3.client("s3")
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            path = target / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(BUCKET, found["Key"], str(path))


def make_journal(target: Path, root: Path) -> None:
    """Keep the journal of a migration in the stages `rehearse` and `shadow`, and what the operator is shown of it."""
    for stage in ("rehearse", "shadow"):
        client = Client(config=migration_config(root, stage))
        jobs = [
            client.train("eta", command="true", labels={"stage": stage}),
            client.train("eta", command="exit 1"),
            client.train("eta", command="sleep 1", nodes=2, retries=0),
        ]
        for job in jobs:
            job.wait(f"{PATIENCE:.0f}s", check=False, progress=False)
        client._session.recorder.drain()
        until(lambda: settled(client))  # noqa: B023
    with sqlite3.connect(root / "home" / "journal.sqlite") as journal:
        journal.execute("VACUUM INTO ?", (str(target / "journal.sqlite"),))
    write(target / "journal.json", rows(target / "journal.sqlite"))


def migration_config(root: Path, stage: str) -> dict[str, Any]:
    """Return a configuration that moves jobs between two layouts of this machine."""
    shadow = {"models": ["eta"]}
    migration = {"from": "local-kubernetes", "to": "local-sagemaker", "stage": stage, "shadow": shadow}
    return {**CONFIG, "home": str(root / "home"), "backend": "local-kubernetes", "migration": migration}


def settled(client: Client) -> bool:
    """Whether every end of a job and every comparison is in the journal."""
    status = ops.migration_status(None, client=client)
    return status.unsettled == 0


def make_decisions(target: Path) -> None:
    """Keep the Decision of every stage, and of an operator's override."""
    with tempfile.TemporaryDirectory() as root:
        for stage in STAGES:
            client = Client(config=migration_config(Path(root), stage))
            text = ops.explain("train", "eta", labels={"team": "maps"}, client=client).as_json()
            write(target / "decisions" / f"{stage}.json", json.loads(text))
        with backend("local"):
            write(target / "decisions" / "override.json", json.loads(ops.explain("train", "eta").as_json()))


def make_configurations(target: Path) -> None:
    """Keep what this version reads from the configuration files of `tests/golden/configurations`."""
    for path in sorted((Path(__file__).parent / "configurations").glob("*.toml")):
        config = load(path)
        read = properties(config)
        text = scrub(json.dumps(read, indent=1, default=plain), {"{{home}}": str(config.home)})
        (target / "configurations").mkdir(exist_ok=True)
        shutil.copyfile(path, target / "configurations" / path.name)
        (target / "configurations" / f"{path.stem}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
