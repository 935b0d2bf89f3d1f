"""Configuration: `lyftlearn.toml`, the platform's defaults under it, and the environment above it.

Tables are merged in this order, later ones win, key by key:

1. what lyftlearn assumes;
2. the platform's file, `/etc/lyftlearn/lyftlearn.toml`, or the one that `LYFTLEARN_PLATFORM_CONFIG` names;
3. the repository's `lyftlearn.toml`, found upwards from the working directory, or what `LYFTLEARN_CONFIG` names.

A mapping given to `Client(config=...)` stands for both files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lyftlearn._text.quantities import duration
from lyftlearn.config.images import image_faults, image_on
from lyftlearn.errors import InvalidJob

FILE = "lyftlearn.toml"
_PLATFORM_FILE = "/etc/lyftlearn/lyftlearn.toml"
_ASSUMED: dict[str, Any] = {"backend": "local", "storage": {}, "jobs": {"timeout": "24h", "grace": "30s"}}
_KNOWN = {
    "storage": {"url"},
    "jobs": {"timeout", "grace", "image", "output"},
    "migration": {
        "from",
        "to",
        "flag",
        "flags",
        "stage",
        "default",
        "ceiling",
        "cache",
        "budget",
        "journal",
        "shadow",
        "compare",
    },
    "backends": {"letters"},
}
_DURATIONS = {"timeout", "grace", "cache", "budget"}
_STAGES = {"stage", "default", "ceiling"}
_STAGE_NAMES = ("off", "rehearse", "shadow", "live", "complete")  # held to `Stage` by a test
_SHADOW = {"models", "labels", "share", "at_most"}
_TEXTS = ("project", "backend", "home", "repository", "team", "environment")


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """models, labels: declare jobs safe to run twice. share: of those, how many are. at_most: how many at once."""

    models: frozenset[str]
    labels: Mapping[str, str]
    share: float
    at_most: int


@dataclass(frozen=True)
class Config:
    """What was configured. `source`: the repository's file, None if there is none. `tables`: everything, merged."""

    source: Path | None
    tables: Mapping[str, Any]

    @property
    def home(self) -> Path:
        """Where this user's state and caches live: `LYFTLEARN_HOME`, or `home`, or `~/.lyftlearn`."""
        return (
            Path(os.environ.get("LYFTLEARN_HOME") or self.tables.get("home") or "~/.lyftlearn").expanduser().absolute()
        )

    @property
    def project(self) -> str:
        """The name under which keys are unique: `project`, or the name of the directory that holds `lyftlearn.toml`."""
        named: str | None = self.tables.get("project")
        return named or (self.source.absolute().parent.name if self.source else "default")

    @property
    def backend(self) -> str:
        """Where jobs run when nobody says otherwise."""
        return str(self.tables["backend"])

    @property
    def storage_url(self) -> str:
        """Where sources, claims and outputs live: `[storage] url`, or a directory in `home`."""
        url: str | None = self.tables["storage"].get("url")
        return url.rstrip("/") if url else (self.home / "storage").as_uri()

    @property
    def output_url(self) -> str:
        """Where the outputs of jobs go, a directory each: `[jobs] output`, or `jobs` in the storage."""
        url: str | None = self.tables["jobs"].get("output")
        return url.rstrip("/") if url else f"{self.storage_url}/jobs"

    @property
    def timeout(self) -> timedelta:
        """How long a job may run that asks for no timeout of its own: `[jobs] timeout`."""
        return duration(self.tables["jobs"]["timeout"])

    @property
    def grace(self) -> timedelta:
        """How long a job has between SIGTERM and SIGKILL: `[jobs] grace`."""
        return duration(self.tables["jobs"]["grace"])

    @property
    def image(self) -> str | None:
        """The platform's base image: `[jobs] image`."""
        named: str | None = self.tables["jobs"].get("image")
        return named

    def image_on(self, backend: str, image: str | None) -> str | None:
        """Return what an image that a call names, or else the platform's base image, is called there: `[images]`."""
        named = image or self.image
        return image_on(backend, named, self.table("images")) if named else None

    @property
    def repository(self) -> str | None:
        """The repository's name where version control does not tell it: `repository`."""
        named: str | None = self.tables.get("repository")
        return named

    @property
    def team(self) -> str | None:
        """Who owns the jobs, for targeting: `team`."""
        named: str | None = self.tables.get("team")
        return named

    @property
    def environment(self) -> str | None:
        """Such as "production" or "staging", for targeting: `environment`."""
        named: str | None = self.tables.get("environment")
        return named

    @property
    def migration_from(self) -> str:
        """The old backend: `[migration] from`, else `backend`."""
        return str(self.table("migration").get("from") or self.backend)

    @property
    def migration_to(self) -> str | None:
        """The new backend: `[migration] to`. None means that nothing is migrated."""
        named: str | None = self.table("migration").get("to")
        return named

    @property
    def migration_flag(self) -> str:
        """The key of the flag that names the stage: `[migration] flag`."""
        return str(self.table("migration").get("flag", "lyftlearn-migration"))

    @property
    def migration_flags(self) -> str | None:
        """Where the flag is evaluated without a provider of the host: `LYFTLEARN_FLAGS`, else `[migration] flags`."""
        return os.environ.get("LYFTLEARN_FLAGS") or self.table("migration").get("flags")

    @property
    def migration_stage(self) -> str | None:
        """What the repository says where the flag is silent: `[migration] stage`."""
        return self._stage("stage")

    @property
    def migration_default(self) -> str | None:
        """What the platform says where the flag and the repository are silent: `[migration] default`."""
        return self._stage("default")

    @property
    def migration_ceiling(self) -> str | None:
        """The stage that nothing but the operator's override exceeds: `[migration] ceiling`."""
        return self._stage("ceiling")

    @property
    def migration_cache(self) -> float:
        """Seconds for which an answer of the flag holds: `[migration] cache`."""
        return duration(self.table("migration").get("cache", "5s")).total_seconds()

    @property
    def migration_budget(self) -> float:
        """Seconds that the flag has for an answer: `[migration] budget`."""
        return duration(self.table("migration").get("budget", "0.5s")).total_seconds()

    @property
    def journal_url(self) -> str:
        """Where rehearsals and outcomes go, an SQLAlchemy URL: `[migration] journal`, else a file in `home`."""
        return str(self.table("migration").get("journal") or f"sqlite:///{self.home / 'journal.sqlite'}")

    @property
    def shadow(self) -> Shadow:
        """Which jobs may run twice, and how many: `[migration.shadow]`."""
        table = self.table("migration").get("shadow", {})
        return Shadow(
            models=frozenset(table.get("models", ())),
            labels=table.get("labels", {}),
            share=float(table.get("share", 1.0)),
            at_most=int(table.get("at_most", 4)),
        )

    @property
    def compare(self) -> Mapping[str, str]:
        """Commands that judge a model's artifacts instead of comparing bytes, by model: `[migration.compare]`."""
        found: Mapping[str, str] = self.table("migration").get("compare", {})
        return found

    def _stage(self, key: str) -> str | None:
        named = self.table("migration").get(key)
        return str(named) if named else None

    def table(self, name: str) -> Mapping[str, Any]:
        """Return the table of one backend; empty if it has none."""
        found: Mapping[str, Any] = self.tables.get(name, {})
        return found


