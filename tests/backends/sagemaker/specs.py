"""Specs for tests that plan and submit."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lyftlearn.backend import JobSpec, ResourceRequest, new_id
from lyftlearn.types import JobKind

GIB = 1 << 30
SMALL = ResourceRequest(cpu=1, memory=GIB, gpu=0, gpu_type=None, disk=30 * GIB, shared_memory=None)


def spec(storage_url: str, **changes: Any) -> JobSpec:
    """Return a small train job."""
    name = changes.get("name", "eta")
    kind = changes.get("kind", JobKind.TRAIN)
    job_id = changes.get("id") or new_id(name, kind, "s")
    made = JobSpec(
        id=job_id,
        kind=kind,
        name=name,
        command=("python3", "-c", "print('hello')"),
        image=None,
        source=None,
        hyperparameters="{}",
        inputs={},
        outputs={"output": None},
        output_uri=f"{storage_url}/jobs/{job_id}/output",
        artifact=None,
        env={},
        secrets=(),
        resources=SMALL,
        nodes=1,
        timeout=timedelta(hours=1),
        grace=timedelta(seconds=10),
        retries=0,
        labels={},
        digest=secrets.token_hex(32),
        decision='{"backend": "sagemaker", "reason": "a test"}',
    )
    return replace(made, **changes)


def resources(
    cpu: float = 1, memory: float = 1, disk: float = 30, gpu: int = 0, gpu_type: str | None = None
) -> ResourceRequest:
    """Return what a node needs; memory and disk in GiB."""
    return ResourceRequest(
        cpu=cpu, memory=int(memory * GIB), gpu=gpu, gpu_type=gpu_type, disk=int(disk * GIB), shared_memory=None
    )
