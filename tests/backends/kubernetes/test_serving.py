"""A model's server on a cluster: its objects against the schemas, and its pod, which really runs."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, Job, ops
from lyftlearn.backend import Plan
from lyftlearn.errors import InvalidJob
from tests.doubles.cluster import sandbox, validation
from tests.doubles.cluster.cluster import IMAGE, NAMESPACE, Cluster
from tests.doubles.cluster.deployment_controller import DeploymentController
from tests.doubles.cluster.server import admit
from tests.doubles.cluster.store import Object

VERSIONS = ["1.29", "1.37"]
KINDS = {"ConfigMap": "configmaps", "Deployment": "deployments", "Service": "services"}
SERVER = (Path(__file__).parents[2] / "runtime/programs/serve.py").read_text()
SHOWS_SECRET = SERVER.replace('os.environ.get("WHO")', 'os.environ["WHO"] + str(len(os.environ["PASSWORD"]))')
TRAINING = """
import os, pathlib
model = pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"])
(model / "selftest").mkdir()
(model / "factor").write_text("3")
(model / "selftest/one.request.csv").write_text("2")
(model / "selftest/one.expected.csv").write_text({answer!r})
"""
PATIENCE = 600.0


@pytest.fixture
def client(cluster: Cluster, table: dict[str, Any], storage_url: str, tmp_path: Path) -> Client:
    config = {
        "backend": "kubernetes",
        "home": str(tmp_path / "home"),
        "storage": {"url": storage_url},
        "jobs": {"image": IMAGE},
        "kubernetes": table,
    }
    return Client(config=config)


@pytest.fixture
def train(client: Client, cluster: Cluster, tmp_path: Path) -> Callable[..., Job]:
    """A model that multiplies by three, with one test of it, and the code of its server."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "serve.py").write_text(SHOWS_SECRET)

    def run(model: str = "fares", answer: str = "6") -> Job:
        cluster.create_secret(f"db-{model}", {"PASSWORD": "hunter2-hunter2"})
        program = textwrap.dedent(TRAINING).format(answer=answer)
        given: dict[str, Any] = {"secrets": [f"db-{model}"], "env": {"WHO": "fares"}}
        job = client.train(model, command=["python3", "-c", program], source=source, **given)
        job.wait(progress=False)
        return job

    return run


@pytest.fixture
def apply(cluster: Cluster) -> Iterator[Callable[[Plan], Object]]:
    """Create what a plan has, and return its Deployment; a controller makes the pod."""
    controller = DeploymentController(cluster.api)
    controller.start()

    def create(plan: Plan) -> Object:
        assert plan.faults == ()
        for request in plan.requests:
            kind = KINDS[request.body["kind"]]
            body = copy.deepcopy(dict(request.body))
            if cluster.store.find(kind, NAMESPACE, body["metadata"]["name"]) is None:
                admit(cluster.api, "create", kind, NAMESPACE, body)
        name = plan.requests[1].body["metadata"]["name"]
        return cluster.store.get("deployments", NAMESPACE, name)

    yield create
    controller.close()
    controller.join()


def pods_of(cluster: Cluster, deployment: Object) -> list[Object]:
    return DeploymentController(cluster.api).pods(deployment)


def is_ready(pod: Object) -> bool:
    return any(status["ready"] for status in pod["status"].get("containerStatuses", ()))


