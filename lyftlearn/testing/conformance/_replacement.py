"""A container that the platform lost: another one takes its place, and goes on where the first one was."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from lyftlearn.backend import Backend
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness, within
from lyftlearn.types import JobStatus

_RESUMES = """
    import os, pathlib, time
    kept = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "fold 1", "epoch")
    print("from", kept.read_text() if kept.exists() else "nothing", flush=True)
    if not kept.exists():
        kept.parent.mkdir()
        kept.write_text("7")
        print("saved", flush=True)
        time.sleep(600)
"""


class ReplacementConformance(Fixtures):
    """A node, an instance or a process that goes takes no checkpoints with it."""

    def test_checkpoints_outlive_a_container(
        self, harness: Harness, another: Backend, lose_container: Callable[[str], None]
    ) -> None:
        """A training that begins at nothing each time a machine goes may never end. How it ends tells of no loss.

        It began once, and whoever comes late learns when.
        """
        spec = harness.spec(_RESUMES)
        harness.submit(spec)
        harness.until_line(spec.id, "saved")
        first = within(harness.patience, lambda: _await_start(harness, spec.id), "seeing when the job began")
        lose_container(spec.id)
        state = harness.wait(spec.id)
        end = (state.status, state.reason, state.message, state.exit_code, state.attempt)
        assert end == (JobStatus.SUCCEEDED, None, "", 0, 1), state
        assert harness.lines(spec.id)[-1] == "from 7"
        assert (state.started_at, another.describe(spec.id).event.started_at) == (first, first)


def _await_start(harness: Harness, job_id: str) -> datetime:
    while (at := harness.backend.describe(job_id).event.started_at) is None:
        time.sleep(0.2)
    return at
