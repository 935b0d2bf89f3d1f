"""From a plan to an accepted job: uploads, the claim of a keyed call, and the one request that commits.

A process may die at any line. What was uploaded is named by its content and harms nobody; a claim that was taken makes
the next caller with that key finish the work; a create is repeated under the same id until it is answered.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from lyftlearn import _telemetry
from lyftlearn._submission.preparation import Content, Submission, SubmissionBuilder
from lyftlearn._text.redaction import redact_causes
from lyftlearn.backend import Backend, JobRecord, Plan
from lyftlearn.errors import (
    DEFINITE_REFUSALS,
    BackendUnavailable,
    Conflict,
    JobNotFound,
    LyftLearnError,
)
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lyftlearn._call.arguments import Arguments
    from lyftlearn._storage import Storage
    from lyftlearn._submission.claims import Claim, Scope, Standing, Tries
    from lyftlearn.rollout import Decision

_PAUSES = (0.1, 0.5, 2.0)  # seconds between repetitions of a create whose answer never came
_SECONDS_TO_SETTLE = 300.0  # a third of the time after which a try counts as stale
_MOST_RESTARTS = 2  # of a keyed call whose claim another caller has moved or given back


class AcceptedJob(NamedTuple):
    """A job that was accepted. kept: whether its backend still has it. new: whether this call was the first to send it.

    decision: of this call, by which it would have gone; the job carries the one by which it went. notes: of its plan.
    """

    record: JobRecord
    content: Content
    decision: Decision
    kept: bool = True
    new: bool = True
    notes: tuple[str, ...] = ()


class JobSubmitter:
    """Sends what a `SubmissionBuilder` built; falls back to the other backend where a live job was refused."""

    def __init__(self, builder: SubmissionBuilder) -> None:
        self._builder = builder

    def submit(self, arguments: Arguments, decision: Decision) -> AcceptedJob:
        """Submit where the decision says; with a key, once, whoever else does."""
        return self.submit_content(self._builder.read(arguments), decision)

    def submit_content(self, content: Content, decision: Decision) -> AcceptedJob:
        """Submit what was read before, as `submit` does."""
        if content.scope is None:
            return self._send_first_or_other(content, decision)
        return _KeyedCall(self, self._builder, content, content.scope, decision).run()

    def send(self, submission: Submission) -> JobRecord:
        """Send exactly this, without a key and without a second choice."""
        self.upload(submission)
        return self.create(submission)

    def upload(self, submission: Submission) -> None:
        """Put what the job brings into the storage, once."""
        self._builder.make_directories()
        source = submission.content.source
        if submission.content.is_uploaded or (source is None and not submission.uploads):
            return
        from lyftlearn._transfer import upload_input, upload_source  # noqa: PLC0415 - only for jobs that bring files

        with _telemetry.span("upload"):
            if source is not None:
                upload_source(self._builder.storage, source)
            for path, sha256 in submission.uploads:
                upload_input(self._builder.storage, path, sha256)

    def create(self, submission: Submission) -> JobRecord:
        """Send the one request that commits. Raises BackendUnavailable with the id where nobody can know."""
        backend = submission.plan.backend
        with _telemetry.span("create", backend=backend, job_id=submission.spec.id):
            record = _create(self._builder.registry.get(backend), submission.plan)
        _compare_digests(record, submission.spec.digest)
        return record

    def _send_first_or_other(self, content: Content, decision: Decision) -> AcceptedJob:
        try:
            submission = self._builder.build_valid(content, decision)
            return AcceptedJob(self.send(submission), content, decision, notes=submission.plan.notes)
        except DEFINITE_REFUSALS as refusal:
            other = decision.after_refusal(refusal)
            if other is None:
                raise
            _telemetry.count("fallbacks", refused_by=decision.backend, sent_to=other.backend)
            return self._send_first_or_other(content, other)


class _KeyedCall:
    """One call with a key: it sends the job that the claim names, whoever made the claim, and reports what came of it.

    decision: of this call. It counts where the key is free.
    """

    def __init__(
        self, submitter: JobSubmitter, builder: SubmissionBuilder, content: Content, scope: Scope, decision: Decision
    ) -> None:
        from lyftlearn._submission import claims  # noqa: PLC0415 - only for calls with a key

        self._claims = claims
        self._submitter = submitter
        self._builder = builder
        self._content = content
        self._scope = scope
        self._decision = decision
        self._restarts = 0
        self._begun = _now()

    @property
    def _storage(self) -> Storage:
        return self._builder.storage

    def run(self) -> AcceptedJob:
        """Return the job of the key. The claim is looked up before any plan is judged."""
        self._begun = _now()
        standing = self._claims.take(self._storage, self._scope, self._own_claim())
        if not self._is_the_same_call(standing):
            raise Conflict(self._other_arguments(standing), standing.claim.id)
        with self._nothing_sent(standing):
            if not self._builder.is_id_of(self._content, standing.claim.id):
                uri = self._storage.uri(self._claims.claim_key(self._scope))
                raise self._claims.damage(uri, f"{standing.claim.id} is the id of another call")
            backend = self._backend_of_claim(standing)
            if standing.is_settled(backend.capabilities().retention):
                return self._existing_job(backend, standing)
        return self._send(self._decision_of_claim(standing), standing)

    @contextmanager
    def _nothing_sent(self, standing: Standing) -> Iterator[None]:
        """Close this caller's try where its call ends, by an error, a plugin's fault or Ctrl-C: it has sent nothing."""
        try:
            yield
        except BaseException:
            self._withdraw(standing)
            raise

    def _backend_of_claim(self, standing: Standing) -> Backend:
        claim, registry = standing.claim, self._builder.registry
        if claim.backend not in registry.names():
            raise LyftLearnError(
                f"the key {self._scope[3]!r} belongs to {claim.id} on the backend {claim.backend!r}, which is not "
                f"installed here, so nothing was sent: install it and call again, or take another key. If that job "
                f"never ran, delete {self._storage.uri(self._claims.claim_key(self._scope))}"
            )
        return registry.get(claim.backend)

    def _is_the_same_call(self, standing: Standing) -> bool:
        """Whether the key was claimed by this call.

        Version 1.0.0, whose claims name no source, took along what is left out now.
        """
        digest = standing.claim.digest
        if digest != self._content.digest and self._content.source is not None and standing.claim.source is None:
            with suppress(LyftLearnError):
                before = self._builder.read(self._content.arguments, as_first_version=True)
                self._content = before if before.digest == digest else self._content
        return digest == self._content.digest

    def _own_claim(self) -> Claim:
        backend = self._decision.backend
        job_id = self._builder.job_id(self._content, backend)
        source = self._content.source.sha256 if self._content.source else None
        return self._claims.Claim(digest=self._content.digest, id=job_id, backend=backend, source=source)

    def _decision_of_claim(self, standing: Standing) -> Decision:
        """Return the decision as the claim has it: the first caller's backend, whatever was decided here."""
        backend = standing.claim.backend
        if backend == self._decision.backend:
            return self._decision
        why = "the first call with this key chose it"
        return replace(self._decision, backend=backend, other=None, stage=None, reason=why)

    def _send(self, decision: Decision, standing: Standing) -> AcceptedJob:
        """Send the job under the claim. If its create had no answer, this try stays open, and the claim where it is."""
        try:
            submission = self._prepare(decision, standing)
        except LyftLearnError as error:  # nothing was sent by this try
            return self._after_refusal(decision, standing, error)
        renewed = self._renew_if_old(standing)
        if renewed is None:
            return self._start_over(BackendUnavailable("the key went to another job while this one was being prepared"))
        try:
            record = self._submitter.create(submission)
        except (*DEFINITE_REFUSALS, Conflict) as refusal:
            return self._after_refusal(decision, renewed, refusal)
        except BackendUnavailable as error:
            if error.job_id is None:
                self._withdraw(renewed)
            raise
        with suppress(LyftLearnError):  # else the next caller finds the job and says so
            self._claims.accept(self._storage, self._scope, renewed)
        return AcceptedJob(record, self._content, decision, new=renewed.mine, notes=submission.plan.notes)

    def _prepare(self, decision: Decision, standing: Standing) -> Submission:
        """Return the job of the claim, with all that it brings in the storage."""
        try:
            submission = self._builder.build_valid(self._content, decision, standing.claim.id)
            self._submitter.upload(submission)
        except LyftLearnError:
            raise
        except BaseException:
            self._withdraw(standing)
            raise
        return submission

    def _renew_if_old(self, standing: Standing) -> Standing | None:
        """Return what stands before the create is sent; None if this try was too old for others to wait for it."""
        if _now() - self._begun < self._claims.LONGEST_CREATE.total_seconds() / 3:
            return standing
        self._begun = _now()
        renewed = self._claims.renew(self._storage, self._scope, standing)
        return renewed if renewed.attempt and renewed.claim == standing.claim else None

    def _after_refusal(self, decision: Decision, standing: Standing, refusal: LyftLearnError) -> AcceptedJob:
        """Move a live job to the other backend, if that is this caller's to do; else give the key back and raise."""
        dead = self._dead_tries(standing)
        other = decision.after_refusal(refusal)
        if other is not None:
            return self._move(other, standing, dead, refusal)
        left = self._withdraw(standing, dead)
        if decision.backend != self._decision.backend and left is not None and not left.others:
            return self._start_over(refusal)  # the key is free, and this call's own backend has not been asked
        raise refusal

    def _dead_tries(self, standing: Standing) -> Tries:
        """Return the tries whose callers are dead: older than any create can last, of a job that is not there."""
        if not standing.stale:
            return frozenset()
        try:
            self._builder.registry.get(standing.claim.backend).describe(standing.claim.id)
        except JobNotFound:
            return standing.stale
        except LyftLearnError:
            return frozenset()
        return frozenset()

    def _move(self, other: Decision, standing: Standing, dead: Tries, refusal: LyftLearnError) -> AcceptedJob:
        job_id = self._builder.job_id(self._content, other.backend)
        moved = self._claims.move(self._storage, self._scope, standing, other.backend, job_id, dead=dead)
        if moved is not None:
            _telemetry.count("fallbacks", refused_by=standing.claim.backend, sent_to=other.backend)
            return self._send(other, moved)
        now = self._claims.take(self._storage, self._scope, standing.claim)
        self._withdraw(now)
        if (now.claim.id, now.claim.state) == (standing.claim.id, "intended"):
            raise refusal  # another caller's try is open there
        return self._start_over(refusal)

    def _start_over(self, refusal: LyftLearnError) -> AcceptedJob:
        """Join whatever claim stands by now, or make one; at last raise `refusal`."""
        if self._restarts >= _MOST_RESTARTS:
            raise refusal
        self._restarts += 1
        return self.run()

    def _withdraw(self, standing: Standing, dead: Tries = frozenset()) -> Standing | None:
        """Close this caller's try, and return what is left. The refusal matters more than an error of the storage."""
        with suppress(LyftLearnError):  # a try that is left only forbids a fallback for a while
            return self._claims.withdraw(self._storage, self._scope, standing, dead=dead)
        return None

    def _existing_job(self, backend: Backend, standing: Standing) -> AcceptedJob:
        """Return the job that was accepted before; from its claim alone if its backend does not keep it any more."""
        try:
            record = backend.describe(standing.claim.id)
        except JobNotFound:
            record = self._record_of_claim(standing)
            return AcceptedJob(record, self._content, self._decision, kept=False, new=False)
        _compare_digests(record, self._content.digest)
        return AcceptedJob(record, self._content, self._decision, new=False)

    def _record_of_claim(self, standing: Standing) -> JobRecord:
        arguments, job_id = self._content.arguments, standing.claim.id
        message = "accepted before; its backend does not keep it any more"
        at = datetime.now(UTC) - standing.age
        return JobRecord(
            id=job_id,
            kind=arguments.kind,
            name=arguments.name,
            labels=arguments.labels,
            digest=self._content.digest,
            decision=self._decision.as_json(),
            event=JobEvent(job_id=job_id, status=JobStatus.PENDING, at=at, message=message),
        )

    def _other_arguments(self, standing: Standing) -> str:
        project, function, name, key = self._scope
        return (
            f"the key {key!r} of {function} {name!r} in project {project!r} belongs to {standing.claim.id}, which has "
            f"other arguments (or other content of source or inputs): take another key, or write what that job had"
            f"{self._differing_files(standing)}"
        )

    def _differing_files(self, standing: Standing) -> str:
        """Name the files of the source that differ, if the first caller's is still kept."""
        before, now = standing.claim.source, self._content.source
        if before is None or now is None:
            return ""
        from lyftlearn._transfer.differences import source_differences  # noqa: PLC0415 - only for this message

        try:
            names = source_differences(self._storage, before, now)
        except Exception:  # noqa: BLE001 - what was kept may be anything, and the Conflict is what matters
            return ""
        if names is None:
            return ""
        return f". In the source, {names}" if names else ". The source is the same"