def load(config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Config:
    """Read the configuration. Raises InvalidJob, listing every fault of it by file and key."""
    if isinstance(config, Mapping):
        return _checked(None, [("config", config)])
    source = Path(config) if config is not None else _repository_file()
    platform = Path(os.environ.get("LYFTLEARN_PLATFORM_CONFIG") or _PLATFORM_FILE)
    return _checked(source, [(str(path), _read(path)) for path in (platform, source) if path and _wanted(path, source)])


def _wanted(path: Path, source: Path | None) -> bool:
    return path == source or path.exists()


def _repository_file() -> Path | None:
    named = os.environ.get("LYFTLEARN_CONFIG")
    if named:
        return Path(named)
    here = Path.cwd()
    return next((path for folder in (here, *here.parents) if (path := folder / FILE).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InvalidJob([(str(path), f"cannot be read ({exc.strerror}): name a file that is there")]) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InvalidJob([(str(path), f"is not TOML: {exc}")]) from exc


def _checked(source: Path | None, layers: list[tuple[str, Mapping[str, Any]]]) -> Config:
    faults = [fault for origin, tables in layers for fault in _faults(origin, tables)]
    if faults:
        raise InvalidJob(faults)
    merged: dict[str, Any] = _ASSUMED
    for _, tables in layers:
        merged = _merge(merged, tables)
    return Config(source, merged)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _merge(under[key], over[key]) for key in under.keys() & over.keys() if _tables(under[key], over[key])}
    return {**under, **over, **both}


def _tables(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _faults(origin: str, tables: Mapping[str, Any]) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    for name, value in tables.items():
        where = f"{origin}: {name}"
        if name in _TEXTS:
            faults += _text_faults(where, value)
        elif not isinstance(value, Mapping):
            faults.append((where, f"is not known: write {', '.join(_TEXTS)}, or the table [{name}]"))
        elif name == "images":
            faults += image_faults(where, value)
        else:
            faults += _table_faults(where, value, _KNOWN.get(name))
    return faults


def _text_faults(where: str, value: Any) -> list[tuple[str, str]]:
    return [] if isinstance(value, str) and value else [(where, f"is {value!r}: write a text")]


def _table_faults(where: str, table: Mapping[str, Any], known: set[str] | None) -> list[tuple[str, str]]:
    faults = [
        (f"{where}.{key}", f"is not known: write {', '.join(sorted(known))}")
        for key in table
        if known is not None and key not in known
    ]
    for key in _DURATIONS & table.keys() if known else ():
        try:
            duration(table[key])
        except ValueError as exc:
            faults.append((f"{where}.{key}", str(exc)))
    faults.extend(
        (f"{where}.{key}", f"is {table[key]!r}, no stage: write one of {', '.join(_STAGE_NAMES)}")
        for key in (_STAGES & table.keys() if known else ())
        if table[key] not in _STAGE_NAMES
    )
    if known is _KNOWN["migration"]:
        faults += _shadow_faults(f"{where}.shadow", table.get("shadow", {}))
    return faults


def _shadow_faults(where: str, table: Any) -> list[tuple[str, str]]:
    if not isinstance(table, Mapping):
        return [(where, f"is {table!r}: write a table with {', '.join(sorted(_SHADOW))}")]
    unknown = [
        (f"{where}.{key}", f"is not known: write {', '.join(sorted(_SHADOW))}") for key in table.keys() - _SHADOW
    ]
    wanted = (
        ("models", _are_texts(table.get("models", [])), "write a list of names"),
        ("labels", _tables(table.get("labels", {})), "write a table of names and values"),
        ("share", _is_between(table.get("share", 1), 0, 1), "write a number from 0 to 1"),
        ("at_most", type(table.get("at_most", 1)) is int and table.get("at_most", 1) >= 0, "write a whole number"),
    )
    return unknown + [(f"{where}.{key}", f"is {table[key]!r}: {remedy}") for key, good, remedy in wanted if not good]


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def _is_between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
