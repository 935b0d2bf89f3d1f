"""Executors on Kubernetes, with a real Spark and Java: each in a network of its own, with connections both ways."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, FailureReason, Job, JobStatus, Resources
from lyftlearn.backend import runtime_archive
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.network import Network, inside
from tests.doubles.cluster.store import Object, wait_until
from tests.spark import search_path, spark_packages

pytestmark = pytest.mark.slow

SPARK = "example.com/spark:1"
ROWS = 20_000
PATIENCE = 600
COUNT = """
import os, socket
from pyspark.sql import SparkSession
from airports import is_long

spark = SparkSession.builder.getOrCreate()
flights = spark.sparkContext.textFile(os.environ["LYFTLEARN_INPUTS_DIR"] + "/flights", 4)

def look(rows):
    long = [is_long(row) for row in rows]
    secret = os.environ["PASSWORD"] == "swordfish" and os.environ["URL"] == "db://swordfish@db"
    return [(socket.gethostname(), len(long), sum(long), secret)]

seen = flights.mapPartitions(look).collect()
print("rows", sum(count for _, count, _, _ in seen))
print("long", sum(count for _, _, count, _ in seen))
print("elsewhere", socket.gethostname() not in {host for host, *_ in seen}, "secret", all(entry[3] for entry in seen))
spark.stop()
"""
AIRPORTS = "def is_long(row):\n    return int(row.split(',')[2]) > 500\n"


@pytest.fixture
def cluster(tmp_path: Path, network: Network) -> Iterator[Cluster]:
    search = search_path()
    cluster = Cluster(tmp_path / "cluster", network=network)
    cluster.node.images[SPARK] = search
    cluster.create_account("spark")
    yield cluster
    cluster.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "code"
    source.mkdir()
    (source / "count.py").write_text(COUNT)
    (source / "airports.py").write_text(AIRPORTS)
    return source


@pytest.fixture
def flights(tmp_path: Path) -> tuple[Path, int]:
    """A file of flights, and how many of them are long."""
    path, chance = tmp_path / "flights.csv", random.Random(7)
    rows = [(f"F{number}", chance.choice(["EWR", "JFK", "LGA"]), chance.randrange(1000)) for number in range(ROWS)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path, sum(distance > 500 for *_, distance in rows)


def client(cluster: Cluster, tmp_path: Path, **spark: Any) -> Client:
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    table = {"executors": "kubernetes", "memory": "1Gi", "cores": 1, **spark}
    kubernetes = {"kubeconfig": str(cluster.kubeconfig()), "volumes": [volume], "spark": {"service_account": "spark"}}
    config = {
        "home": str(tmp_path / "home"),
        "backend": "kubernetes",
        "storage": {"url": str(tmp_path / "storage")},
        "jobs": {"image": SPARK, "grace": "5s"},
        "kubernetes": kubernetes,
        "spark": table,
    }
    return Client(config=config)


def executors(cluster: Cluster) -> list[Object]:
    pods = cluster.store.all("pods", NAMESPACE)
    return [pod for pod in pods if "lyftlearn/spark-driver" in pod["metadata"]["labels"]]


def submit(client: Client, source: Path, flights: Path) -> Job:
    return client.process(
        "count-flights",
        command="python3 count.py",
        source=str(source),
        inputs={"flights": str(flights)},
        outputs={},
        secrets=["db"],
        env={"URL": "db://$(PASSWORD)@db"},
        resources=Resources(cpu=1, memory="2Gi"),
        timeout="10m",
    )


def test_a_job_counts_flights_on_two_executors(
    cluster: Cluster, tmp_path: Path, source: Path, flights: tuple[Path, int]
) -> None:
    """With `getOrCreate()` alone: executors have the job's code, inputs, variables and secrets, and go with it."""
    cluster.create_secret("db", {"PASSWORD": "swordfish"})
    job = submit(client(cluster, tmp_path), source, flights[0])
    seen: dict[str, Object] = {}
    deadline = time.monotonic() + PATIENCE
    while not job.status.finished:
        assert time.monotonic() < deadline, executors(cluster)
        seen |= {pod["metadata"]["name"]: pod for pod in executors(cluster)}
        time.sleep(0.2)
    log = list(job.logs())
    assert job.status is JobStatus.SUCCEEDED, log
    assert f"rows {ROWS}" in log
    assert f"long {flights[1]}" in log
    assert "elsewhere True secret True" in log
    assert len(seen) == 2
    for pod in seen.values():
        assert "swordfish" not in str(pod)
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert [owner["kind"] for owner in pod["metadata"]["ownerReferences"]] == ["Pod"]
    wait_until(lambda: not executors(cluster))
    assert [secret["metadata"]["name"] for secret in cluster.store.all("secrets", NAMESPACE)] == ["db"]


SUM = """
import socket
from pyspark.sql import SparkSession

context = SparkSession.builder.getOrCreate().sparkContext
seen = context.parallelize(range(100), 4).map(lambda number: (number, socket.gethostname())).collect()
print("sum", sum(number for number, _ in seen), "elsewhere", socket.gethostname() not in {host for _, host in seen})
"""
WAIT = SUM + "import time\ncontext.parallelize(range(4), 4).foreach(lambda _: time.sleep(600))\n"


def script(tmp_path: Path, text: str) -> Path:
    source = tmp_path / "script"
    source.mkdir()
    (source / "main.py").write_text(text)
    return source


def start(client: Client, source: Path) -> Job:
    asked = Resources(cpu=1, memory="2Gi")
    return client.process(
        "sum", command="python3 main.py", source=str(source), outputs={}, resources=asked, timeout="20m"
    )


