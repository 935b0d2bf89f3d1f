"""Jobs that a released version sent to Kubernetes and SageMaker, as requests and as these keep them."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest

import lyftlearn
from lyftlearn import Client
from tests.backends.sagemaker.conftest import BUCKET
from tests.doubles.cluster.cluster import NAMESPACE
from tests.doubles.cluster.server import ApiServer
from tests.doubles.cluster.store import ApiError, Store
from tests.doubles.platforms import Platforms, platforms
from tests.doubles.sagemaker import serving
from tests.golden.calls import TRAIN
from tests.golden.corpus import Corpus
from tests.golden.formats import remote_config

PATIENCE = "600s"
ROLES = ("trained", "processed", "failed", "retried", "stopped", "predicted")
REQUESTED = ("trained", "processed", "stopped", "retried")
PLURALS = {"Job": "apis/batch/v1", "ConfigMap": "api/v1", "Service": "api/v1"}


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Every platform."""
    with pytest.MonkeyPatch.context() as patch, platforms(tmp_path_factory.mktemp("platforms")) as running:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def config(everywhere: Platforms, tmp_path: Path) -> dict[str, Any]:
    """Return the configuration with which the jobs were submitted."""
    return remote_config(everywhere.config, tmp_path / "home")


@pytest.fixture(params=["kubernetes", "sagemaker"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the backend in use."""
    name: str = request.param
    monkeypatch.setenv("LYFTLEARN_BACKEND", name)
    return name


@pytest.fixture
def client(config: dict[str, Any], corpus: Corpus, everywhere: Platforms) -> Client:
    """Return a client of the current version, beside the old version's bucket."""
    corpus.place_bucket(BUCKET, everywhere.environment)
    return Client(config=config)


def test_jobs_that_are_under_way_go_on(corpus: Corpus, backend: str, client: Client, config: dict[str, Any]) -> None:
    """Jobs run for weeks: those that an old version sent, with its runtime, are followed by the new one."""
    send = {"kubernetes": _send_to_kubernetes, "sagemaker": _send_to_sagemaker}[backend]
    ids = {role: send(corpus.document(backend, "requests", f"{role}.json"), config) for role in REQUESTED}
    for role, job_id in ids.items():
        _goes_on(client, job_id, role, corpus.document(backend, f"{role}.json")["summary"], Path(config["home"]) / role)


def _goes_on(client: Client, job_id: str, role: str, summary: Mapping[str, Any], out: Path) -> None:
    job = client.job(job_id)
    if role == "stopped":
        assert next(iter(job.logs(follow=True))) == "waiting"
        job.stop()
    state = job.wait(PATIENCE, check=False, progress=False)
    end = (state.status, state.reason, state.exit_code, state.attempt)
    assert end == tuple(summary[key] for key in ("status", "reason", "exit_code", "attempt")), role
    assert [line.replace(job.id, summary["id"]) for line in job.logs()] == summary["log"], role
    if state.status == "succeeded" and role != "retried":
        assert {path.name for path in job.download(out).iterdir()} == job.outputs.keys()
    again = client.jobs(name=job.name, status=state.status)
    assert job.id in {one.id for one in again}


def _send_to_kubernetes(requests: list[dict[str, Any]], config: Mapping[str, Any]) -> str:
    """Create the objects, and return the name of the Job."""
    kubeconfig = json.loads(Path(config["kubernetes"]["kubeconfig"]).read_text())
    server = kubeconfig["clusters"][0]["cluster"]["server"]
    for body in (request["body"] for request in requests):
        kind = body["kind"]
        address = f"{server}/{PLURALS[kind]}/namespaces/{NAMESPACE}/{kind.lower()}s"
        with contextlib.suppress(HTTPError), urlopen(Request(address, json.dumps(body).encode(), method="POST")):
            name = str(body["metadata"]["name"])
    return name


def _send_to_sagemaker(requests: list[dict[str, Any]], config: Mapping[str, Any]) -> str:
    """Put the bundle, and create the training job; return its name."""
    put, create = (request["body"] for request in requests)
    boto3.client("s3").put_object(**{**put, "Body": json.dumps(put["Body"]).encode()})
    boto3.client("sagemaker", region_name="us-east-1").create_training_job(**create)
    return str(create["TrainingJobName"])


@pytest.fixture
def kubernetes(corpus: Corpus, config: dict[str, Any], tmp_path: Path) -> Iterator[None]:
    """Serve the objects as the old version's cluster had them; nothing runs there any more."""
    store = Store()
    store.create("namespaces", "", {"metadata": {"name": NAMESPACE}})
    for role in ROLES:
        document = corpus.document("kubernetes", f"{role}.json")
        for kind, item in (("jobs", document["job"]), *(("pods", pod) for pod in document["pods"])):
            created = item["metadata"]["creationTimestamp"]
            store.create(kind, NAMESPACE, item)
            store.modify(kind, NAMESPACE, item["metadata"]["name"], _dated(created))
    server = ApiServer(store, _no_log)
    server.start()
    kubeconfig = json.loads(Path(config["kubernetes"]["kubeconfig"]).read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = server.url
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    config["kubernetes"]["kubeconfig"] = str(tmp_path / "kubeconfig")
    yield
    server.stop()


def _dated(created: str) -> Callable[[dict[str, Any]], None]:
    return lambda item: item["metadata"].update(creationTimestamp=created)


def _no_log(pod: dict[str, Any], container: str, params: dict[str, str]) -> Iterator[bytes]:
    raise ApiError(404, "NotFound", f"the log of {pod['metadata']['name']} is gone with its node")


@dataclass
class Described:
    """A training job of which only the description is left."""

    document: dict[str, Any]
    tags: list[dict[str, str]]
    thread: threading.Thread = field(default_factory=threading.Thread)

    def __post_init__(self) -> None:
        self.thread.start()
        self.name: str = self.document["TrainingJobName"]
        self.status: str = self.document["TrainingJobStatus"]
        self.created: float = self.document["CreationTime"]

    def described(self) -> dict[str, Any]:
        return self.document

    def stop(self) -> bool:
        return False

    def finish(self, status: str) -> None:
        """It has."""


@pytest.fixture
def sagemaker(corpus: Corpus, everywhere: Platforms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the descriptions as the old version's account had them."""
    with serving(everywhere.environment["AWS_ENDPOINT_URL"], tmp_path / "sagemaker") as service:
        jobs: dict[str, Any] = service.jobs._jobs
        for role in ROLES:
            document = corpus.document("sagemaker", f"{role}.json")
            described = Described(_with_numbers(document["describe"]), document["tags"])
            jobs[described.name] = described
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", service.url)
        yield


def _with_numbers(value: Any) -> Any:
    """Return a document with times as the service's protocol has them."""
    if isinstance(value, list):
        return [_with_numbers(one) for one in value]
    if isinstance(value, dict):
        return {key: _with_numbers(one) for key, one in value.items()}
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00:00", value):
        return datetime.fromisoformat(value).timestamp()
    return value


def test_finished_jobs_are_what_they_were(
    corpus: Corpus, backend: str, client: Client, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A platform keeps its jobs over many versions; each must read those of the ones before."""
    request.getfixturevalue(backend)
    for role in ROLES:
        said = corpus.document(backend, f"{role}.json")["summary"]
        job = client.job(said["id"])
        state = job.refresh()
        assert {name: getattr(job, name) for name in ("kind", "name")} == {
            name: said[name] for name in ("kind", "name")
        }
        for name in ("status", "reason", "message", "exit_code", "attempt"):
            assert getattr(state, name) == said[name]
        gone = (
            backend == "kubernetes" and role == "stopped"
        )  # a stopped Job's pods are deleted, and their start with them
        for name in ("created_at", "finished_at", *(() if gone else ("started_at",))):
            assert getattr(state, name) == (said[name] and datetime.fromisoformat(said[name]))
        assert dict(job.outputs) == (said["outputs"] if state.status == "succeeded" else {})
        assert job.id in {one.id for one in client.jobs(name=job.name, status=state.status)}
    trained = client.job(corpus.document(backend, "trained.json")["summary"]["id"])
    trained.download(tmp_path / "out")
    assert (tmp_path / "out/output/rides.txt").read_text() == "5\n"


def test_keys_keep_their_jobs(
    corpus: Corpus, backend: str, client: Client, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nightly job that is repeated after an upgrade, and after a flip, is not run again."""
    request.getfixturevalue(backend)
    monkeypatch.setenv("LYFTLEARN_BACKEND", {"kubernetes": "sagemaker", "sagemaker": "kubernetes"}[backend])
    said = corpus.document(backend, "trained.json")["summary"]
    assert client.train(**TRAIN, key=f"nightly-{backend}").id == said["id"]
    with pytest.raises(lyftlearn.Conflict):
        client.train(**{**TRAIN, "command": "true"}, key=f"nightly-{backend}")


def test_claims_of_callers_that_died_are_taken_up(
    corpus: Corpus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version's caller may have sent its job: the new one sends that job, there, and no other."""
    monkeypatch.setenv("LYFTLEARN_BACKEND", "sagemaker")
    job = client.train("eta", command="true", key="died")
    assert job.id.rpartition("-")[2][:2] == "tk"
    job.wait(PATIENCE, progress=False)
