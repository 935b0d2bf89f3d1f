"""Notebooks, on backends that offer them. Their jobs need an image with JupyterLab."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from lyftlearn.backend import Backend, Capability, JobSpec, NotebookAddress, NotebookSpec
from lyftlearn.errors import InvalidJob
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobKind, JobStatus

_SHORTEST_TOKEN = 32
_LOOK = 0.5


class NotebooksConformance(Fixtures):
    """`notebook_address`, and runs that end only when they are asked to."""

    def test_a_notebook_is_open_until_it_is_stopped(self, harness: Harness, another: Backend) -> None:
        """Its address comes when it answers, to every process; its token is its own, and in nothing that is kept."""
        harness.need(Capability.NOTEBOOK)
        spec = _notebook(harness)
        harness.submit(spec)
        address = _open(harness, spec.id)
        assert another.notebook_address(spec.id) == address
        token = parse_qs(urlsplit(address.url).query).get("token", [""])[0]
        assert len(token) >= _SHORTEST_TOKEN
        record = harness.backend.describe(spec.id)
        assert record.kind is JobKind.NOTEBOOK
        assert record.event.status is JobStatus.RUNNING
        harness.backend.stop(spec.id)
        state = harness.wait(spec.id)
        assert (state.status, state.reason) == (JobStatus.STOPPED, None)
        assert harness.backend.notebook_address(spec.id) is None, "nobody can open what has ended"
        kept = [repr(record), repr(address), state.message, *(line.text for line in harness.log(spec.id))]
        assert all(token not in text for text in kept)

    def test_who_offers_none_says_so(self, harness: Harness) -> None:
        """A person learns it from the plan and from the address, in the words of the lack."""
        if harness.capabilities.why_not(Capability.NOTEBOOK) is None:
            pytest.skip("notebooks are offered")
        with pytest.raises(InvalidJob, match="notebook"):
            harness.backend.notebook_address(_notebook(harness).id)


def _notebook(harness: Harness) -> JobSpec:
    spec = harness.spec(kind=JobKind.NOTEBOOK, command=("jupyter", "lab"), outputs={}, timeout=timedelta(days=365))
    return replace(spec, notebook=NotebookSpec(files=f"conformance-{spec.name[-8:]}", idle_timeout=None))


def _open(harness: Harness, job_id: str) -> NotebookAddress:
    deadline = time.monotonic() + harness.patience
    while time.monotonic() < deadline:
        address = harness.backend.notebook_address(job_id)
        if address is not None:
            return address
        time.sleep(_LOOK)
    pytest.fail(f"{job_id} was not open within {harness.patience:.0f} s: {harness.backend.describe(job_id)}")
