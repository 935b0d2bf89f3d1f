"""Errors: one tree on every substrate."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest

from lyftlearn._contract.ids import default_letter, new_id
from lyftlearn.backend import Backend, JobQuery, LogQuery
from lyftlearn.errors import Conflict, JobNotFound
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobKind

_ASK: dict[str, Callable[[Backend, str], object]] = {
    "describe": lambda backend, job_id: backend.describe(job_id),
    "logs": lambda backend, job_id: list(backend.logs(job_id, LogQuery())),
    "logs(follow)": lambda backend, job_id: list(backend.logs(job_id, LogQuery(follow=True))),
    "stop": lambda backend, job_id: backend.stop(job_id),
    "outputs": lambda backend, job_id: backend.outputs(job_id),
}


class ErrorsConformance(Fixtures):
    """What goes wrong is said in lyftlearn's words; a vendor's are only the cause."""

    @pytest.mark.parametrize("method", _ASK)
    def test_an_unknown_job_is_not_found(self, backend: Backend, method: str) -> None:
        """A mistyped id must not look like an empty log, nor like a failure of the platform."""
        job_id = new_id("conformance", JobKind.TRAIN, default_letter(backend.name))
        with pytest.raises(JobNotFound) as caught:
            _ASK[method](backend, job_id)
        assert job_id in str(caught.value), "the message names the job that was looked for"

    def test_listing_nothing_is_no_error(self, backend: Backend) -> None:
        """On the first day there are no jobs."""
        assert list(backend.list(JobQuery(name=f"conformance-{secrets.token_hex(8)}"))) == []

    def test_errors_can_be_pickled(self, harness: Harness) -> None:
        """Process pools carry them back to the process that waits."""
        spec = harness.spec()
        harness.submit(spec)
        with pytest.raises(Conflict) as caught:
            harness.submit(replace(spec, digest=secrets.token_hex(32)))
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - just made
        assert (str(copy), copy.job_id) == (str(caught.value), spec.id)
