"""The conformance suites on SageMaker: on the test service, or on a real account where one is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, BackendSettings
from lyftlearn.testing import BackendConformance, ClientConformance, Harness
from lyftlearn_sagemaker import create
from lyftlearn_sagemaker.status import poller
from tests.backends.sagemaker.conftest import BUCKET, IMAGE, ROLE, Make
from tests.backends.sagemaker.specs import resources
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.surroundings import FileSystem

FILE_SYSTEM = "fs-0123456789abcdef0"
REAL = {name: os.environ.get(f"LYFTLEARN_TEST_SAGEMAKER_{name.upper()}") for name in ("role", "bucket", "image")}


class _Everything(set[str]):
    """Every instance type there is."""

    def __contains__(self, name: object) -> bool:
        return True


class TestSageMaker(BackendConformance):
    """The whole contract."""

    room_for_gangs = REAL["role"] is None

    @pytest.fixture
    def storage_url(self, tmp_path: Path) -> str:
        """In S3, apart from every other test."""
        return f"s3://{REAL['bucket'] or BUCKET}/lyftlearn-tests/{os.getpid()}-{tmp_path.name}"

    @pytest.fixture
    def patience(self) -> float:
        """A real instance takes minutes to come."""
        return 1800.0 if REAL["role"] else 600.0

    @pytest.fixture
    def new_backend(self, request: pytest.FixtureRequest, tmp_path: Path, storage_url: str) -> Callable[[], Backend]:
        """Every backend is over the same account: the real one that is named, or the test service."""
        if REAL["role"]:
            table = {"role": REAL["role"], "image": REAL["image"], "region": os.environ.get("AWS_REGION")}
            home = tmp_path / "home"
            return lambda: create(BackendSettings(name="sagemaker", table=table, home=home, storage_url=storage_url))
        service: Service = request.getfixturevalue("service")
        service.conduct.grace = 60.0  # a process 1 that has no handler yet does not hear SIGTERM
        make: Make = request.getfixturevalue("make")
        return make

    @pytest.fixture
    def lose_container(self, request: pytest.FixtureRequest) -> Callable[[str], None]:
        """The instance breaks, and SageMaker starts the job on another one."""
        if REAL["role"]:
            pytest.skip("nobody can break a real instance")
        service: Service = request.getfixturevalue("service")

        def lose(job_id: str) -> None:
            job = service.jobs.find(job_id)
            assert job
            job.break_off("Restarting")

        return lose

    @pytest.fixture
    def take_machines(self, request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
        """SageMaker has no instance of any type."""
        if REAL["role"]:
            pytest.skip("nobody can take all of a region's instances")
        service: Service = request.getfixturevalue("service")

        @contextmanager
        def taken() -> Iterator[None]:
            service.conduct.scarce = _Everything()
            try:
                yield
            finally:
                service.conduct.scarce = set()

        return taken

    @pytest.fixture
    def impatient(
        self, service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Harness]:
        """SageMaker bounds the wait for accelerated instances alone, and by half an hour at least: time is hurried.

        The service then moves the job's creation into the past, where lists of new jobs do not see it.
        """
        monkeypatch.setattr(poller, "RECONCILE_EVERY", 1.0)
        service.conduct.hurry = 1800 / 0.3
        harness = Harness(make(pending="30m"), storage_url, ("python3",), 600.0)
        harness.defaults = {"resources": resources(1, 2, gpu=1, gpu_type="A10G")}
        yield harness
        harness.close()

    @pytest.fixture
    def remove_job(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        """A job that runs is stopped before it can be deleted; here it is there no more from one moment to the next."""
        if REAL["role"]:
            pytest.skip("a real account deletes no job that runs")
        monkeypatch.setattr(poller, "RECONCILE_EVERY", 1.0)
        service: Service = request.getfixturevalue("service")

        def remove(job_id: str) -> None:
            job = service.jobs.find(job_id)
            assert job
            service.jobs.remove(job)
            job.finish("Stopped")

        return remove


# Every run holds clients to this platform by tests/golden, and all that clients do to `local`.
@pytest.mark.slow
@pytest.mark.skipif(bool(REAL["role"]), reason="one suite is enough to pay for")
class TestSageMakerThroughTheClient(ClientConformance):
    """Call sites as users write them."""

    @pytest.fixture
    def config(self, service: Service, storage_url: str, tmp_path: Path) -> Mapping[str, Any]:
        """As `lyftlearn.toml` says it."""
        service.conduct.file_systems[FILE_SYSTEM] = FileSystem("EFS", tmp_path / "mounted")
        vpc = {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}
        return {
            "backend": "sagemaker",
            "project": "conformance",
            "home": str(tmp_path / "home"),
            "storage": {"url": storage_url},
            "sagemaker": {"role": ROLE, "image": IMAGE, "region": "us-east-1", "log_settle": "1s", "vpc": vpc},
            "mounts": {"data": {"path": "/data", "sagemaker": {"file_system": FILE_SYSTEM}}},
        }

    @pytest.fixture
    def mount_directory(self, tmp_path: Path) -> Path:
        """The directory behind the file system."""
        (tmp_path / "mounted").mkdir()
        return tmp_path / "mounted"
