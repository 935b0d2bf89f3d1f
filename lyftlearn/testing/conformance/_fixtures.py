"""The fixtures of the suite. A backend's test gives the first and may replace the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lyftlearn.backend import Backend, Capability
from lyftlearn.testing.conformance._harness import Harness


class Fixtures:
    """What every class of the suite stands on."""

    room_for_gangs = True
    """Whether several jobs of several nodes have room at once. Set it to False for a platform that is nearly full."""

    @pytest.fixture
    def new_backend(self) -> Callable[[], Backend]:
        """Return a callable that makes the backend, each time as a new process would: over the same jobs."""
        pytest.fail("a subclass of the conformance suite needs a fixture `new_backend`")

    @pytest.fixture
    def backend(self, new_backend: Callable[[], Backend]) -> Backend:
        """The backend under test."""
        return new_backend()

    @pytest.fixture
    def another(self, new_backend: Callable[[], Backend]) -> Backend:
        """A second instance, which knows nothing but what the first has put outside its memory."""
        return new_backend()

    @pytest.fixture
    def storage_url(self, tmp_path: Path) -> str:
        """Where sources, inputs and outputs live; the URL that the backend was given."""
        return (tmp_path / "storage").as_uri()

    @pytest.fixture
    def python(self) -> Sequence[str]:
        """How the image of the jobs starts Python 3.8 or newer."""
        return ("python3",)

    @pytest.fixture
    def patience(self) -> float:
        """Seconds within which a trivial job ends, generously: nothing in the suite is about speed."""
        return 600.0

    @pytest.fixture
    def remove_job(self) -> Callable[[str], None]:
        """How somebody removes a running job without asking the backend. Replace it where that can happen."""
        pytest.skip("the test of this backend has no `remove_job`: nobody else removes its jobs")

    @pytest.fixture
    def lose_container(self, harness: Harness) -> Callable[[str], None]:
        """How the container of a running job is lost: its node, its instance or its process goes.

        The test of a backend that offers `Capability.REPLACEMENT` replaces it. What is lost right after it was written
        may be lost: the fixture waits until a checkpoint could be copied.
        """
        harness.need(Capability.REPLACEMENT)
        pytest.fail("this backend offers replaced containers: its test needs a fixture `lose_container`")

    @pytest.fixture
    def take_machines(self) -> Callable[[], AbstractContextManager[None]]:
        """Return a context in which no machine is free for another job. Replace it where tests can bring that about."""
        pytest.skip("the test of this backend has no `take_machines`: nobody can fill its platform")

    @pytest.fixture
    def impatient(self) -> Harness:
        """What runs jobs that wait for a machine for a few seconds only, by the backend's configuration."""
        pytest.skip("the test of this backend has no `impatient`: its jobs wait for a machine for as long as it takes")

    @pytest.fixture
    def harness(
        self,
        request: pytest.FixtureRequest,
        backend: Backend,
        storage_url: str,
        python: Sequence[str],
        patience: float,
    ) -> Iterator[Harness]:
        """What runs the jobs of a test."""
        harness = Harness(backend, storage_url, python, patience)
        harness.mark = request.applymarker
        yield harness
        harness.close()
