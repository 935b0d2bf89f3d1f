"""What happens beside a submission in a migration: it is journalled, rehearsed on the other backend, or shadowed there.

All of it in the background. Nothing here can fail, delay or change the submission, and its caller sees none of it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._contract import ids
from lyftlearn._migration.background import Background, holding_forks_up
from lyftlearn._migration.rows import RehearsalRow, Row, SubmissionRow
from lyftlearn._migration.spool import Spool
from lyftlearn._submission.preparation import SubmissionBuilder
from lyftlearn.backend import JobRecord
from lyftlearn.errors import DEFINITE_REFUSALS, InvalidJob, LyftLearnError
from lyftlearn.rollout.stage import Stage
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._migration.journal import Journal
    from lyftlearn._submission.preparation import Content, Submission
    from lyftlearn._submission.submitter import AcceptedJob, JobSubmitter
    from lyftlearn.rollout import Decision

SHADOW_LABEL = "lyftlearn/shadow"


class MigrationRecorder:
    """Journals, rehearses and shadows for one client."""

    def __init__(self, builder: SubmissionBuilder, submitter: JobSubmitter) -> None:
        self._builder = builder
        self._submitter = submitter
        self._config = builder.config
        self._background = Background()
        self._opening = threading.Lock()
        self._opened: Journal | None = None
        self._spool: Spool | None = None

    def record_submission(self, accepted: AcceptedJob) -> None:
        """Take note of an accepted job. Returns at once, whatever follows."""
        if self._config.migration_to is not None and accepted.kept:
            self._background.attempt(lambda: self._open_spool().put(accepted.record.id, self._rows(accepted)))
            self._background.do(lambda: self._follow_up(accepted))

    def drain(self) -> bool:
        """Wait a few seconds for what is under way. Return whether it is done."""
        return self._background.drain()

    def journal(self) -> Journal:
        """Return the journal, for whoever reads it, with what other processes could not write."""
        journal = self._open_journal()
        self._open_spool().take_up(journal.record, older=0)
        return journal

    def _open_journal(self) -> Journal:
        """Return the journal; its library is loaded only here, in the background."""
        with self._opening:
            if self._opened is None:
                from lyftlearn._migration.journal import open_journal  # noqa: PLC0415 - brings SQLAlchemy

                self._opened = open_journal(self._config)
            return self._opened

    def _open_spool(self) -> Spool:
        if self._spool is None:
            self._spool = Spool(self._config.home, self._config.journal_url)
        return self._spool

    def _rows(self, accepted: AcceptedJob) -> list[Row]:
        """Return what is known of a job at once. It goes by the decision that the job carries.

        A keyed call may have found the job long after another call made it.
        """
        job = accepted.record
        carried = _decision_fields(job.decision)
        here = self._backend_of(job.id) or accepted.decision.backend
        submitted = _submission_row(job, accepted.decision, carried, here)
        if not carried.get("fell_back"):
            return [submitted]
        return [submitted, self._refusal_row(job.id, accepted.decision, carried)]

    def _follow_up(self, accepted: AcceptedJob) -> None:
        """Write the rows, then rehearse and shadow.

        Only the call that sent the job starts its shadow: whoever repeats it adds nothing that costs.
        """
        job = accepted.record
        with holding_forks_up():
            self._open_journal().record(*self._rows(accepted))
            self._open_spool().remove(job.id)
            self._open_spool().take_up(self._open_journal().record)
        carried = _decision_fields(job.decision)
        if carried.get("stage") in (Stage.REHEARSE, Stage.SHADOW):
            here = self._backend_of(job.id) or accepted.decision.backend
            other = replace(accepted.decision, backend=str(self._config.migration_to), other=here)
            rehearsed, there = self._rehearse(job.id, accepted.content, other)
            self._open_journal().record(rehearsed)
            shadowed = carried["stage"] == Stage.SHADOW and accepted.new and self._is_shadow_eligible(job)
            if shadowed and there is not None:
                self._shadow(job, there)

    def _backend_of(self, job_id: str) -> str | None:
        parsed = ids.parse(job_id)
        return self._builder.registry.with_letter(parsed.letter) if parsed else None

    def _refusal_row(self, job_id: str, decision: Decision, carried: dict[str, Any]) -> RehearsalRow:
        """Return what the new backend refused the job for: as this call heard it, else as the job carries it."""
        told = str(carried.get("reason")).rpartition(" refused: ")[2]
        faults = decision.refusal or (("backend", told),)
        return RehearsalRow(job_id=job_id, backend=str(self._config.migration_to), faults=faults)

    def _rehearse(self, job_id: str, content: Content, decision: Decision) -> tuple[RehearsalRow, Submission | None]:
        """Return what stands against the job on the other backend, and how it would be sent there if nothing does."""
        try:
            there = self._builder.build_valid(content, decision)
        except InvalidJob as refusal:
            return RehearsalRow(job_id=job_id, backend=decision.backend, faults=refusal.faults), None
        except Exception as exc:  # noqa: BLE001 - a backend that breaks over a job is what a rehearsal is to find
            faults = [("backend", f"cannot plan it: {exc or type(exc).__name__}")]
            return RehearsalRow(job_id=job_id, backend=decision.backend, faults=faults), None
        return RehearsalRow(job_id=job_id, backend=decision.backend, faults=[]), there

    def _is_shadow_eligible(self, job: JobRecord) -> bool:
        if job.kind is JobKind.NOTEBOOK:
            return False  # nobody would open it
        shadow = self._config.shadow
        if job.kind is JobKind.TUNE:  # its trials are jobs of their own, which nothing would mark as shadows
            return False
        declared = job.name in shadow.models or shadow.labels.items() & job.labels.items()
        return bool(declared) and _lot(job.id) < shadow.share

    def _shadow(self, job: JobRecord, there: Submission) -> None:
        """Send the shadow, under an id that follows from the job's, so that whoever repeats this finds the first.

        It is journalled before it is sent, together with its slot: a shadow that nobody knows of would be neither
        counted nor compared, and its slot would never be free again.
        """
        from lyftlearn._migration import reconcile  # noqa: PLC0415 - brings SQLAlchemy

        decision = replace(there.decision, reason=f"shadow of {job.id}")
        shadow_id = _shadow_id(job.id, there, self._builder.registry.letter(decision.backend))
        shadow = self._shadow_submission(job.id, shadow_id, there, decision)
        record = JobRecord.of(shadow.spec, datetime.now(UTC))
        row = _submission_row(record, decision, json.loads(decision.as_json()), decision.backend, shadow_of=job.id)
        reconcile.reconcile_outcomes(self._open_journal(), self._builder.registry, only_shadows=True)
        if not self._open_journal().record_in_slot(row, self._config.shadow.at_most):
            return
        try:
            if shadow.plan.faults:
                raise InvalidJob(shadow.plan.faults)
            self._submitter.send(shadow)
        except DEFINITE_REFUSALS as refusal:
            self._open_journal().record(reconcile.refusal_row(shadow_id))
            raise LyftLearnError(f"the shadow of {job.id} was refused: {refusal}") from refusal

    def _shadow_submission(self, job_id: str, shadow_id: str, there: Submission, decision: Decision) -> Submission:
        spec = replace(
            there.spec,
            id=shadow_id,
            decision=decision.as_json(),
            labels=MappingProxyType({**there.spec.labels, SHADOW_LABEL: job_id}),
            outputs=MappingProxyType(dict.fromkeys(there.spec.outputs)),
            output_uri=f"{self._config.output_url}/{shadow_id}/output",
            shadow_of=job_id,
        )
        plan = self._builder.registry.get(decision.backend).plan(spec)
        return replace(there, decision=decision, spec=spec, plan=plan)


def _lot(job_id: str) -> float:
    """Return a number from 0 to 1, the same for a job whoever asks and however often."""
    return int.from_bytes(hashlib.sha256(f"shadow of {job_id}".encode()).digest()[:8], "big") / 2**64


def _decision_fields(decision: str) -> dict[str, Any]:
    """Return the decision that a job carries, or nothing where its substrate has lost it."""
    try:
        return dict(json.loads(decision))
    except (TypeError, ValueError):
        return {}


def _shadow_id(job_id: str, there: Submission, letter: str) -> str:
    return ids.new_id(there.spec.name, there.spec.kind, letter, json.dumps(["shadow", job_id]))


def _submission_row(
    job: JobRecord, decision: Decision, carried: dict[str, Any], backend: str, shadow_of: str | None = None
) -> SubmissionRow:
    attributes = decision.attributes
    return SubmissionRow(
        job_id=job.id,
        at=datetime.now(UTC),
        repository=str(attributes.get("repository") or attributes.get("project") or "unknown"),
        model=job.name,
        kind=str(job.kind),
        stage=carried.get("stage"),
        source=str(carried.get("source") or decision.source),
        backend=backend,
        fell_back=bool(carried.get("fell_back")),
        shadow_of=shadow_of,
    )
