"""The table `[sagemaker]` of the configuration, and what one model changes in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from lyftlearn.backend import PRICE_OPTIONS, Fault, Mount, Option, options, read_model_options, read_options
from lyftlearn_sagemaker.job_options import JOB_OPTIONS, SECONDS, JobOptions, contradictions
from lyftlearn_sagemaker.mounts import FileSystem, read_mounts

_QUEUE = options.matching(r"https?://[^/\s]+/\S+", "the URL of an SQS queue")
_REGION = options.matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", "a region such as us-east-1")
OPTIONS = (
    *JOB_OPTIONS,
    *PRICE_OPTIONS,
    Option(
        key="region",
        kind=_REGION,
        doc="The region of the jobs. Without it, the default AWS chain's.",
        example="us-east-1",
    ),
    Option(
        key="events",
        kind=_QUEUE,
        doc="A queue with the state changes of jobs. Without it, jobs are followed by polling.",
        example="https://sqs.us-east-1.amazonaws.com/123456789012/lyftlearn-jobs",
    ),
    Option(
        key="lists_per_second",
        kind=options.number(0.05, 2),
        doc="How many lists a second all processes with this storage may send together. Without it, each may send 2.",
        example=0.5,
    ),
    Option(
        key="log_settle",
        kind=SECONDS,
        default="5s",
        doc="How long a log that does not say where it ends must be silent after its job's end.",
        example="30s",
    ),
    options.model_tables(JOB_OPTIONS, example={"eta": {"keep_alive": "20m"}}),
)
"""The whole table."""
_BACKEND_KEYS = ("region", "events", "lists_per_second", "log_settle", "models")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The whole table. faults: what is wrong with it, told by every plan."""

    job: JobOptions
    models: Mapping[str, JobOptions]
    region: str | None
    events: str | None
    lists_per_second: float | None
    log_settle: int
    mounts: tuple[FileSystem, ...] = ()
    faults: tuple[Fault, ...]

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that jobs of this configuration may be in."""
        return tuple(dict.fromkeys(job.queue for job in (self.job, *self.models.values()) if job.queue))

    def of(self, model: str) -> JobOptions:
        """Return what jobs of `model` get."""
        return self.models.get(model, self.job)


def read_table(
    name: str,
    table: Mapping[str, Any],
    common: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    mounts: Sequence[Mount] = (),
) -> Options:
    """Return the options of the backend `name`. Never raises: faults are listed. common: `[models.<name>]`, by name."""
    values, faults = read_options(name, table, OPTIONS)
    systems, mount_faults = read_mounts(name, mounts)
    faults += mount_faults
    backend = {key: values.pop(key) for key in _BACKEND_KEYS}
    job = JobOptions(**_fields(values))
    faults += contradictions(name, job)
    changes, model_faults = read_model_options(name, backend["models"], common, JOB_OPTIONS)
    models = {model: replace(job, **_fields(values)) for model, values in changes.items()}
    faults += model_faults
    for model, changed in models.items():
        faults += contradictions(f"{name}.models.{model}", changed)
    return Options(job=job, mounts=tuple(systems), faults=tuple(faults), **{**backend, "models": models})


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace(".", "_"): value for key, value in values.items() if not key.startswith("prices.")}
