"""Where a notebook that runs is opened, and the command that leads there."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import NotebookAddress, open_storage
from lyftlearn.errors import LyftLearnError
from lyftlearn.types import JobKind, JobStatus
from lyftlearn_sagemaker.submission.notebooks import address_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn.backend import JobRecord

_DOCUMENT = "AWS-StartPortForwardingSession"


def address(region: str, described: Mapping[str, Any], record: JobRecord) -> NotebookAddress | None:
    """Return where a browser opens the run; None until the runtime's word that JupyterLab answers is in S3."""
    if record.kind is not JobKind.NOTEBOOK or record.event.status is not JobStatus.RUNNING:
        return None
    uri, name = described["CheckpointConfig"]["S3Uri"], address_name(record.id)
    stored = open_storage(uri, region).read(name)
    if stored is None:
        return None
    try:
        written = json.loads(stored.data)
        port, path = int(written["port"]), str(written["path"])
    except (ValueError, LookupError, RecursionError, TypeError) as exc:
        message = f"{uri}/{name} does not tell the notebook's address ({exc}): stop the notebook, and start it again"
        raise LyftLearnError(message) from exc
    return NotebookAddress(f"http://127.0.0.1:{port}{path}", _forward(region, described["TrainingJobName"], port))


def _forward(region: str, training_job: str, port: int) -> str:
    """Return the command that makes the port of the job's only node one of this machine."""
    ports = {"portNumber": [str(port)], "localPortNumber": [str(port)]}
    target = f"sagemaker-training-job:{training_job}_algo-1"
    command = ["aws", "ssm", "start-session", "--region", region, "--target", target, "--document-name", _DOCUMENT]
    return shlex.join([*command, "--parameters", json.dumps(ports, separators=(",", ":"))])
