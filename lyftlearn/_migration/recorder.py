"""What happens beside a submission in a migration: it is rehearsed on the other backend, or shadowed there.

All of it in the background. Nothing here can fail, delay or change the submission, and its caller sees none of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._contract import ids
from lyftlearn._submission.preparation import SubmissionBuilder
from lyftlearn._submission.submitter import AcceptedJob
from lyftlearn._text.redaction import redact
from lyftlearn.backend import JobRecord
from lyftlearn.errors import DEFINITE_REFUSALS, InvalidJob, LyftLearnError
from lyftlearn.history.background import Background, holding_forks_up
from lyftlearn.history.recorder import HistoryRecorder
from lyftlearn.rollout.stage import Stage
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._submission.preparation import Content, Submission
    from lyftlearn._submission.submitter import JobSubmitter
    from lyftlearn.history.rows import RehearsalRow
    from lyftlearn.history.store import History
    from lyftlearn.rollout import Decision

SHADOW_LABEL = "lyftlearn/shadow"


class MigrationRecorder:
    """Rehearses and shadows for one client. What it finds goes into the history."""

    def __init__(self, builder: SubmissionBuilder, submitter: JobSubmitter, history: HistoryRecorder) -> None:
        self._builder = builder
        self._submitter = submitter
        self._config = builder.config
        self._history = history
        self._background = Background()

    def record_submission(self, accepted: AcceptedJob) -> None:
        """Take note of an accepted job. Returns at once, whatever follows."""
        self._history.record_submission(accepted)
        if self._config.migration_to is None or not accepted.kept:
            return
        stage = _decision_fields(accepted.record.decision).get("stage")
        if stage in (Stage.REHEARSE, Stage.SHADOW):
            self._background.do(lambda: self._follow_up(accepted, str(stage)))

    def drain(self, timeout: float | None = None) -> bool:
        """Wait `timeout` seconds, 5 by default, for what is under way; write what waits. Return whether all is done."""
        done = self._background.drain(timeout)
        self._history.flush()
        return done

    def journal(self) -> History:
        """Return the history, for whoever reads it, with what other processes could not write."""
        return self._history.history()

    def _follow_up(self, accepted: AcceptedJob, stage: str) -> None:
        """Rehearse and shadow.

        Only the call that sent the job starts its shadow: whoever repeats it adds nothing that costs. The rehearsal is
        written down last: where this process dies on the way, the job counts as one that was not rehearsed.
        """
        job = accepted.record
        here = self._builder.registry.named_in(job.id) or accepted.decision.backend
        other = replace(accepted.decision, backend=str(self._config.migration_to), other=here)
        rehearsed, there = self._rehearse(job.id, accepted.content, other)
        try:
            if stage == Stage.SHADOW and accepted.new and there is not None and self._is_shadow_eligible(job):
                with holding_forks_up():
                    self._shadow(job, there)
        finally:
            self._history.record(rehearsed)

    def _rehearse(self, job_id: str, content: Content, decision: Decision) -> tuple[RehearsalRow, Submission | None]:
        """Return what stands against the job on the other backend, and how it would be sent there if nothing does."""
        from lyftlearn.history.rows import RehearsalRow  # noqa: PLC0415 - a submission beside no migration does without

        try:
            there = self._builder.build_valid(content, decision)
        except InvalidJob as refusal:
            return RehearsalRow(job_id=job_id, backend=decision.backend, faults=refusal.faults), None
        except Exception as exc:  # noqa: BLE001 - a backend that breaks over a job is what a rehearsal is to find
            faults = [("backend", redact(f"cannot plan it: {exc or type(exc).__name__}"))]
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
        from lyftlearn.history.settle import settle, without_history  # noqa: PLC0415 - brings SQLAlchemy

        decision = replace(there.decision, reason=f"shadow of {job.id}")
        shadow_id = _shadow_id(job.id, there, self._builder.registry.letter(decision.backend))
        shadow = self._shadow_submission(job.id, shadow_id, there, decision)
        record = JobRecord.of(shadow.spec, datetime.now(UTC))
        history = self._history.open()
        row = self._history.submission_row(AcceptedJob(record, there.content, decision))
        settle(history, self._builder.registry, only_shadows=True)
        if not history.record_in_slot(row, self._config.shadow.at_most):
            return
        try:
            if shadow.plan.faults:
                raise InvalidJob(shadow.plan.faults)
            self._submitter.send(shadow)
        except DEFINITE_REFUSALS as refusal:
            history.record(without_history(shadow_id, "refused"))
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
        return there._replace(decision=decision, spec=spec, plan=plan)


def _lot(job_id: str) -> float:
    """Return a number from 0 to 1, the same for a job whoever asks and however often."""
    return int.from_bytes(hashlib.sha256(f"shadow of {job_id}".encode()).digest()[:8], "big") / 2**64


def _decision_fields(decision: str) -> dict[str, Any]:
    """Return the decision that a job carries, or nothing where its substrate has lost it."""
    try:
        return dict(json.loads(decision))
    except (RecursionError, TypeError, ValueError):
        return {}


def _shadow_id(job_id: str, there: Submission, letter: str) -> str:
    return ids.new_id(there.spec.name, there.spec.kind, letter, json.dumps(["shadow", job_id]))
