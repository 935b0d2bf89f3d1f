"""The configuration of a session of Spark: who wins where both an image and lyftlearn have something to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.bundle import Bundle, check
from lyftlearn.runtime.environment import Environment
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.layout import Layout
from lyftlearn.runtime.nodes import Nodes
from lyftlearn.runtime.spark import prepare
from lyftlearn.runtime.spark.executor import AUTHENTICATION, java_command
from lyftlearn.runtime.spark.local import MIB, heap
from lyftlearn.runtime.spark.template import pod_template

from .conftest import JOB, Containers

SHOW = ["/bin/sh", "-c", 'echo "dir=$SPARK_CONF_DIR"; cat "$SPARK_CONF_DIR"/spark-defaults.conf']
SUBSTRATES = ["local", "kubernetes", "sagemaker"]
CLUSTER = {"executors": "kubernetes", "image": "spark:1", "inputs": {"rides": "s3://b/rides/"}, "pod": {}}


@pytest.fixture
def home(containers: Containers) -> Path:
    """What Spark looks like from outside, where every container may read it."""
    home = containers.directory / "spark"
    (home / "jars").mkdir(parents=True)
    (home / "conf").mkdir()
    return home


def settings(text: str) -> dict[str, str]:
    """As `java.util.Properties` reads a file of lines: the last one wins."""
    pairs = (line.strip().partition(" ") for line in text.splitlines() if line.strip().startswith("spark."))
    return {name: value.strip() for name, _, value in pairs}


def job(**fields: Any) -> Bundle:
    base = {"contract": 1, "job": JOB, "command": ["true"], "output_uri": "s3://b/out"}
    return Bundle(check({**base, **json.loads(json.dumps(fields))}), "")


def written(tmp_path: Path, bundle: Bundle, **variables: str) -> dict[str, str]:
    """What the configuration of a job says."""
    layout = Layout(str(tmp_path / "root"), str(tmp_path / "ml"))
    Path(layout.at("config")).mkdir(parents=True, exist_ok=True)
    prepared = prepare(bundle, layout, Environment(bundle, layout, Nodes(0, ["localhost"]), variables, "local"))
    assert prepared is not None
    return settings((Path(prepared.variables["SPARK_CONF_DIR"]) / "spark-defaults.conf").read_text())


@pytest.mark.contract("C-SPARK-1")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_session_in_local_mode(containers: Containers, home: Path, substrate: str) -> None:
    """On every platform: as many threads and as much memory as the job asked for, reached by nobody else."""
    (home / "conf" / "spark-defaults.conf").write_text("spark.master yarn\nspark.ui.enabled true\nspark.x image")
    (home / "conf" / "log4j2.properties").write_text("level = warn\n")
    container = containers.make(
        substrate,
        [*SHOW[:2], f'{SHOW[2]}; cat "$SPARK_CONF_DIR"/log4j2.properties'],
        spark={"executors": "local", "conf": {"spark.y": "configured"}},
        resources={"cpu": 2.5, "memory": 2 << 30},
        env={"SPARK_HOME": str(home)},
    )
    container.binds.append(str(home))
    result = container.run()
    output = result.output.decode()
    assert result.exit_code == 0, output
    assert "dir=/lyftlearn/config/spark\n" in output
    found = settings(output)
    assert found["spark.master"] == "local[2]"
    assert found["spark.driver.host"] == found["spark.driver.bindAddress"] == "127.0.0.1"
    assert found["spark.driver.memory"] == "1462m"
    assert found["spark.local.dir"] == "/lyftlearn/tmp"
    assert found["spark.ui.enabled"] == "true"  # the image's, against what the job has by default
    assert found["spark.x"] == "image"
    assert found["spark.y"] == "configured"
    assert "level = warn" in output
    assert "spark.master of" in output  # and whoever built the image is told what is not used


def test_an_image_without_spark_is_left_as_it_is(containers: Containers) -> None:
    """`[spark]` is for many jobs, and most of their images have none."""
    command = ["/bin/sh", "-c", 'echo "dir=$SPARK_CONF_DIR"']
    result = containers.make("kubernetes", command, spark={"executors": "local"}).run()
    assert (result.exit_code, result.output) == (0, b"dir=\n")


@pytest.mark.parametrize("ending", ["", "\n", "\\", "\\\n", "# x\\"])
def test_what_comes_after_the_image_wins(tmp_path: Path, home: Path, ending: str) -> None:
    """However its file ends: a last line may be meant to go on."""
    (home / "conf" / "spark-defaults.conf").write_text(f"spark.x a\nspark.master yarn{ending}")
    found = written(tmp_path, job(spark={"executors": "local"}), SPARK_HOME=str(home))
    assert found["spark.master"] == "local[1]"


def test_the_job_names_a_directory_of_its_own(tmp_path: Path, home: Path) -> None:
    """`SPARK_CONF_DIR` in an image or in `env` counts as the image's configuration."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "spark-defaults.conf").write_text("spark.driver.memory 3g\n")
    bundle = job(spark={"executors": "local"}, env={"SPARK_HOME": str(home), "SPARK_CONF_DIR": str(own)})
    assert written(tmp_path, bundle)["spark.driver.memory"] == "3g"


