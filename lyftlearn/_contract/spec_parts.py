"""What only some jobs have: code and packages, a notebook, a server of a model, Spark; and what is kept of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code of a job: a gzipped tar, named by the SHA-256 of its bytes."""

    uri: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class NotebookSpec:
    """What only a notebook has.

    files: names what keeps its files from run to run: a DNS-1123 label of at most 50 characters, the same for every run
    of one notebook and for no other. idle_timeout: how long it may be idle before it stops; None means for ever.
    """

    files: str
    idle_timeout: timedelta | None


@dataclass(frozen=True, kw_only=True)
class ServingSpec:
    """What only a server of a model has.

    port: on which the command answers `POST /invocations` and `GET /ping`. artifact_sha256: SHA-256 of the model's
    archive, without which nothing is served. tested_by_caller: whether the submitting side runs the model's self-tests,
    so that the server stays whatever it answers.
    """

    port: int
    artifact_sha256: str
    tested_by_caller: bool = False


@dataclass(frozen=True, kw_only=True)
class Packages:
    """Where what a source requires is kept once it was installed, and the index that it comes from."""

    uri: str
    index: str | None


@dataclass(frozen=True, kw_only=True)
class SparkSpec:
    """How Spark is configured in a job whose image has it: the table `[spark]`, with every default filled in.

    on_kubernetes: whether executors are pods there; else the driver is its own executor, in Spark's local mode.
    instances, cores, memory (bytes): of executors; None for what the job has. image: of executors, as it is called on
    Kubernetes. namespace, service_account: None for the driver's own. server, credentials: the cluster for drivers
    outside of it, and the secret that opens it. first_port: of 48. pod: what executors' pods have besides, as
    Kubernetes writes one.
    """

    on_kubernetes: bool = False
    instances: int | None = None
    cores: int | None = None
    memory: int | None = None
    image: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    server: str | None = None
    credentials: str | None = None
    first_port: int = 7078
    pod: Mapping[str, Any] = field(default_factory=dict)
    jars: tuple[str, ...] = ()
    conf: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """What a substrate keeps of what a job was. bundle: as its containers got it.

    image: what its containers were made from; None where they had none, or the job named none.
    """

    image: str | None
    bundle: Mapping[str, Any] = field(repr=False)
