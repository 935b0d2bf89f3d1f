"""A job after every argument was resolved: what a backend plans from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._contract.spec_parts import NotebookSpec, Packages, ServingSpec, Source, SparkSpec


@dataclass(frozen=True, kw_only=True)
class ResourceRequest:
    """`Resources` in numbers: cores, whole GPUs, and bytes."""

    cpu: float
    memory: int
    gpu: int
    gpu_type: str | None
    disk: int
    shared_memory: int | None


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One job, validated and immutable. No default is left open; mappings are read-only.

    command: argv; a shell string has become `/bin/sh -c`. hyperparameters: JSON text. inputs: channel to URI, `s3://`
    or `file://`. outputs: name to a URI of its own, or None for the job's output location, `output_uri`. artifact: the
    URI of the model that a predict job reads. digest: SHA-256 over what the caller wrote, so equal calls have equal
    digests whatever the defaults of this version. decision: why this backend was chosen, as one line of JSON.
    packages: set where what the source requires is to be installed. shadow_of: the job that this one doubles; its
    metrics go nowhere. notebook: of a notebook's run, which has no timeout. serving: of a predict job that answers
    requests for as long as it is left to, which has none either. spark: set
    where Spark is configured.
    """

    id: str
    kind: JobKind
    name: str
    command: tuple[str, ...]
    image: str | None
    source: Source | None
    hyperparameters: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str | None]
    output_uri: str
    artifact: str | None
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    resources: ResourceRequest
    nodes: int
    timeout: timedelta
    grace: timedelta
    retries: int
    labels: Mapping[str, str]
    digest: str
    decision: str
    shadow_of: str | None = None
    packages: Packages | None = None
    notebook: NotebookSpec | None = None
    spark: SparkSpec | None = None
    serving: ServingSpec | None = None

    @property
    def output_uris(self) -> Mapping[str, str]:
        """Output name to URI, as `Job.outputs` gives it; `#<name>` is a directory in the archive."""
        archive = f"{self.output_uri}/output.tar.gz"
        kept = {name: uri or f"{archive}#{name}" for name, uri in self.outputs.items()}
        return {"model": f"{self.output_uri}/model.tar.gz", **kept} if self.kind is JobKind.TRAIN else kept