def wait_until(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def ask(cluster: Cluster, pod: Object, numbers: list[int]) -> Any:
    """From within the pod's network, which leads nowhere here."""
    runner = cluster.kubelet.runner(pod)
    assert runner is not None
    program = (
        "import sys, urllib.request as u; url, data = 'http://127.0.0.1:8080/invocations', sys.argv[1].encode(); "
        "request = u.Request(url, data, {'Content-Type': 'application/json'}); "
        "print(u.urlopen(request, timeout=30).read().decode())"
    )
    body = json.dumps({"numbers": numbers})
    argv = sandbox.in_network(runner._child, [sys.executable, "-c", program, body])
    return json.loads(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)


def test_a_pod_serves_what_a_job_trained(
    client: Client, cluster: Cluster, train: Callable[..., Job], apply: Callable[[Plan], Object]
) -> None:
    """With the job's code, variables and secrets; and once its container is started anew, it tests the model again."""
    train()
    plan = ops.plan_server("fares", command=["python3", "serve.py"], client=client)
    assert "hunter2" not in json.dumps([request.body for request in plan.requests])
    deployment = apply(plan)
    (pod,) = wait_until(lambda: list(filter(is_ready, pods_of(cluster, deployment))))
    assert ask(cluster, pod, [2]) == {"answers": [6.0], "who": "fares15"}
    log = b"".join(cluster.kubelet.log(pod, "main", {})).decode()
    assert "lyftlearn: serving on port 8080: 1 self-test passed" in log
    cluster.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
    other = wait_until(
        lambda: [one for one in pods_of(cluster, deployment) if one["metadata"]["name"] != pod["metadata"]["name"]]
    )
    wait_until(lambda: is_ready(cluster.store.get("pods", NAMESPACE, other[0]["metadata"]["name"])))
    cluster.store.delete("deployments", NAMESPACE, deployment["metadata"]["name"])


def test_a_model_that_fails_its_tests_is_never_ready(
    client: Client, cluster: Cluster, train: Callable[..., Job], apply: Callable[[Plan], Object]
) -> None:
    """Its server answers pings, and no request of anybody else's reaches it."""
    train("wrong", answer="7")
    deployment = apply(ops.plan_server("wrong", command=["python3", "serve.py"], client=client))
    ended = wait_until(lambda: [pod for pod in pods_of(cluster, deployment) if pod["status"]["phase"] == "Failed"])
    status = ended[0]["status"]["containerStatuses"][0]
    assert status["ready"] is False
    assert "one: answered '6', expected '7'" in status["state"]["terminated"]["message"]
    assert not any(map(is_ready, pods_of(cluster, deployment)))
    cluster.store.delete("deployments", NAMESPACE, deployment["metadata"]["name"])


def test_every_layout_has_the_same_pod(client: Client, train: Callable[..., Job]) -> None:
    """KServe and Seldon get the Deployment's pod in their own objects; two plans of one model are equal."""
    job = train("laid-out")
    plans = {
        layout: ops.plan_server(job.id, layout=layout, command="./serve", client=client)
        for layout in (None, "deployment", "kserve", "seldon")
    }
    assert plans[None].requests == plans["deployment"].requests
    deployment, service = (request.body for request in plans[None].requests[1:])
    for version in VERSIONS:
        assert validation.faults("deployments", dict(deployment), version) == []
        assert validation.faults("services", dict(service), version) == []
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert template["spec"]["restartPolicy"] == "Always"
    (inference,) = (request.body for request in plans["kserve"].requests[1:])
    predictor = inference["spec"]["predictor"]
    assert predictor["annotations"] == template["metadata"]["annotations"]
    assert predictor["containers"] == [{**template["spec"]["containers"][0], "name": "kserve-container"}]
    (seldon,) = (request.body for request in plans["seldon"].requests[1:])
    (one,) = seldon["spec"]["predictors"]
    assert one["graph"]["name"] == one["componentSpecs"][0]["spec"]["containers"][0]["name"]
    assert one["componentSpecs"][0]["metadata"] == template["metadata"]


def test_what_cannot_be_served_is_said(client: Client, train: Callable[..., Job]) -> None:
    """Every fault at once, before the model is read."""
    job = train("refused")
    with pytest.raises(InvalidJob) as caught:
        ops.plan_server(job.id, port=0, client=client)
    assert [path for path, _ in caught.value.faults] == ["command", "port"]
    with pytest.raises(InvalidJob, match="'knative' is none of deployment, kserve, seldon"):
        ops.plan_server(job.id, layout="knative", command="./serve", client=client)
    with pytest.raises(InvalidJob, match="kubernetes is not on this machine: print what serves it there with"):
        ops.serve(job.id, backend="kubernetes", command="./serve", client=client)
