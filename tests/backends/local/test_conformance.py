"""The local backends fulfil the contract."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, BackendSettings
from lyftlearn.testing import BackendConformance, ClientConformance, Harness
from lyftlearn_local import create
from lyftlearn_local.options import OPTIONS
from lyftlearn_local.store.files import Store
from lyftlearn_local.store.locks import Lock
from tests import images
from tests.containers import require_containers

PARALLEL = next(option.default for option in OPTIONS if option.key == "parallel")


class TestLocal(BackendConformance):
    name = "local"

    @pytest.fixture
    def new_backend(self, tmp_path: Path, storage_url: str) -> Callable[[], Backend]:
        settings = BackendSettings(name=self.name, table={}, home=tmp_path, storage_url=storage_url)
        return lambda: create(settings)

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return (sys.executable,)

    @pytest.fixture
    def take_machines(self, tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
        """Every slot is taken, as by jobs that run."""

        @contextmanager
        def taken() -> Iterator[None]:
            store = Store(tmp_path / self.name)
            store.slots.mkdir(parents=True, exist_ok=True)
            locks: list[Lock] = []
            while lock := store.take_slot({"parallel": PARALLEL}):
                locks.append(lock)
            try:
                yield
            finally:
                for lock in locks:
                    lock.release()

        return taken

    @pytest.fixture
    def impatient(self, tmp_path: Path, storage_url: str, python: tuple[str, ...]) -> Harness:
        table = {"pending": "2s"}
        settings = BackendSettings(name=self.name, table=table, home=tmp_path, storage_url=storage_url)
        return Harness(create(settings), storage_url, python, 120.0)

    @pytest.fixture
    def remove_job(self, tmp_path: Path) -> Callable[[str], None]:
        def remove(job_id: str) -> None:
            directory = tmp_path / self.name / "jobs" / job_id
            while directory.exists():  # its supervisor may be about to write
                shutil.rmtree(directory, ignore_errors=True)

        return remove


@pytest.mark.slow
class TestLocalKubernetes(TestLocal):
    name = "local-kubernetes"


@pytest.mark.slow
class TestLocalSageMaker(TestLocal):
    name = "local-sagemaker"


class InItsImage(TestLocal):
    """Held to the same suite: what runs the job differs, and nothing else."""

    __test__ = False

    @pytest.fixture
    def new_backend(self, tmp_path: Path, storage_url: str) -> Callable[[], Backend]:
        images.require_engine()
        table = {"image_required": True}
        settings = BackendSettings(name=self.name, table=table, home=tmp_path, storage_url=storage_url)
        return lambda: create(settings)

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return ("python3",)

    @pytest.fixture
    def image(self) -> str:
        return images.python_image(images.require_engine())

    @pytest.fixture(autouse=True)
    def _every_job_names_an_image(self, request: pytest.FixtureRequest) -> None:
        if "harness" in request.fixturenames:
            harness: Harness = request.getfixturevalue("harness")
            harness.defaults = {"image": request.getfixturevalue("image")}


@pytest.mark.slow
class TestLocalInItsImage(InItsImage):
    __test__ = True


@pytest.mark.slow
class TestLocalKubernetesInItsImage(InItsImage):
    __test__ = True
    name = "local-kubernetes"


@pytest.mark.slow
class TestLocalSageMakerInItsImage(InItsImage):
    __test__ = True
    name = "local-sagemaker"


class TestLocalThroughTheClient(ClientConformance):
    name = "local"

    @pytest.fixture
    def mount_directory(self, tmp_path: Path) -> Path:
        require_containers()
        (tmp_path / "mounted").mkdir()
        return tmp_path / "mounted"

    @pytest.fixture
    def mounts(self, tmp_path: Path) -> dict[str, Any]:
        return {"data": {"path": "/data", self.name: {"directory": str(tmp_path / "mounted")}}}

    @pytest.fixture
    def config(self, tmp_path: Path, mounts: dict[str, Any]) -> dict[str, Any]:
        return {"backend": self.name, "home": str(tmp_path), "mounts": mounts}

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return (sys.executable,)


@pytest.mark.slow
class TestLocalKubernetesThroughTheClient(TestLocalThroughTheClient):
    name = "local-kubernetes"


@pytest.mark.slow
class TestLocalSageMakerThroughTheClient(TestLocalThroughTheClient):
    name = "local-sagemaker"


@pytest.mark.slow
class TestLocalInItsImageThroughTheClient(TestLocalThroughTheClient):
    @pytest.fixture
    def config(self, tmp_path: Path, mounts: dict[str, Any]) -> dict[str, Any]:
        image = images.python_image(images.require_engine())
        local = {"image_required": True}
        jobs = {"image": image}
        return {"backend": self.name, "home": str(tmp_path), "jobs": jobs, self.name: local, "mounts": mounts}

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return ("python3",)
