"""What a backend is given: its own settings, and those of the drivers that submit jobs from one of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._contract.mounts import Mount

if TYPE_CHECKING:
    from lyftlearn._contract.spec_parts import SparkSpec


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """What a backend is made from.

    table: the configuration table named after the backend. home: a directory of this user for state and caches.
    storage_url: where sources, bundles and outputs are kept, `file://` or `s3://`. folders: for each key of the table,
    the directory of the file that set it. A relative path starts there, or else at the working directory.
    models: the tables `[models.<name>]`, by model, with keys that backends have in common. mounts: the file systems of
    `[mounts]`, each with the table that this backend reads for it. spark: how Spark is configured in jobs of any image,
    for `diagnose`; a job's own is in its spec.
    """

    name: str
    table: Mapping[str, Any]
    home: Path
    storage_url: str
    folders: Mapping[str, Path] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    spark: SparkSpec | None = None

    def path(self, key: str, written: str) -> Path:
        """Return the absolute path that `written`, the value of a key of the table, stands for."""
        folder = self.folders.get(key.partition(".")[0], Path())
        return (folder / Path(written).expanduser()).absolute()


@dataclass(frozen=True, kw_only=True)
class DriverSettings:
    """How a tuning job's driver, which is a job of this backend, submits trials to the same backend.

    python: the command that starts Python where the driver runs. env: variables that it needs there. table: this
    backend's configuration table as it holds there; None means as it is. home: where it keeps its state, if that is to
    be this machine's.
    """

    python: str = "python3"
    env: Mapping[str, str] = field(default_factory=dict)
    table: Mapping[str, Any] | None = None
    home: Path | None = None
