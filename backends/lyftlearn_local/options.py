"""The configuration table of a local backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn.backend import BackendSettings

PARALLEL = 16
NAMESPACES = ("auto", "always", "never")


@dataclass(frozen=True, kw_only=True)
class Options:
    """`[local]` with every default filled in.

    parallel: jobs that run at once; others wait. namespaces: whether to use bubblewrap: "auto" means where it works.
    secrets: directory with `<secret>/<key>` files. metrics: `host:port` of a StatsD gateway.
    python: the interpreter that runs jobs, where it is not to be this process's own.
    """

    parallel: int = PARALLEL
    namespaces: str = "auto"
    secrets: Path
    metrics: str | None = None
    python: str | None = None
    faults: tuple[tuple[str, str], ...] = field(default=())


def read(settings: BackendSettings) -> Options:
    """Return the options; what is wrong with them becomes a fault of every plan."""
    table, name = dict(settings.table), settings.name
    faults = [
        *_fault(name, table, "parallel", "a whole number above 0", valid=_is_count),
        *_fault(name, table, "namespaces", 'one of "auto", "always", "never"', valid=lambda value: value in NAMESPACES),
        *_fault(name, table, "secrets", "the path of a directory", valid=_is_text),
        *_fault(name, table, "metrics", 'a StatsD gateway, "host:port"', valid=_is_gateway),
        *_fault(name, table, "python", "the path of a Python", valid=_is_text),
        *((f"{name}.{key}", f"unknown: it is one of {', '.join(_KEYS)}") for key in table if key not in _KEYS),
    ]
    if faults:
        return Options(secrets=settings.home / "secrets", faults=tuple(faults))
    return Options(
        parallel=table.get("parallel", PARALLEL),
        namespaces=table.get("namespaces", "auto"),
        secrets=Path(table.get("secrets", settings.home / "secrets")).expanduser().absolute(),
        metrics=table.get("metrics"),
        python=table.get("python"),
    )


_KEYS = ("parallel", "namespaces", "secrets", "metrics", "python")


def _fault(name: str, table: Mapping[str, Any], key: str, expected: str, *, valid: Any) -> list[tuple[str, str]]:
    if key not in table or valid(table[key]):
        return []
    return [(f"{name}.{key}", f"expected {expected}, saw {table[key]!r}")]


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_gateway(value: object) -> bool:
    return isinstance(value, str) and value.rpartition(":")[0] != "" and value.rpartition(":")[2].isdigit()
