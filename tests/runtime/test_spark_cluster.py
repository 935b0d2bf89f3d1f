"""A driver and the cluster of its executors: what it makes there, what it leaves, and what it says of silence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.spark.cluster import Cluster
from lyftlearn.runtime.spark.executor import check_way_back
from lyftlearn.runtime.spark.executors import ExecutorWatch
from tests.doubles.cluster.network import Network, inside, missing
from tests.doubles.cluster.server import ApiServer
from tests.doubles.cluster.store import Store, now, wait_until

from .conftest import JOB, Containers

NAMESPACE = "spark"
SHOW = 'cat "$SPARK_CONF_DIR"/spark-defaults.conf; echo; cat /lyftlearn/config/spark-executor.json; env'
SELECTOR = "lyftlearn/spark-driver=fares"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    store = Store()
    store.create("namespaces", "", {"metadata": {"name": NAMESPACE}})
    api = ApiServer(store, lambda *_: iter(()))
    api.start()
    yield api
    api.stop()


@pytest.fixture
def home(containers: Containers) -> Path:
    home = containers.directory / "spark"
    (home / "jars").mkdir(parents=True)
    return home


def secrets_of(containers: Containers, **secrets: dict[str, str]) -> Path:
    directory = containers.directory / "secrets"
    for name, keys in secrets.items():
        (directory / name).mkdir(parents=True)
        for key, value in keys.items():
            (directory / name / key).write_text(value)
    return directory


def run(containers: Containers, home: Path, api: ApiServer, keys: dict[str, str], **spark: Any) -> Any:
    """A job on SageMaker whose executors are on a cluster."""
    directory = secrets_of(containers, db={"PASSWORD": "swordfish"}, cluster=keys)
    settings = {
        "executors": "kubernetes",
        "namespace": NAMESPACE,
        "server": api.url,
        "credentials": "cluster",
        "image": "spark:1",
        "inputs": {},
        **spark,
    }
    container = containers.make(
        "sagemaker",
        ["/bin/sh", "-c", SHOW],
        spark=settings,
        secrets={"names": ["db"], "provider": {"type": "files", "path": str(directory)}},
        env={"SPARK_HOME": str(home), "URL": "db://$(PASSWORD)@db"},
        resources={"cpu": 4, "memory": 7 << 30},
        timeout=600,
    )
    container.binds += [str(home), str(directory)]
    container.network = True
    return container.run()


CREDENTIALS = {"token": "a-token-that-opens-it", "ca.crt": "unused over http"}


def test_a_driver_outside_of_the_cluster(containers: Containers, home: Path, api: ApiServer) -> None:
    """It makes what executors need, which goes when it ends; the credentials are a file, and nowhere else."""
    result = run(containers, home, api, CREDENTIALS, cores=2)
    output = result.output.decode()
    assert result.exit_code == 0, output
    conf, _, rest = output.partition("{")
    for line in (
        f"spark.master k8s://{api.url}",
        "spark.driver.host 127.0.0.1",
        "spark.driver.port 7078",
        "spark.driver.blockManager.port 7094",
        "spark.blockManager.port 7110",
        "spark.port.maxRetries 15",
        f"spark.kubernetes.namespace {NAMESPACE}",
        "spark.kubernetes.executor.container.image spark:1",
        "spark.kubernetes.executor.podTemplateFile /lyftlearn/config/spark-executor.json",
        "spark.kubernetes.authenticate.oauthTokenFile /lyftlearn/secrets/cluster/token",
        "spark.executor.instances 2",
        "spark.executor.cores 2",
        "spark.executor.memory 5120m",
        "spark.executor.memoryOverhead 2048m",
        "spark.authenticate true",
    ):
        assert f"{line}\n" in conf, line
    assert "a-token-that-opens-it" not in output
    assert "swordfish" not in conf + rest.partition("\n")[0]
    template, _ = json.JSONDecoder().raw_decode("{" + rest)
    (owner,) = template["metadata"]["ownerReferences"]
    assert owner["kind"] == "Secret"
    assert api.store.all("secrets") == []  # with which the pods go
    assert [item["metadata"]["name"][:18] for item in api.store.all("configmaps")] == ["lyftlearn-runtime-"]
    assert api.calls["deletecollection pods"] == 1


@pytest.mark.parametrize(
    "case",
    [
        ({"token": "a-token"}, {}, "the secret cluster has no ca.crt"),
        (CREDENTIALS, {"namespace": None}, r"need \[spark\] server, credentials and namespace"),
        (CREDENTIALS, {"namespace": "elsewhere"}, "cannot create secrets in namespace elsewhere"),
    ],
)
def test_what_is_missing_is_said_before_the_command_starts(
    containers: Containers, home: Path, api: ApiServer, case: tuple[dict[str, str], dict[str, Any], str]
) -> None:
    """Spark itself would show a trace of Java, or wait."""
    keys, spark, words = case
    result = run(containers, home, api, keys, **spark)
    assert (result.exit_code, result.output.count(b"spark.master")) == (78, 0)
    assert re.search(words, result.last_words), result.last_words


def test_an_executor_says_which_way_is_closed() -> None:
    """Both ports of the driver and the direction; a port where nobody listens yet is an open way."""
    if missing():
        pytest.skip(str(missing()))
    network = Network()
    try:
        (driver, address), (executor, _) = network.join(), network.join()
        assert ask(executor, address) == ""
        network.close_ports(driver, "7078:7109")
        words = ask(executor, address)
    finally:
        network.close()
    assert f"the driver at {address}, port 7078 and 7094, gets no answer" in words
    assert "Allow TCP 7078-7109 from executors' pods to the driver" in words


def ask(namespace: str, driver: str) -> str:
    """What an executor in this network says about its driver; nothing where it reaches it."""
    variables = {
        "SPARK_DRIVER_URL": f"spark://CoarseGrainedScheduler@{driver}:7078",
        "SPARK_JAVA_OPT_3": "-Dspark.driver.blockManager.port=7094",
    }
    code = f"from {check_way_back.__module__} import check_way_back; check_way_back({variables!r}, 0.5)"
    done = subprocess.run(
        [*inside(namespace), sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600
    )
    return done.stderr


def test_an_executor_without_a_driver_says_so() -> None:
    """Somebody tried the image by hand."""
    with pytest.raises(RuntimeFailure, match="executors are started by a driver"):
        check_way_back({})


def executor(store: Store, name: str, state: dict[str, Any]) -> None:
    status = {"phase": "Running", "containerStatuses": [{"name": "executor", "state": state}]}
    labels = {"lyftlearn/spark-driver": "fares"}
    store.create("pods", NAMESPACE, {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": status})


@pytest.fixture
def watched(api: ApiServer, tmp_path: Path) -> Iterator[list[str]]:
    """What the watch of a driver's executors gives as the reason to end; it began with one that cannot work."""
    (tmp_path / "token").write_text("t")
    cluster = Cluster(api.url, NAMESPACE, str(tmp_path / "token"), "")
    reasons: list[str] = []
    executor(api.store, "first", blocked())
    end = ExecutorWatch(cluster, SELECTOR, first_port=7110, enough=2, stop=reasons.append).start()
    wait_until(lambda: api.calls["watch pods"] > 0)
    yield reasons
    end()


def blocked() -> dict[str, Any]:
    message = 'lyftlearn/1 {"exit_code":null,"reason":"configuration"}\nexecutors cannot reach their driver'
    return {"terminated": {"exitCode": 78, "message": message}}


def test_a_job_whose_executors_cannot_work_ends(api: ApiServer, watched: list[str]) -> None:
    """With their words, as many as it asked for; Spark would start new ones for ever."""
    assert watched == []
    executor(api.store, "user-error", {"terminated": {"exitCode": 1, "message": "lyftlearn/1 {}\nboom"}})
    executor(api.store, "second", blocked())
    wait_until(lambda: bool(watched))
    assert watched == ["spark: no executor can work: executors cannot reach their driver"]


def test_a_job_with_one_executor_that_works_goes_on(api: ApiServer, watched: list[str]) -> None:
    """A single node may be cut off, and Spark does without its executors."""
    executor(api.store, "works", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    executor(api.store, "second", blocked())
    executor(api.store, "young", {"running": {"startedAt": now()}})
    before = api.calls["list pods"]
    api.stop()  # and the watch is taken up again
    api.start()
    wait_until(lambda: api.calls["list pods"] > before)
    assert watched == []
    assert JOB
