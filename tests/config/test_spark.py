"""`[spark]`: what is wrong with it is told by key, and which jobs it is for."""

from __future__ import annotations

from typing import Any

import pytest

from lyftlearn.config import load
from lyftlearn.errors import InvalidJob


@pytest.mark.parametrize(
    ("table", "where", "words"),
    [
        ({"executors": "yarn"}, "spark.executors", "one of local, kubernetes"),
        ({"instances": 0}, "spark.instances", "1 to 10000"),
        ({"memory": "1Mi"}, "spark.memory", "512Mi or more"),
        ({"memory": 4}, "spark.memory", "512Mi or more"),
        ({"first_port": 65500}, "spark.first_port", "1024 to 65488"),
        ({"namespace": "A_B"}, "spark.namespace", "DNS label"),
        ({"server": "ftp://x", "credentials": "x"}, "spark.server", "URL of an API server"),
        ({"server": "https://x:6443"}, "spark.credentials", "write both, or neither"),
        ({"credentials": "x"}, "spark.server", "write both, or neither"),
        ({"conf": "x"}, "spark.conf", "a table of Spark's settings"),
        ({"conf": {"executor.memory": "1g"}}, "spark.conf.executor.memory", "begins with spark."),
        ({"conf": {"spark.x": [1]}}, "spark.conf.spark.x", "one line of text"),
        ({"conf": {"spark.x": "a\nb"}}, "spark.conf.spark.x", "one line of text"),
        ({"image": ""}, "spark.image", "a text"),
        ({"executor": "local"}, "spark.executor", "did you mean executors"),
    ],
)
def test_faults(table: dict[str, Any], where: str, words: str) -> None:
    """Whoever wrote it must be able to mend it without reading our code."""
    with pytest.raises(InvalidJob) as refusal:
        load({"spark": table})
    ((path, problem),) = refusal.value.faults
    assert path.endswith(where)
    assert words in problem


@pytest.mark.parametrize(
    "name", ["spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.access.key", "spark.x.password", "spark.x.token"]
)
def test_a_secret_has_no_place_in_a_file_that_everybody_reads(name: str) -> None:
    """It is refused without being repeated; the name of a variable is none."""
    with pytest.raises(InvalidJob) as refusal:
        load({"spark": {"conf": {name: "hunter2hunter2"}}})
    assert "a secret by its name" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    spark = load({"spark": {"conf": {name: "${env.S3_KEY}"}}}).spark(None)
    assert spark is not None
    assert spark.conf == {name: "${env.S3_KEY}"}


def test_settings_are_written_with_and_without_quotes() -> None:
    """TOML takes the dots of a bare key for tables."""
    conf = {"spark": {"sql": {"shuffle": {"partitions": 64}}}, "spark.speculation": True}
    spark = load({"spark": {"conf": conf}}).spark(None)
    assert spark is not None
    assert spark.conf == {"spark.sql.shuffle.partitions": "64", "spark.speculation": "true"}


def test_jobs_get_it_where_their_image_has_spark() -> None:
    """Every job's has, where nobody says which; without the table nothing changes for any job."""
    assert load({}).spark("base:1") is None
    assert load({"spark": {}}).spark(None) is not None
    some = load({"spark": {"images": ["spark:*"]}, "jobs": {"image": "spark:2"}})
    assert some.spark("base:1") is None
    assert some.spark("spark:1") is not None
    assert some.spark(None) is not None  # `[jobs] image`


def test_executors_have_the_name_that_their_image_has_on_kubernetes() -> None:
    """Wherever the driver runs, executors are pulled by a cluster."""
    images = {"spark:1": {"kubernetes": "registry.example/spark:1", "sagemaker": "ecr.example/spark:1"}}
    own = load({"spark": {}, "images": images}).spark("spark:1")
    other = load({"spark": {"image": "spark:1"}, "images": images}).spark("base:1")
    assert own is not None
    assert other is not None
    assert own.image == other.image == "registry.example/spark:1"
