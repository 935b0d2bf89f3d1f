"""From what `image=` says to the URI of an image in ECR, the only registry that SageMaker pulls from by itself.

It is one already, what `[images]` of the configuration made of a name, or a framework and its version, such as
`pytorch:2.6`, where the `sagemaker` SDK is installed, which knows where AWS keeps its own images.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

_ECR = re.compile(
    r"\d{12}\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.(amazonaws\.com(\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)/"
    r"[a-z0-9]+(?:[._/-][a-z0-9]+)*(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?"
)
_ALIAS = re.compile(r"(?P<framework>pytorch|tensorflow|xgboost|sklearn|huggingface-pytorch):(?P<version>[0-9][\w.-]*)")
_ECR_REMEDY = "push the image to ECR, and name it in full, or under [images] in the configuration"


@dataclass(frozen=True)
class Image:
    """Where an image is, or what is wrong with its name."""

    uri: str | None
    fault: str = ""


def region_of(uri: str | None) -> str | None:
    """Return the region of an image in ECR, which is that of the jobs that use it."""
    match = _ECR.fullmatch(uri or "")
    return match["region"] if match else None


def resolve(image: str | None, region: str | None, instance: str | None) -> Image:
    """Return the image for a job on `instance`. Asks nobody."""
    if not image:
        return Image(None, "is not given, and [sagemaker] image is not set: name an image in ECR")
    alias = _ALIAS.fullmatch(image)
    if alias:
        return _of_framework(alias["framework"], alias["version"], region, instance)
    return _in_ecr(image, region)


def _in_ecr(image: str, region: str | None) -> Image:
    match = _ECR.fullmatch(image)
    if match is None:
        return Image(None, f"is {image!r}, which is no URI in ECR: {_ECR_REMEDY}")
    if region and match["region"] != region:
        return Image(None, f"is {image!r}, in {match['region']}: SageMaker in {region} pulls from there only")
    return Image(image)


def _of_framework(framework: str, version: str, region: str | None, instance: str | None) -> Image:
    name = f"{framework}:{version}"
    if find_spec("sagemaker") is None:
        return Image(None, f"is {name!r}, a framework: pip install 'lyftlearn[sagemaker]', or name an image in ECR")
    if not region:
        return Image(None, f"is {name!r}, a framework: set [sagemaker] region, which says whose image it is")
    image_uris = import_module("sagemaker.core.image_uris")  # takes seconds, for this alone

    try:
        uri = image_uris.retrieve(
            framework, region, version=version, image_scope="training", instance_type=instance or "ml.m5.xlarge"
        )
    except (ValueError, KeyError, TypeError) as exc:
        return Image(None, f"is {name!r}, which the sagemaker SDK does not find: {exc}")
    return Image(str(uri))
