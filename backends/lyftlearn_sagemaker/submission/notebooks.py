"""What a training job has more when it is a notebook's run.

Its port is forwarded by a session of AWS Systems Manager, which SageMaker calls remote debugging:
https://docs.aws.amazon.com/sagemaker/latest/dg/train-remote-debugging.html. Its files are its checkpoints: SageMaker
copies them to S3 while it runs, and brings them back into the next run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn.backend import notebook_port

if TYPE_CHECKING:
    from lyftlearn.backend import NotebookSpec

PORT_FORWARDING = {"EnableRemoteDebug": True}
_CHECKPOINTS = "/opt/ml/checkpoints"


def files_uri(notebook: NotebookSpec, storage_url: str) -> str:
    """Return where every run of a notebook finds the files of the one before."""
    return f"{storage_url}/notebooks/{notebook.files}"


def bundle_fields(job_id: str) -> dict[str, Any]:
    """Return how the runtime is to start JupyterLab, and where it tells its address: beside the files."""
    port = notebook_port(job_id)  # in the container, too: a session then has one number for both ends
    options = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=100"]
    return {"options": options, "token": "generate", "state": f"{_CHECKPOINTS}/{address_name(job_id)}"}


def address_name(job_id: str) -> str:
    """Return the name of the file that holds the address of one run."""
    return f"{job_id}.json"
