"""The lines of the spool: written in microseconds beside a submission. `row_lines` has what reads them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._contract.installed import version

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn._submission.submitter import AcceptedJob
    from lyftlearn.backend import JobRecord
    from lyftlearn.config import Config
    from lyftlearn.history.spool import Line
    from lyftlearn.types import JobState

FEATURES = (GPU, SECRETS, SPARK) = ("gpu", "secrets", "spark")


def header(config: Config) -> Line:
    """Return what is the same for every job that one client submits."""
    start = config.source.absolute().parent if config.source else Path.cwd()
    return {
        "version": version("lyftlearn"),
        "repository": config.repository,
        "start": str(start),
        "project": config.project,
        "team": config.team,
        "owner": config.owner,
    }


def submission_line(accepted: AcceptedJob, backend: str, config: Config) -> Line:
    """Return the line of an accepted job.

    A keyed call may have found the job long after another call made it: the time is the job's own.
    """
    record, arguments = accepted.record, accepted.content.arguments
    return {
        "is": "accepted",
        **of_record(record, backend),
        "at": time.time() if accepted.new else (record.event.created_at or record.event.at).timestamp(),
        "source": accepted.decision.source,
        "asked": accepted.decision.sources if accepted.new else (),
        "refused_by": config.migration_to,  # if it fell back
        "refusal": accepted.decision.refusal,
        "resources": vars(arguments.resources),
        "nodes": arguments.nodes,
        "command": arguments.command,
        "image": arguments.image,
        "code": accepted.content.source and accepted.content.source.content,
        "features": _features(arguments, config),
    }


def _features(arguments: Arguments, config: Config) -> list[str]:
    """Return what a job uses that others do not. Where `[spark]` names no images, nobody knows whose is Spark's."""
    is_spark = bool(config.tables.get("spark", {}).get("images")) and config.spark(arguments.image) is not None
    used = {GPU: arguments.resources.gpu > 0, SECRETS: bool(arguments.secrets), SPARK: is_spark}
    return [name for name in FEATURES if used[name]]


def end_line(record: JobRecord, state: JobState, backend: str) -> Line:
    """Return the line of a job's end, as somebody saw it who may know nothing else of the job."""
    return {
        "is": "ended",
        **of_record(record, backend),
        "at": state.created_at.timestamp(),
        "nodes": record.nodes,
        "status": state.status,
        "reason": state.reason,
        "exit_code": state.exit_code,
        "message": state.message,
        "attempt": state.attempt,
        "started_at": state.started_at and state.started_at.timestamp(),
        "finished_at": state.finished_at and state.finished_at.timestamp(),
    }


def of_record(record: JobRecord, backend: str) -> dict[str, Any]:
    """Return what each line of a job begins with."""
    return {
        "id": record.id,
        "model": record.name,
        "kind": record.kind,
        "backend": backend,
        "labels": record.labels,
        "digest": record.digest,
        "decision": record.decision,
        "outputs": record.outputs,
    }
