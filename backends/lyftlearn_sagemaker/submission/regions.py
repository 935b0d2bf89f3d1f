"""What follows from a region's name: its partition, its console, and whose ARN is whose.

Names of partitions, their prefixes and domains: botocore's `endpoints.json` and `partitions.json`; a test holds them
against the installed ones.
"""

from __future__ import annotations

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("us-isob-", "aws-iso-b"), ("us-iso-", "aws-iso"),
               ("eu-isoe-", "aws-iso-e"), ("us-isof-", "aws-iso-f"), ("eusc-", "aws-eusc"))  # fmt: skip
_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "{region}.console.amazonaws.cn",
    "aws-us-gov": "{region}.console.amazonaws-us-gov.com",
}
"""Partitions whose console anybody can reach."""


def partition_of_region(region: str) -> str:
    """Return the partition of a region, `aws` for those that no other claims."""
    return next((partition for prefix, partition in _PARTITIONS if region.startswith(prefix)), "aws")


def partition_of_arn(arn: str) -> str | None:
    """Return the partition that an ARN names; None for a text that is none."""
    parts = arn.split(":")
    return parts[1] if len(parts) > 5 else None


def region_of_arn(arn: str) -> str | None:
    """Return the region that an ARN names, None for one without."""
    parts = arn.split(":")
    return parts[3] or None if len(parts) > 5 else None


def console_link(region: str, job_id: str) -> str | None:
    """Return where a person sees a training job, or None in a partition that has no public console."""
    host = _CONSOLES.get(partition_of_region(region))
    return f"https://{host.format(region=region)}/sagemaker/home?region={region}#/jobs/{job_id}" if host else None


def is_directory_bucket(uri: str) -> bool:
    """Whether an S3 URI is in a bucket of S3 Express One Zone: their names end in `--x-s3`."""
    return uri.removeprefix("s3://").partition("/")[0].endswith("--x-s3")
