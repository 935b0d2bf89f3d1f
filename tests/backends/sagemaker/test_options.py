"""The table `[sagemaker]`."""

from __future__ import annotations

import tomllib

import pytest

from lyftlearn_sagemaker.options import OPTIONS, read_table

WHOLE = """
role = "arn:aws:iam::123456789012:role/jobs"
region = "us-east-1"
keep_alive = "30m"
tags = { team = "ml" }
[instances]
deny = ["ml.p5*"]
[vpc]
subnets = ["subnet-1"]
security_groups = ["sg-1"]
[user]
uid = 1000
gid = 100
[models.eta]
keep_alive = 0
spot = true
[models.eta.instances]
pin = "ml.m5.xlarge"
"""


def test_a_whole_table() -> None:
    """What is written is what is meant, and a model's changes are laid over everybody's."""
    options = read_table("sagemaker", tomllib.loads(WHOLE))
    assert options.faults == ()
    assert (options.job.keep_alive, options.job.spot, options.job.instances_deny) == (1800, False, ("ml.p5*",))
    assert (options.job.vpc_subnets, options.job.user_uid) == (("subnet-1",), 1000)
    eta = options.of("eta")
    assert (eta.keep_alive, eta.spot, eta.instances_pin, eta.role) == (0, True, "ml.m5.xlarge", options.job.role)
    assert options.of("other") == options.job


def test_every_fault_at_once() -> None:
    """A configuration is mended once, not once for each fault."""
    table = {
        "rolle": "x",
        "keep_alive": "soon",
        "spot": "yes",
        "instances": {"pin": 1, "best": "x"},
        "vpc": {"subnets": ["a"]},
        "models": {"eta": {"spot": True, "keep_alive": "1h"}},
    }
    paths = [path for path, _ in read_table("sagemaker", table).faults]
    assert sorted(paths) == [
        "sagemaker.instances.best",
        "sagemaker.instances.pin",
        "sagemaker.keep_alive",
        "sagemaker.models.eta.keep_alive",
        "sagemaker.models.eta.vpc",
        "sagemaker.rolle",
        "sagemaker.spot",
        "sagemaker.vpc",
    ]


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("keep_alive", False, "a duration"),
        ("keep_alive", "-5m", "a duration"),
        ("log_settle", 5, "a duration"),
        ("metrics", "nonsense", "a StatsD gateway"),
        ("metrics", "host:99999", "a StatsD gateway"),
        ("secrets", {"type": "vault"}, "type = one of secretsmanager, confidant"),
        ("secrets", {"type": "confidant"}, "url and service and from and auth_key"),
        ("secrets", {"prefix": 1}, "prefix, region, endpoint"),
        ("secrets", {"type": "secretsmanager", "path": "x"}, "prefix, region, endpoint"),
        ("region", "Virginia", "a region such as us-east-1"),
        ("events", "jobs", "the URL of an SQS queue"),
        ("models", {"eta": 5}, "a table for each model"),
        ("infrastructure_retries", 31, "from 0 to 30"),
        ("user", "1000:1000", "uid"),
    ],
)
def test_a_value_of_the_wrong_kind(key: str, value: object, advice: str) -> None:
    """A plan refuses what would be found out by a job that fails, or never."""
    ((path, problem),) = read_table("sagemaker", {key: value}).faults
    assert path == f"sagemaker.{key}"
    assert advice in problem


def test_durations_are_written_as_everywhere() -> None:
    """One grammar of durations in calls and in configuration."""
    options = read_table("sagemaker", {"keep_alive": "1h30m", "spot_wait": "1.5d", "log_settle": 0})
    assert (options.job.keep_alive, options.job.spot_wait, options.log_settle) == (5400, 129600, 0)


def test_every_example_is_valid() -> None:
    """The reference shows them, and people copy them."""
    for option in OPTIONS:
        option.kind.read(option.example)
