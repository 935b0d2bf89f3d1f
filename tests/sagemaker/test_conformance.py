"""The conformance suite on SageMaker: on the test service, or on a real account where one is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lyftlearn.backend import Backend
from lyftlearn.testing import BackendConformance

if TYPE_CHECKING:
    from service import Service

    from .conftest import Make


class TestSageMaker(BackendConformance):
    """The whole contract."""

    @pytest.fixture
    def new_backend(self, service: Service, make: Make) -> Callable[[], Backend]:
        """Every backend is over the same account."""
        return make

    @pytest.fixture
    def storage_url(self, request: pytest.FixtureRequest, tmp_path: object) -> str:
        """In S3; the directory's name alone tells tests apart."""
        from pathlib import Path

        assert isinstance(tmp_path, Path)
        return f"s3://lyftlearn-test/{tmp_path.name}"
