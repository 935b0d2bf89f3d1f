"""Plans: pure, complete, and honest about what cannot be done."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lyftlearn.backend import Backend, Capability
from lyftlearn.errors import JobNotFound
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobKind

_OUTWARD = frozenset(
    ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn", "os.mkdir", "os.rename", "os.remove")
)
_WRITES = frozenset("wax+")


class PlanConformance(Fixtures):
    """`plan`: what would be sent, before anything is."""

    def test_it_asks_nobody_and_writes_nothing(self, harness: Harness) -> None:
        """Plans are made for the backend that is not chosen too, and must cost and disturb nothing."""
        spec = harness.spec()
        harness.backend.plan(spec)  # the first one may load modules
        with _audit() as seen:
            harness.backend.plan(spec)
        assert seen == []

    def test_it_is_repeatable(self, harness: Harness, another: Backend) -> None:
        """What `lyftlearn plan` shows is what is sent, from whatever process."""
        spec = harness.spec(env={"B": "1", "A": "2"}, labels={"z": "1", "a": "2"})
        assert harness.backend.plan(spec) == harness.backend.plan(spec) == another.plan(spec)

    def test_requests_are_plain_data(self, harness: Harness) -> None:
        """They are shown, compared and kept as JSON."""
        plan = harness.backend.plan(harness.spec())
        assert plan.requests, "a plan without faults says what it would send"
        for request in plan.requests:
            assert json.loads(json.dumps(_plain(request.body))) == _plain(request.body)

    def test_it_names_its_backend_and_spec(self, harness: Harness) -> None:
        """A plan travels to `submit` alone."""
        spec = harness.spec()
        plan = harness.backend.plan(spec)
        assert (plan.spec, plan.backend, plan.faults) == (spec, harness.backend.name, ())

    def test_planning_submits_nothing(self, harness: Harness) -> None:
        """A rehearsal must not be a job."""
        spec = harness.spec()
        harness.backend.plan(spec)
        with pytest.raises(JobNotFound):
            harness.backend.describe(spec.id)

    def test_capabilities_are_constant(self, backend: Backend, another: Backend) -> None:
        """They are asked at every call; an answer that changed would depend on the weather."""
        assert backend.capabilities() == backend.capabilities() == another.capabilities()

    def test_what_is_lacking_has_a_reason(self, backend: Backend) -> None:
        """`it cannot` is an answer that only makes people ask again."""
        capabilities = backend.capabilities()
        for capability in Capability:
            reason = capabilities.why_not(capability)
            assert reason is None or reason.strip(), f"{capability} is lacking without a reason"
        assert not capabilities.offers & capabilities.lacks.keys()

    @pytest.mark.parametrize("kind", list(JobKind))
    def test_a_kind_that_is_lacking_is_a_fault(self, harness: Harness, kind: JobKind) -> None:
        """It is said before anything is sent, with the reason, and not as an error at run time."""
        reason = harness.capabilities.why_not(Capability(kind))
        faults = harness.backend.plan(harness.spec(kind=kind)).faults
        if reason is None:
            assert faults == ()
        else:
            assert [problem for _, problem in faults if problem.strip()], f"no fault says that it cannot: {reason}"

    def test_several_nodes_that_are_lacking_are_a_fault(self, harness: Harness) -> None:
        """One node instead of several would train, and quietly wrong."""
        _expect_fault(harness, Capability.SEVERAL_NODES, "nodes", nodes=2)

    def test_retries_on_several_nodes_that_are_lacking_are_a_fault(self, harness: Harness) -> None:
        """A retry that nobody honours is a promise broken in the night."""
        harness.need(Capability.SEVERAL_NODES)
        _expect_fault(harness, Capability.RETRIES_ON_SEVERAL_NODES, "retries", nodes=2, retries=1)

    def test_all_faults_at_once(self, harness: Harness) -> None:
        """Who mends one fault must not be told of the next only then."""
        kinds = [kind for kind in JobKind if harness.capabilities.why_not(Capability(kind))]
        if not kinds or not harness.capabilities.why_not(Capability.SEVERAL_NODES):
            pytest.skip("lacks fewer than two things that one job can ask for")
        faults = harness.backend.plan(harness.spec(kind=kinds[0], nodes=2)).faults
        assert len(faults) >= 2
        assert len({path for path, _ in faults}) >= 2


def _expect_fault(harness: Harness, capability: Capability, path: str, **changes: Any) -> None:
    reason = harness.capabilities.why_not(capability)
    faults = dict(harness.backend.plan(harness.spec(**changes)).faults)
    if reason is None:
        assert faults == {}
    else:
        assert faults.get(path, "").strip(), f"no fault at {path!r} says that it cannot, because {reason}: {faults}"


def _plain(value: Any) -> Any:
    """Return read-only mappings and tuples as what JSON has for them."""
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Observer:
    """An audit hook, which Python cannot remove again, so there is one and it listens only when it is told to."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            sys.addaudithook(self._hear)
            self._installed = True

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.seen is not None and (event in _OUTWARD or (event == "open" and _opens_to_write(arguments))):
            self.seen.append(f"{event} {arguments[0]!r}")


def _opens_to_write(arguments: tuple[Any, ...]) -> bool:
    mode = arguments[1]
    return isinstance(mode, str) and bool(_WRITES & set(mode))


_OBSERVER = _Observer()


@contextmanager
def _audit() -> Iterator[list[str]]:
    """Collect what this process does to the world."""
    _OBSERVER.install()
    seen: list[str] = []
    _OBSERVER.seen = seen
    try:
        yield seen
    finally:
        _OBSERVER.seen = None
