"""The configuration table `[kubernetes]`: all that the platform decides, and no call site can."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lyftlearn.backend import BackendSettings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """How a type of GPU is asked for."""

    resource: str = GPU_RESOURCE
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """`[kubernetes]` with every default filled in; `docs/how-to/kubernetes.md` says what each key means."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    priority_class: str | None = None
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    gpus: Mapping[str, Gpu] = field(default_factory=dict)
    user: str | None = None
    metrics: str | None = None
    statsd: Mapping[str, Any] | None = None
    sidecars: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    restarts: int = 3
    keep: timedelta = timedelta(days=7)
    pending: timedelta = timedelta(hours=24)
    starting: timedelta = timedelta(minutes=10)
    faults: tuple[tuple[str, str], ...] = ()

    @property
    def uid_gid(self) -> tuple[int, int] | None:
        """The user that jobs run as, or None for the image's own."""
        if self.user is None:
            return None
        uid, gid = self.user.split(":")
        return int(uid), int(gid)


def read(settings: BackendSettings) -> Options:
    """Return the options; what is wrong with them becomes a fault of every plan."""
    faults: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for key, value in settings.table.items():
        where = f"{settings.name}.{key}"
        if key not in _KEYS:
            faults.append((where, f"is not known: write one of {', '.join(sorted(_KEYS))}"))
            continue
        expected, valid, convert = _KEYS[key]
        if valid(value):
            values[key] = convert(value)
        else:
            faults.append((where, f"expected {expected}, saw {value!r}"))
    return Options(**values, faults=tuple(faults))


def seconds(text: object) -> int | None:
    """Return a duration such as "90s", "10m", "24h" or "7d" in seconds, or None if it is none."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text) if isinstance(text, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_namespace(value: object) -> bool:
    return isinstance(value, str) and _DNS_LABEL.fullmatch(value) is not None


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and item for item in value)


def _is_container(value: object) -> bool:
    return isinstance(value, dict) and _is_text(value.get("image"))


def _is_containers(value: object) -> bool:
    return isinstance(value, list) and all(
        _is_container(item) and _is_namespace(item.get("name")) and item["name"] != "main" for item in value
    )


def _is_volumes(value: object) -> bool:
    return _is_tables(value) and all(map(_is_volume, value))  # type: ignore[call-overload]


def _is_volume(table: Mapping[str, Any]) -> bool:
    sources = table.keys() & {"hostPath", "persistentVolumeClaim"}
    known = table.keys() <= {"hostPath", "persistentVolumeClaim", "mountPath", "readOnly"}
    return known and len(sources) == 1 and all(_is_text(table.get(key)) for key in (*sources, "mountPath"))


def _is_gpus(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_gpu, value.values()))


def _is_gpu(table: object) -> bool:
    return (
        isinstance(table, dict)
        and table.keys() <= {"resource", "selector", "tolerations"}
        and _is_text(table.get("resource", GPU_RESOURCE))
        and _is_map(table.get("selector", {}))
        and _is_tables(table.get("tolerations", []))
    )


def _to_gpus(value: Mapping[str, Mapping[str, Any]]) -> dict[str, Gpu]:
    return {name: Gpu(**{**table, "tolerations": tuple(table.get("tolerations", ()))}) for name, table in value.items()}


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= 100


def _to_duration(value: str) -> timedelta:
    return timedelta(seconds=seconds(value) or 0)


def _is_user(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", value) is not None


def _is_gateway(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r".+:[0-9]{1,5}", value) is not None


def _same(value: Any) -> Any:
    return value


_Key = tuple[str, "Callable[[Any], bool]", "Callable[[Any], Any]"]
_TEXT: _Key = ("a text", _is_text, _same)
_MAP: _Key = ("a table of texts", _is_map, _same)
_TABLES: _Key = ("a list of tables", _is_tables, tuple)
_DURATION: _Key = ('a duration such as "90s", "10m", "24h" or "7d"', lambda value: bool(seconds(value)), _to_duration)
_KEYS: Mapping[str, _Key] = {
    "kubeconfig": _TEXT,
    "context": _TEXT,
    "namespace": ("a DNS label", _is_namespace, _same),
    "service_account": _TEXT,
    "image_pull_secrets": ("a list of names of Secrets", _is_texts, tuple),
    "node_selector": _MAP,
    "tolerations": _TABLES,
    "priority_class": _TEXT,
    "queue": _TEXT,
    "labels": _MAP,
    "annotations": _MAP,
    "gpus": ("tables of resource, selector and tolerations by type of GPU", _is_gpus, _to_gpus),
    "user": ('"<uid>:<gid>"', _is_user, _same),
    "metrics": ('a StatsD gateway, "host:port"', _is_gateway, _same),
    "statsd": ("a table of a container with an image", _is_container, _same),
    "sidecars": ('a list of containers with name (not "main") and image', _is_containers, tuple),
    "volumes": ("a list of tables: hostPath or persistentVolumeClaim, mountPath, readOnly", _is_volumes, tuple),
    "restarts": ("a whole number from 0 to 100", _is_count, _same),
    "keep": _DURATION,
    "pending": _DURATION,
    "starting": _DURATION,
}


def is_visible(options: Options, uri: str) -> bool:
    """Whether pods can reach `uri`: S3 always, files where a volume of every pod holds them."""
    if uri.startswith("s3://"):
        return True
    parts = urlsplit(uri)
    path = f"{unquote(parts.path)}/"
    mounted = (str(volume["mountPath"]).rstrip("/") for volume in options.volumes)
    return parts.scheme == "file" and any(path.startswith(f"{top}/") for top in mounted)