def _create(backend: Backend, plan: Plan) -> JobRecord:
    """Submit, and settle an answer that never came by asking again under the same id.

    Only what the first answer refuses is refused. After a silence, or an error that is no known refusal, nothing that
    is said proves anything about the first try.
    """
    try:
        return _submit(backend, plan)
    except (*DEFINITE_REFUSALS, Conflict):
        raise
    except Exception as exc:
        if isinstance(exc, BackendUnavailable) and exc.job_id is None:
            raise  # it was never sent
        first = last = exc
    began = _now()
    for pause in _PAUSES:
        time.sleep(pause)
        if _now() - began > _SECONDS_TO_SETTLE:  # the process slept: by now others may take this try for dead
            break
        try:
            return _submit(backend, plan)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it settles nothing
            last = exc
    message = f"it is not known whether {plan.spec.id} was accepted: {first}"
    raise BackendUnavailable(
        message if last is first else f"{message}; asked again: {last}", plan.spec.id
    ) from redact_causes(last)


def _submit(backend: Backend, plan: Plan) -> JobRecord:
    """Send once. A plugin that returns something else than a record has not said what became of the job."""
    record = backend.submit(plan)
    if not isinstance(record, JobRecord):
        raise TypeError(f"the backend {plan.backend} returned {type(record).__name__}, and no record of a job")
    return record


def _compare_digests(record: JobRecord, digest: str) -> None:
    """Raise Conflict for a job that has the id, but is another: nobody is ever handed somebody else's job."""
    if record.digest != digest:
        message = f"{record.id} exists with other arguments, or other content of source or inputs: take another key"
        raise Conflict(message, record.id)


def _now() -> float:
    """Return the seconds of a clock that goes on while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