def test_a_setting_is_written_as_java_reads_it(tmp_path: Path, home: Path) -> None:
    """A backslash is one, and ends no line."""
    bundle = job(spark={"executors": "local", "conf": {"spark.x": "a\\b", "spark.z": "c\\"}})
    found = written(tmp_path, bundle, SPARK_HOME=str(home))
    assert found["spark.x"] == "a\\\\b"
    assert found["spark.z"] == "c\\\\"


@pytest.mark.parametrize(
    ("jar", "provider"),
    [
        ("aws-java-sdk-bundle-1.12.262.jar", "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"),
        ("bundle-2.24.6.jar", "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"),
    ],
)
def test_s3_is_read_with_the_credentials_of_the_job(tmp_path: Path, home: Path, jar: str, provider: str) -> None:
    """Where the image has the JARs that read it, whichever SDK they are of."""
    bundle = job(spark={"executors": "local"})
    assert not any("s3" in name for name in written(tmp_path, bundle, SPARK_HOME=str(home)))
    for name in (jar, "hadoop-aws-3.3.4.jar"):
        (home / "jars" / name).touch()
    variables = {"SPARK_HOME": str(home), "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    found = written(tmp_path, bundle, **variables)
    assert found["spark.hadoop.fs.s3a.aws.credentials.provider"] == provider
    assert found["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert found["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:9"
    assert found["spark.hadoop.fs.s3.impl"].endswith("S3AFileSystem")


@pytest.mark.parametrize("gib", [0.5, 1, 2, 7, 64])
def test_java_and_the_rest_fit_into_the_memory(gib: float) -> None:
    """Spark adds 384 MiB or 0.4 of the heap for Python, whichever is more."""
    memory = int(gib * (1 << 30))
    assert heap(memory) <= memory - min(384 * MIB, memory // 2)
    assert heap(memory) * 1.4 <= memory + 1 or memory <= (1 << 30)


@pytest.mark.parametrize(
    ("spark", "words"),
    [
        ({"executors": "yarn"}, "'local' or 'kubernetes'"),
        ({"executors": "local", "conf": {"x": "1"}}, "spark.conf"),
        ({"executors": "local", "conf": {"spark.x": "a\nspark.master evil"}}, "spark.conf"),
        ({"executors": "local", "conf": {"spark.x evil": "1"}}, "spark.conf"),
        ({"executors": "local", "jars": "x"}, "spark.jars"),
        ({**CLUSTER, "first_port": 65500}, "spark.first_port"),
        ({**CLUSTER, "credentials": "../x"}, "spark.credentials"),
        ({**CLUSTER, "instances": -1}, "spark.instances"),
        ({**CLUSTER, "server": "x"}, "spark.server"),
        ({**CLUSTER, "pod": []}, "spark.pod"),
        ({**CLUSTER, "source": {}}, "spark.source"),
        ({**CLUSTER, "image": "a\n"}, "spark.image"),
    ],
)
def test_nothing_of_a_bundle_is_trusted(spark: dict[str, Any], words: str) -> None:
    """A line break in a value would be a setting of its own."""
    with pytest.raises(RuntimeFailure, match=words):
        job(spark=spark)


def test_an_executor_is_told_what_the_job_is_told(tmp_path: Path) -> None:
    """Its code, inputs, variables and secrets by their names; and neither the driver's credentials nor any value."""
    bundle = job(
        spark={**CLUSTER, "credentials": "cluster", "cores": 3, "memory": 1 << 30, "source": {"uri": "s3://b/x.tgz"}},
        secrets={"names": ["db", "cluster"], "provider": {"type": "secretsmanager"}},
        inputs={"rides": {"mode": "mounted"}, "zones": {"uri": "s3://b/z", "mode": "fetch"}},
        env={"URL": "db://$(PASSWORD)@db"},
        timeout=600,
    )
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}
    pod = pod_template(bundle.document, runtime="r", spark_secret="s", image_conf="/etc/spark", owner=owner)
    told = json.loads(pod["metadata"]["annotations"]["lyftlearn/bundle"])
    assert told["env"] == {"URL": "db://$(PASSWORD)@db"}
    assert told["secrets"]["names"] == ["db"]
    assert told["source"] == {"uri": "s3://b/x.tgz"}
    assert told["inputs"]["rides"] == {"uri": "s3://b/rides/", "mode": "fetch"}
    assert told["inputs"]["zones"] == {"uri": "s3://b/z", "mode": "fetch"}
    assert told["resources"] == {"cpu": 3, "memory": 1 << 30}
    assert check({**told, "command": ["x"]})
    assert pod["metadata"]["ownerReferences"] == [owner]
    assert pod["metadata"]["labels"] == {"lyftlearn/spark-driver": JOB["id"]}
    assert pod["spec"]["activeDeadlineSeconds"] == 600 + 30 + 7200
    assert pod["spec"]["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["secret-0"]["secret"]["secretName"] == "db"
    mounted = {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounted == set(volumes)


def test_an_executor_starts_as_in_images_of_spark(tmp_path: Path) -> None:
    """Spark gives variables, and its images' entrypoint makes a command of them."""
    variables = {
        "PATH": "/usr/bin",
        "SPARK_HOME": "/opt/spark",
        "SPARK_CONF_DIR": "/opt/spark/conf",
        "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.0.0.1:7078",
        "SPARK_EXECUTOR_ID": "1",
        "SPARK_EXECUTOR_CORES": "2",
        "SPARK_EXECUTOR_MEMORY": "512m",
        "SPARK_APPLICATION_ID": "spark-1",
        "SPARK_EXECUTOR_POD_IP": "10.0.0.2",
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_EXECUTOR_POD_NAME": "x-exec-1",
        "SPARK_JAVA_OPT_10": "-Dten=10",
        "SPARK_JAVA_OPT_9": "-Dnine=$(HOME)",
        "JAVA_HOME": str(tmp_path),
    }
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("")
    java.chmod(0o755)
    command = java_command(variables, "/lyftlearn/source", {"LYFTLEARN_SUBSTRATE_SPARK_CONF": "/etc/spark"})
    options = ["-Dnine=$(HOME)", "-Dten=10", *AUTHENTICATION]
    assert command[:8] == [str(java), *options, "-Xms512m", "-Xmx512m", "-cp"]
    assert command[8] == "/opt/spark/conf:/etc/spark:/opt/spark/jars/*:/lyftlearn/source"
    assert command[9] == "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
    assert command[10:12] == ["--driver-url", variables["SPARK_DRIVER_URL"]]
    java.unlink()
    with pytest.raises(RuntimeFailure, match="Spark needs Java"):
        java_command(variables, "/", {})
