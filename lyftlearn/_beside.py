"""What happens beside a submission in a migration: it is journalled, rehearsed on the other backend, or shadowed there.

All of it in the background. Nothing here can fail, delay or change the submission, and its caller sees none of it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._background import Background
from lyftlearn._prepare import Preparer
from lyftlearn._stages import Stage
from lyftlearn.errors import InvalidJob, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn._journal import Journal, Rehearsed, Submitted
    from lyftlearn._prepare import Submission
    from lyftlearn._submit import Accepted, Submitter

SHADOW_LABEL = "lyftlearn/shadow"


class Beside:
    """Journals, rehearses and shadows for one client."""

    def __init__(self, preparer: Preparer, submitter: Submitter) -> None:
        self._preparer = preparer
        self._submitter = submitter
        self._config = preparer.config
        self._background = Background()
        self._opening = threading.Lock()
        self._opened: Journal | None = None

    def after(self, accepted: Accepted) -> None:
        """Take note of an accepted job. Returns at once, whatever follows."""
        if self._config.migration_to is not None and accepted.submission.decision.attributes:
            self._background.do(lambda: self._follow_up(accepted))

    def drain(self) -> bool:
        """Wait a few seconds for what is under way. Return whether it is done."""
        return self._background.drain()

    def journal(self) -> Journal:
        """Return the journal; its library is loaded only here, in the background."""
        from lyftlearn._journal import Journal  # noqa: PLC0415 - brings SQLAlchemy

        with self._opening:
            if self._opened is None:
                self._config.home.mkdir(parents=True, exist_ok=True)
                self._opened = Journal(self._config.journal_url)
            return self._opened

    def _follow_up(self, accepted: Accepted) -> None:
        decision = accepted.submission.decision
        self.journal().record(_submitted(accepted.record.id, accepted.submission, decision.attributes))
        if decision.stage in (Stage.REHEARSE, Stage.SHADOW) and accepted.kept:
            rehearsed = self._rehearsed(accepted.record.id, accepted.submission)
            self.journal().record(rehearsed)
            if decision.stage is Stage.SHADOW and not rehearsed.faults and self._may_run_twice(accepted.submission):
                self._shadow(accepted.record.id, accepted.submission)

    def _rehearsed(self, job_id: str, submission: Submission) -> Rehearsed:
        from lyftlearn._journal import Rehearsed  # noqa: PLC0415

        other = str(submission.decision.other)
        try:
            backend = self._preparer.registry.get(other)
            faults = self._preparer.specify(submission.arguments, submission.decision, backend).plan.faults
        except InvalidJob as exc:
            faults = tuple(exc.faults)
        except LyftLearnError as exc:
            faults = (("backend", str(exc)),)
        return Rehearsed(job_id=job_id, backend=other, faults=faults)

    def _may_run_twice(self, submission: Submission) -> bool:
        shadow = self._config.shadow
        declared = submission.spec.name in shadow.models or shadow.labels.items() & submission.spec.labels.items()
        return bool(declared) and random.random() < shadow.share and self._running_shadows() < shadow.at_most  # noqa: S311

    def _running_shadows(self) -> int:
        from lyftlearn import _shadows  # noqa: PLC0415 - brings SQLAlchemy

        return len(_shadows.unfinished(self.journal(), self._preparer.registry))

    def _shadow(self, job_id: str, submission: Submission) -> None:
        decision = replace(
            submission.decision,
            backend=str(submission.decision.other),
            other=submission.decision.backend,
            reason=f"shadow of {job_id}",
        )
        backend = self._preparer.registry.get(decision.backend)
        shadow = self._preparer.specify(replace(submission.arguments, key=None), decision, backend)
        spec = replace(
            shadow.spec,
            labels=MappingProxyType({**shadow.spec.labels, SHADOW_LABEL: job_id}),
            outputs=MappingProxyType(dict.fromkeys(shadow.spec.outputs)),
            shadow_of=job_id,
        )
        plan = backend.plan(spec)
        if not plan.faults:
            record = self._submitter.send(replace(shadow, spec=spec, plan=plan))
            self.journal().record(_submitted(record.id, shadow, decision.attributes, shadow_of=job_id))


def _submitted(
    job_id: str, submission: Submission, attributes: Mapping[str, Any], shadow_of: str | None = None
) -> Submitted:
    from lyftlearn._journal import Submitted  # noqa: PLC0415

    decision = submission.decision
    return Submitted(
        job_id=job_id,
        at=datetime.now(UTC),
        repository=str(attributes.get("repository") or attributes.get("project") or "unknown"),
        model=submission.spec.name,
        kind=str(submission.spec.kind),
        stage=str(decision.stage) if decision.stage else None,
        source=decision.source,
        backend=submission.plan.backend if shadow_of is None else decision.backend,
        fell_back=decision.fell_back,
        shadow_of=shadow_of,
    )
