"""From `image=` to a URI in ECR."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from botocore.loaders import Loader

from lyftlearn_sagemaker.submission.images import resolve

URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/lyftlearn/base:1"
REGION = "us-east-1"


def suffixes() -> list[str]:
    """Return the domain of each partition of AWS."""
    partitions: Any = Loader().load_data("partitions")
    return [one["outputs"]["dnsSuffix"] for one in partitions["partitions"]]


@pytest.mark.parametrize(
    "uri",
    [
        URI,
        URI.removesuffix(":1"),
        URI.replace(":1", "@sha256:" + "0" * 64),
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/base:a.b-c_d",
        *(f"123456789012.dkr.ecr.xx-any-1.{suffix}/base:1" for suffix in suffixes()),
    ],
)
def test_what_is_in_ecr(uri: str) -> None:
    """Tags and digests, in every partition."""
    assert resolve(uri, None, None).uri == uri


@pytest.mark.parametrize(
    "image", ["ubuntu", "python:3.12", "public.ecr.aws/x/y:1", "ghcr.io/a/b", "123.dkr.ecr.x/y", ""]
)
def test_what_is_not(image: str) -> None:
    """SageMaker pulls from ECR alone, and would fail the job minutes later."""
    found = resolve(image, REGION, None)
    assert found.uri is None
    assert "ECR" in found.fault


def test_another_region() -> None:
    """The job would be accepted, and fail when its image cannot be pulled."""
    assert "eu-west-1" in resolve(URI.replace(REGION, "eu-west-1"), REGION, None).fault


@pytest.mark.skipif(find_spec("sagemaker") is not None, reason="the SDK is installed")
def test_a_framework_without_the_sdk() -> None:
    """The answer is the command to type."""
    assert "pip install 'lyftlearn[sagemaker]'" in resolve("pytorch:2.6", REGION, None).fault


@pytest.mark.filterwarnings("default")  # of the SDK's own modules
@pytest.mark.skipif(find_spec("sagemaker") is None, reason="needs the sagemaker SDK, which is 1 GB")
def test_a_framework() -> None:
    """AWS's own image for the version and the instance, GPU or not."""
    gpu = resolve("pytorch:2.6", REGION, "ml.g5.xlarge").uri
    cpu = resolve("pytorch:2.6", REGION, "ml.m5.large").uri
    assert gpu
    assert cpu
    assert "pytorch-training:2.6" in gpu
    assert ("gpu" in gpu, "cpu" in cpu) == (True, True)
    assert "does not find" in resolve("pytorch:99", REGION, "ml.m5.large").fault
