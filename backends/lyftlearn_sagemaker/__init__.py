"""The SageMaker backend: every kind of job is a SageMaker training job, through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lyftlearn.backend import BackendSettings
    from lyftlearn_sagemaker.backend import SageMakerBackend

__all__ = ["create"]


def create(settings: BackendSettings) -> SageMakerBackend:
    """Return the backend; nothing is contacted, and boto3 is not loaded, before it has something to send."""
    from lyftlearn_sagemaker.backend import SageMakerBackend  # noqa: PLC0415 - only for those who use it

    return SageMakerBackend(settings)
