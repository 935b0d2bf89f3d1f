"""The command of a tuning job: `python -m lyftlearn.tuning`, in a container that has lyftlearn[tune]."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lyftlearn._studies.ledger import StudyWriter
from lyftlearn._studies.study import FORMAT, Study
from lyftlearn.errors import LyftLearnError
from lyftlearn.tuning.driver import SearchDriver
from lyftlearn.tuning.interruption import Interruption, SearchInterrupted
from lyftlearn.tuning.patience import Patience, explain
from lyftlearn.tuning.sampling import sampler_of
from lyftlearn.tuning.trial_jobs import TrialJobs

_AFTER_SIGTERM = 143  # 128 + SIGTERM, as a shell has it


def main() -> int:
    """Drive the search that this job's hyperparameters describe, and return the exit code."""
    try:
        return drive(_read_document())
    except LyftLearnError as error:
        print(f"lyftlearn: {explain(error)}", file=sys.stderr, flush=True)
        return 1


def drive(document: Mapping[str, Any]) -> int:
    """Drive the search of a document to its end, or until somebody stops it."""
    interruption = Interruption()
    interruption.listen()
    study = Study(document)
    jobs = TrialJobs(study)
    patience = Patience(_say, interruption)
    writer = StudyWriter(jobs.session.builder.storage, study)
    try:
        sampler = sampler_of(study)
        patience.until_done("the study", writer.open)
        if patience.until_done("the study", writer.is_stopped):
            interruption.interrupt()
        driver = SearchDriver(study, writer, jobs, sampler=sampler, patience=patience, say=_say)
        return 0 if driver.run() else 1
    except SearchInterrupted:
        return _end_early(writer, jobs, study.timeout)


def _end_early(writer: StudyWriter, jobs: TrialJobs, timeout: float) -> int:
    """Stop the trials if the search is over. A platform that only moves the driver leaves them alone."""
    if writer.is_stopped():
        why = "somebody asked the search to stop"
    elif writer.age() >= timeout:
        why = "the search has reached its timeout, [tune] timeout"
    else:
        _say("the platform ends this driver; its trials go on, and so does the search if the driver is started anew")
        return _AFTER_SIGTERM
    _say(f"{why}; its trials are stopped")
    jobs.stop_open(writer.known.values())
    return _AFTER_SIGTERM


def _read_document() -> Mapping[str, Any]:
    path = os.environ.get("LYFTLEARN_HYPERPARAMETERS")
    if path is None:
        raise LyftLearnError("this is the command of a tuning job; start a search with `lyftlearn tune`")
    document: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise LyftLearnError(f"this search has format {document.get('format')!r}: [tune] image needs a newer lyftlearn")
    return document


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
