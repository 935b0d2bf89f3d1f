"""A driver of Spark in a training job: alone, and with executors on the tests' cluster, which call it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lyftlearn import Client, Job, JobStatus, Resources
from tests.backends.sagemaker.conftest import IMAGE, ROLE
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.network import Network
from tests.doubles.sagemaker import Service
from tests.spark import search_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SPARK = "example.com/spark:1"
SUM = """
import socket
from pyspark.sql import SparkSession

context = SparkSession.builder.getOrCreate().sparkContext
seen = context.parallelize(range(100), 4).map(lambda number: (number, socket.gethostname())).collect()
print("sum", sum(number for number, _ in seen), "elsewhere", socket.gethostname() not in {host for _, host in seen})
print("master", context.master.partition(":")[0], context.getConf().get("spark.driver.memory"))
"""


@pytest.fixture
def cluster(tmp_path: Path, network: Network) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "cluster", network=network)
    cluster.node.images[SPARK] = search_path()
    yield cluster
    cluster.close()


def run(service: Service, storage_url: str, tmp_path: Path, **spark: Any) -> Job:
    service.conduct.search_paths[IMAGE] = search_path()
    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1", "log_settle": "1s"}
    tables = {"storage": {"url": storage_url}, "sagemaker": table, "spark": spark}
    client = Client(config={"backend": "sagemaker", "home": str(tmp_path / "home"), **tables})
    asked = Resources(cpu=1, memory="2Gi")
    job = client.process("sum", command=["python3", "-c", SUM], outputs={}, resources=asked)
    job.wait(check=False, progress=False)
    return job


def test_a_driver_that_is_its_own_executor(service: Service, storage_url: str, tmp_path: Path) -> None:
    """With `getOrCreate()` alone, and the cores and the memory that the job asked for."""
    job = run(service, storage_url, tmp_path)
    log = list(job.logs())
    assert job.status is JobStatus.SUCCEEDED, [job.state.message, *log]
    assert "sum 4950 elsewhere False" in log
    assert "master local[1] 1462m" in log


def test_a_driver_whose_executors_are_pods(
    service: Service, storage_url: str, tmp_path: Path, cluster: Cluster, network: Network
) -> None:
    """It finds the cluster by a secret of AWS, its executors find it by its address, and nothing is left of them.

    The job has no files: pods of this network reach no S3.
    """
    authority = (cluster.directory / "pki" / "ca.crt").read_text()
    secret = {"token": "anything", "ca.crt": authority}
    boto3.client("secretsmanager").create_secret(Name="spark-cluster", SecretString=json.dumps(secret))
    server = f"https://{network.gateway}:{cluster.api.secure_port}"
    where = {"server": server, "credentials": "spark-cluster", "namespace": NAMESPACE}
    job = run(service, storage_url, tmp_path, executors="kubernetes", image=SPARK, memory="1Gi", cores=1, **where)
    log = list(job.logs())
    assert job.status is JobStatus.SUCCEEDED, [job.state.message, *log]
    assert "sum 4950 elsewhere True" in log
    left = [
        pod for pod in cluster.store.all("pods", NAMESPACE) if "lyftlearn/spark-driver" in pod["metadata"]["labels"]
    ]
    assert left == []
    assert cluster.store.all("secrets", NAMESPACE) == []