def driver(cluster: Cluster, job: Job) -> Any:
    """What runs the driver's pod, once its container is there."""
    wait_until(lambda: any(cluster.has_container(pod) for pod in cluster.pods(job.id)), PATIENCE)
    return cluster.kubelet.runner(cluster.pods(job.id)[0])


def test_a_job_whose_executors_cannot_call_back_says_what_to_open(
    cluster: Cluster, network: Network, tmp_path: Path
) -> None:
    """Which ports, and in which direction; Spark alone would wait for ever."""
    job = start(client(cluster, tmp_path), script(tmp_path, SUM))
    network.close_ports(driver(cluster, job).namespace, "7078:7109")
    wait_until(lambda: job.status.finished, PATIENCE)
    state = job.state
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION), list(job.logs())
    assert "Allow TCP 7078-7109 from executors' pods to the driver" in state.message


def test_executors_end_with_a_driver_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody tells them: the connection ends, and their pods go with the driver's."""
    job = start(client(cluster, tmp_path), script(tmp_path, WAIT))
    killed = driver(cluster, job)

    def working() -> list[Object]:
        return [pod for pod in executors(cluster) if pod["status"]["phase"] == "Running"]

    wait_until(lambda: any("sum 4950" in line for line in job.logs(follow=False)), PATIENCE)
    first = {pod["metadata"]["uid"] for pod in working()}
    assert len(first) == 2
    killed.signal(signal.SIGKILL)
    wait_until(lambda: not first & {pod["metadata"]["uid"] for pod in working()}, PATIENCE)
    job.stop()
    wait_until(lambda: job.status.finished and not working(), PATIENCE)


def test_a_driver_outside_of_the_cluster(cluster: Cluster, network: Network, tmp_path: Path) -> None:
    """As on SageMaker: it finds the cluster by a secret, executors find it by its address, and nothing is left."""
    name, _ = network.join()
    secrets = tmp_path / "secrets" / "cluster"
    secrets.mkdir(parents=True)
    (secrets / "token").write_text("anything")
    shutil.copy(cluster.directory / "pki" / "ca.crt", secrets / "ca.crt")
    source = script(tmp_path, SUM)
    bundle = {
        "contract": 1,
        "job": {"id": "sum-outside", "name": "sum", "kind": "process"},
        "command": ["python3", str(source / "main.py")],
        "secrets": {"names": [], "provider": {"type": "files", "path": str(tmp_path / "secrets")}},
        "resources": {"cpu": 1, "memory": 2 << 30},
        "output_uri": tmp_path.as_uri(),
        "spark": {
            "executors": "kubernetes",
            "namespace": NAMESPACE,
            "server": f"https://{network.gateway}:{cluster.api.secure_port}",
            "credentials": "cluster",
            "image": SPARK,
            "memory": 1 << 30,
            "inputs": {},
        },
    }
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    variables = {
        "PATH": search_path(),
        "HOME": str(tmp_path),
        "LYFTLEARN_ROOT": str(tmp_path / "root"),
        "LYFTLEARN_SUBSTRATE": "local",
        "LYFTLEARN_BUNDLE": str(tmp_path / "bundle.json"),
    }
    runtime = runtime_archive(tmp_path / "runtime").rename(tmp_path / "runtime" / "runtime.pyz")
    command = [*inside(name), "python3", "-I", str(runtime), "run"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sum 4950 elsewhere True" in done.stdout
    wait_until(lambda: not executors(cluster))
    assert cluster.store.all("secrets", NAMESPACE) == []


SHOW = """
from pyspark.sql import SparkSession

hadoop = SparkSession.builder.getOrCreate().sparkContext._jsc.hadoopConfiguration()
for name in ("impl", "aws.credentials.provider", "endpoint", "endpoint.region", "path.style.access"):
    print(name, hadoop.get(f"fs.s3a.{name}"))
print("s3", hadoop.get("fs.s3.impl"))
"""


@pytest.mark.parametrize("backend", ["local", "local-kubernetes", "local-sagemaker"])
def test_what_reads_s3_is_told_where_and_as_whom(tmp_path: Path, backend: str) -> None:
    """In an image with the JARs for S3, by Spark's own reading of what the runtime wrote; here the JARs are empty."""
    home = tmp_path / "spark"
    packages = Path(spark_packages()) / "pyspark"
    (home / "jars").mkdir(parents=True)
    for path in packages.iterdir():
        if path.name != "jars":
            (home / path.name).symlink_to(path)
    for path in (packages / "jars").iterdir():
        (home / "jars" / path.name).symlink_to(path)
    for name in ("hadoop-aws-3.3.4.jar", "aws-java-sdk-bundle-1.12.262.jar"):
        with zipfile.ZipFile(home / "jars" / name, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    config = {"backend": backend, "home": str(tmp_path / "home"), "spark": {}, "local": {"containers": "never"}}
    env = {"SPARK_HOME": str(home), "PATH": search_path(), "AWS_REGION": "eu-west-1"}
    job = Client(config=config).process(
        "show", command="python3 main.py", source=script(tmp_path, SHOW), outputs={},
        env={**env, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, resources=Resources(cpu=1, memory="2Gi"),
    )  # fmt: skip
    job.wait(check=False, progress=False)
    log = list(job.logs())
    assert job.status is JobStatus.SUCCEEDED, log
    told = dict(line.partition(" ")[::2] for line in log if line.partition(" ")[0] in ("impl", "s3", "endpoint"))
    assert told["endpoint"] == "http://127.0.0.1:9"
    assert told["s3"] == told["impl"] == "org.apache.hadoop.fs.s3a.S3AFileSystem"
    assert "aws.credentials.provider com.amazonaws.auth.DefaultAWSCredentialsProviderChain" in log
    assert "endpoint.region eu-west-1" in log
    assert "path.style.access true" in log
