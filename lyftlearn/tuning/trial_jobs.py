"""Trials as train jobs: keyed by their search and number, on the backend where the search began."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._call.arguments import DEFAULT_OUTPUTS, Arguments
from lyftlearn._contract.spec import ResourceRequest
from lyftlearn._jobs.job import Job
from lyftlearn._session import Session
from lyftlearn._studies.space import Draw, drawn_values
from lyftlearn._studies.study import LABEL
from lyftlearn._submission.preparation import Content
from lyftlearn._transfer import Packed
from lyftlearn.config import Config, load
from lyftlearn.errors import JobNotFound
from lyftlearn.rollout import Decision
from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._studies.study import Study
    from lyftlearn._studies.trial_record import TrialRecord


class TrialJobs:
    """Submits the trials of one study, and finds them again."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.session = Session(_config(study))
        self._decision = Decision(
            backend=study.backend,
            reason=f"the search {study.id} began there",
            source="tuning",
            attributes={},
        )

    def job_id(self, number: int, draw: Draw) -> str:
        """Return the id that the trial's job has, whether or not it was submitted."""
        return self.session.builder.job_id(self._content(number, draw), self._study.backend)

    def submit(self, number: int, draw: Draw) -> Job | None:
        """Submit the trial, once however often this is called. Raises what `train` raises.

        Return None if it ran before, and its backend does not keep it any more.
        """
        accepted = self.session.submitter.submit_content(self._content(number, draw), self._decision)
        self.session.history.record_submission(accepted)
        return Job(self.session.watch_of, accepted.record) if accepted.kept else None

    def stop_open(self, records: Iterable[TrialRecord]) -> None:
        """Ask every trial whose end is not known to stop."""
        backend = self.session.registry.get(self._study.backend)
        for record in records:
            if record.end is None:
                with suppress(JobNotFound):  # it was not submitted
                    backend.stop(record.job_id)

    def _content(self, number: int, draw: Draw) -> Content:
        arguments = self._arguments(number, draw)
        source = self._study.trial["source"]
        return Content(
            arguments=arguments,
            scope=(self._study.document["project"], str(JobKind.TRAIN), arguments.name, str(arguments.key)),
            source=Packed(Path(), source["sha256"], source["content"]) if source else None,
            local={},
            digest=hashlib.sha256(f"{self._study.document['digest']}/{arguments.key}".encode()).hexdigest(),
            is_uploaded=True,
        )

    def _arguments(self, number: int, draw: Draw) -> Arguments:
        trial = self._study.trial
        hyperparameters = {**self._study.hyperparameters, **drawn_values(self._study.space, draw)}
        return Arguments(
            kind=JobKind.TRAIN,
            name=trial["name"],
            command=tuple(trial["command"]),
            image=trial["image"],
            hyperparameters=json.dumps(hyperparameters, ensure_ascii=False, separators=(",", ":")),
            inputs={channel: Location.parse(uri) for channel, uri in trial["inputs"].items()},
            outputs=DEFAULT_OUTPUTS[JobKind.TRAIN],
            env=MappingProxyType(dict(trial["env"])),
            secrets=tuple(trial["secrets"]),
            resources=ResourceRequest(**trial["resources"]),
            nodes=trial["nodes"],
            timeout=timedelta(seconds=trial["timeout"]),
            retries=trial["retries"],
            labels=MappingProxyType({**trial["labels"], LABEL: self._study.id}),
            key=f"{self._study.id}/{number}",
        )


def _config(study: Study) -> Config:
    tables: Mapping[str, Any] = study.document["config"]
    return load(tables)
