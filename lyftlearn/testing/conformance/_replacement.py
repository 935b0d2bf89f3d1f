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

_LOOKS = """
    import json, os, pathlib, time
    kept = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "fold 1", "epoch")
    places = {name: pathlib.Path(os.environ[name]) for name in sorted(os.environ) if name.endswith("_DIR")}
    seen = {name: value for name, value in os.environ.items() if name not in ("HOSTNAME", "STATSD_PORT")}
    seen["hyperparameters"] = pathlib.Path(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read_text()
    seen["process"] = [os.getcwd(), os.getuid(), os.getgid(), sorted(os.getgroups()), os.umask(0o022)]
    for name, place in places.items():
        if place.exists() and not kept.is_relative_to(place):
            held = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
            seen[name + " holds"] = [place.stat().st_mode, held]
    if kept.exists():
        before = json.loads(kept.read_text())
        names = sorted(name for name in {*before, *seen} if before.get(name) != seen.get(name))
        print("differs", [[name, before.get(name), seen.get(name)] for name in names])
    else:
        kept.parent.mkdir()
        kept.write_text(json.dumps(seen))
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

    def test_the_next_container_is_alike(self, harness: Harness, lose_container: Callable[[str], None]) -> None:
        """A program cannot tell that it was started anew, but by its checkpoints: nothing around it is different."""
        spec = harness.spec(_LOOKS, hyperparameters='{"depth": 8, "zones": ["é"]}', env={"REGION": "nyc"})
        harness.submit(spec)
        harness.until_line(spec.id, "saved")
        lose_container(spec.id)
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert harness.lines(spec.id)[-1] == "differs []"


def _await_start(harness: Harness, job_id: str) -> datetime:
    while (at := harness.backend.describe(job_id).event.started_at) is None:
        time.sleep(0.2)
    return at
