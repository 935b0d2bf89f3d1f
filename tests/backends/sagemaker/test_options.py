"""The table `[sagemaker]`."""

from __future__ import annotations

import tomllib

from lyftlearn_sagemaker.options import read_options

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
    options = read_options("sagemaker", tomllib.loads(WHOLE))
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
    paths = [path for path, _ in read_options("sagemaker", table).faults]
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
