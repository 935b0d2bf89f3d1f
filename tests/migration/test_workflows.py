"""The checklist of workflows: what the history has of each, on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn._migration import parity_runs
from lyftlearn._migration.parity_runs import ParityRun
from lyftlearn._migration.results import Workflow
from lyftlearn._submission.submitter import AcceptedJob
from lyftlearn.backend import JobRecord
from lyftlearn.history.rows import ComparisonRow, RehearsalRow
from lyftlearn.history.store import History
from lyftlearn.types import JobKind, Resources
from tests.migration.records import NEW, NOW, OLD, ran


def job(number: int, backend: str, status: str = "succeeded", **others: Any) -> list[Any]:
    submitted, outcome = ran(number, backend, status=status)
    return [replace(submitted, **others), outcome]


def workflow(client: Client, name: str) -> Workflow:
    return next(of for of in ops.migration_status(client=client).workflows if of.name == name)


USES: dict[str, dict[str, Any]] = {
    "training": {},
    "processing": {"kind": "process"},
    "prediction": {"kind": "predict"},
    "tuning": {"kind": "tune"},
    "notebooks": {"kind": "notebook"},
    "several nodes": {"nodes": 4},
    "GPU": {"features": ["gpu"]},
    "secrets": {"features": ["secrets", "gpu"]},
    "Spark": {"features": ["spark"]},
}


@pytest.mark.parametrize("name", USES)
def test_each_workflow_by_its_jobs(client: Client, journal: History, name: str) -> None:
    """From nothing over a rehearsal to a job that ran there; and a shadow counts as one."""
    uses = USES[name]
    assert workflow(client, name).shown == "not used"
    journal.record(*job(1, OLD, **uses))
    assert (workflow(client, name).shown, workflow(client, name).jobs) == ("nothing", 1)
    journal.record(RehearsalRow(job_id=f"eta-{OLD}-1", backend=NEW, faults=[("nodes", "too many: take fewer")]))
    assert workflow(client, name).shown == "would not run there"
    journal.record(*job(2, OLD, **uses), RehearsalRow(job_id=f"eta-{OLD}-2", backend=NEW, faults=[]))
    found = workflow(client, name)
    assert (found.shown, found.would_have_run, found.rehearsed) == ("would run there", 1, 2)
    journal.record(*job(3, NEW, "failed", **uses))
    assert workflow(client, name).shown == "failed there"
    journal.record(*job(4, NEW, **uses, shadow_of=f"eta-{OLD}-1"))
    journal.record(ComparisonRow(job_id=f"eta-{OLD}-1", shadow_id=f"eta-{NEW}-4", differences=["model: other bytes"]))
    found = workflow(client, name)
    assert (found.shown, found.jobs, found.succeeded, found.failed) == ("ran there", 3, 1, 1)
    assert (found.compared, found.alike) == (1, 0)
    others = [of.shown for of in ops.migration_status(client=client).workflows if of.name not in (name, "training")]
    assert ("GPU" in name or "secrets" in name) or set(others) == {"not used"}


def test_metrics_are_shown_by_a_comparison(client: Client, journal: History) -> None:
    """No submission says that a program will send some. The newest comparison that looked at them counts."""
    run = ParityRun(at=NOW, backends=[OLD, NEW], holds=True, subjects={"statsd": False}, image=None, source=None,
        version="1.1.0")  # fmt: skip
    assert workflow(client, "metrics").shown == "not used"
    parity_runs.note(journal, run)
    assert (workflow(client, "metrics").shown, workflow(client, "metrics").parity) == ("nothing", False)
    parity_runs.note(journal, replace(run, subjects={"statsd": True}))
    parity_runs.note(journal, replace(run, subjects={"files": True}))
    assert (workflow(client, "metrics").shown, workflow(client, "metrics").parity) == ("alike in a parity run", True)


def test_a_submission_notes_what_it_uses(client: Client) -> None:
    """The features are those of the call, on the way from the call to the history."""
    made = Client(config={**client._config.tables, "spark": {"images": ["spark:*"]}})
    plans: dict[str, dict[str, Any]] = {
        "plain": {},
        "gpu": {"resources": Resources(gpu=1)},
        "secrets": {"secrets": ["db"]},
        "spark": {"image": "spark:3"},
    }
    for name, arguments in plans.items():
        told = {"model": name, "command": ["true"], **arguments}
        submission = ops.plan("train", client=made, backend=OLD, **told)
        content = made._session.builder.read(made._session.check(JobKind.TRAIN, ops._complete(made, "train", told)))
        accepted = AcceptedJob(JobRecord.of(submission.spec, NOW), content, submission.decision)
        row = made._session.history.submission_row(accepted)
        assert row.features == ([] if name == "plain" else [name])
