"""The table `[sagemaker]` of the configuration, and what one model changes in it.

Everything that a job can be given stands in `[sagemaker]`, and again, where a model differs, in
`[sagemaker.models.<name>]`. Nothing of it is ever said at a call site.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Fault: TypeAlias = tuple[str, str]

_DURATION = re.compile(r"(\d+)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NO_ENTRIES: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What one job gets. Times are in seconds.

    instances_*: glob patterns of instance types; `pin` is one type. architecture: of the machines, `x86_64` or `arm64`.
    keep_alive: how long a warm pool outlives its job. spot_wait: how long beyond its own time a spot job may wait for
    capacity. inputs: `exact` or `directories`, what a URI without `/` at its end may be. python: how the image starts
    Python. system_share: the part of an instance's memory that the job does not get.
    """

    role: str | None = None
    image: str | None = None
    python: str = "python3"
    instances_pin: str | None = None
    instances_allow: tuple[str, ...] = ()
    instances_deny: tuple[str, ...] = ()
    instances_prefer: tuple[str, ...] = ()
    instances_architecture: str = "x86_64"
    instances_system_share: float = 0.06
    vpc_subnets: tuple[str, ...] = ()
    vpc_security_groups: tuple[str, ...] = ()
    keys_volume: str | None = None
    keys_output: str | None = None
    network_isolation: bool = False
    encrypt_traffic: bool = False
    spot: bool = False
    spot_wait: int = 86400
    checkpoints: bool = False
    keep_alive: int = 0
    infrastructure_retries: int = 1
    inputs: str = "exact"
    input_mode: str = "File"
    user_uid: int | None = None
    user_gid: int | None = None
    metrics: str | None = None
    secrets: Mapping[str, Any] = field(default_factory=lambda: {"type": "secretsmanager"})
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The whole table. faults: what is wrong with it, told by every plan."""

    job: JobOptions
    models: Mapping[str, JobOptions]
    region: str | None
    events: str | None
    log_settle: int
    faults: tuple[Fault, ...]

    def of(self, model: str) -> JobOptions:
        """Return what jobs of `model` get."""
        return self.models.get(model, self.job)


def read_options(name: str, table: Mapping[str, Any]) -> Options:
    """Return the options of the backend `name`. Never raises: faults are listed."""
    faults: list[Fault] = []
    own = {key: value for key, value in table.items() if key in _OF_BACKEND}
    backend = _values(name, own, _OF_BACKEND, faults)
    rest = {key: value for key, value in table.items() if key not in own}
    job = replace(JobOptions(), **_values(name, rest, _OF_JOB, faults))
    models = {
        model: replace(job, **_values(f"{name}.models.{model}", changes, _OF_JOB, faults))
        for model, changes in backend.get("models", _NO_ENTRIES).items()
    }
    for where, options in [(name, job), *((f"{name}.models.{model}", options) for model, options in models.items())]:
        faults += _contradictions(where, options)
    return Options(
        job=job,
        models=models,
        region=backend.get("region"),
        events=backend.get("events"),
        log_settle=backend.get("log_settle", 5),
        faults=tuple(faults),
    )


def _values(
    where: str, table: Mapping[str, Any], known: Mapping[str, Callable[[Any], Any]], faults: list[Fault]
) -> dict[str, Any]:
    values = {}
    for name, value in _flat(table, known):
        if name not in known:
            faults.append((f"{where}.{name}", f"is not known: write one of {', '.join(sorted(known))}"))
            continue
        try:
            values[name.replace(".", "_")] = known[name](value)
        except ValueError as exc:
            faults.append((f"{where}.{name}", f"is {value!r}: {exc}"))
    return values


def _flat(table: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names for the tables that are groups of options, not values."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in known and any(one.startswith(f"{name}.") for one in known):
            yield from _flat(value, known, f"{name}.")
        else:
            yield name, value


def _contradictions(where: str, options: JobOptions) -> Iterator[Fault]:
    if options.spot and options.keep_alive:
        yield f"{where}.keep_alive", "spot instances are never kept warm: set keep_alive to 0, or spot to false"
    if bool(options.vpc_subnets) != bool(options.vpc_security_groups):
        yield f"{where}.vpc", "needs both subnets and security_groups"
    if (options.user_uid is None) != (options.user_gid is None):
        yield f"{where}.user", "needs both uid and gid"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("write a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("write a list of texts")
    return tuple(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")  # noqa: TRY004 - one kind of error for every option
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("write a whole number, 0 or more")
    return value


def _share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError("write a part of 1, such as 0.06")
    return float(value)


def _seconds(value: Any) -> int:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if value == 0:
        return 0
    if match is None:
        raise ValueError('write a duration such as "90s", "30m" or "4h"')
    return int(match[1]) * _SECONDS[match[2]]


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("write a table")  # noqa: TRY004 - one kind of error for every option
    return dict(value)


def _text_mapping(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("write a table of texts")
    return dict(value)


def _tables(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
        raise ValueError("write a table for each model")
    return dict(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return str(value)

    return check


_OF_BACKEND: Mapping[str, Callable[[Any], Any]] = {
    "region": _text,
    "events": _text,
    "models": _tables,
    "log_settle": _seconds,
}
_OF_JOB: Mapping[str, Callable[[Any], Any]] = {
    "role": _text,
    "image": _text,
    "python": _text,
    "instances.pin": _text,
    "instances.allow": _texts,
    "instances.deny": _texts,
    "instances.prefer": _texts,
    "instances.architecture": _one_of("x86_64", "arm64"),
    "instances.system_share": _share,
    "vpc.subnets": _texts,
    "vpc.security_groups": _texts,
    "keys.volume": _text,
    "keys.output": _text,
    "network_isolation": _flag,
    "encrypt_traffic": _flag,
    "spot": _flag,
    "spot_wait": _seconds,
    "checkpoints": _flag,
    "keep_alive": _seconds,
    "infrastructure_retries": _count,
    "inputs": _one_of("exact", "directories"),
    "input_mode": _one_of("File", "FastFile"),
    "user.uid": _count,
    "user.gid": _count,
    "metrics": _text,
    "secrets": _mapping,
    "tags": _text_mapping,
}
