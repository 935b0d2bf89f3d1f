"""Configuration: `lyftlearn.toml`, the platform's defaults under it, and the environment above it.

Tables are merged in this order, later ones win, key by key:

1. what lyftlearn assumes: the defaults in `keys`;
2. the platform's file, `/etc/lyftlearn/lyftlearn.toml`, or the one that `LYFTLEARN_PLATFORM_CONFIG` names;
3. the repository's `lyftlearn.toml`, found upwards from the working directory, or what `LYFTLEARN_CONFIG` names.

A mapping given to `Client(config=...)` stands for both files. A relative path in a file starts at that file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lyftlearn._contract.mounts import Mount
from lyftlearn._contract.options import read_options
from lyftlearn._text.redaction import remember_url
from lyftlearn.config import migrations
from lyftlearn.config.images import image_on
from lyftlearn.config.keys import TABLES, TOP
from lyftlearn.config.layers import FILE as FILE
from lyftlearn.config.layers import MOUNTS, Layer, merge, read_layers
from lyftlearn.config.mounts import mounts_on
from lyftlearn.config.spark import KUBERNETES, spark_spec
from lyftlearn.errors import InvalidJob

if TYPE_CHECKING:
    from lyftlearn._contract.spec_parts import SparkSpec

DEFAULT, SPARK = "default", "spark"
_ENVIRONMENT = {"home": "LYFTLEARN_HOME", "migration.flags": "LYFTLEARN_FLAGS"}


@dataclass(frozen=True)
class Shadow:
    """models, labels: declare jobs safe to run twice. share: of those, how many are. at_most: how many at once."""

    models: frozenset[str]
    labels: Mapping[str, str]
    share: float
    at_most: int


class Setting(NamedTuple):
    """One key with its value, as a person would write it, and where that comes from."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Config:
    """What was configured.

    source: the repository's file, None if there is none. tables: everything, merged. layers: which layer set a value,
    by its dotted key. migration: of `[migrations]`, the one that counts; None for that of `[migration]`.
    """

    source: Path | None
    tables: Mapping[str, Any]
    layers: Mapping[str, Layer] = field(default_factory=dict)
    migration: str | None = None

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        """The value of every key of ours, read once."""
        values, _ = read_options("", {option.key: self.tables.get(option.key, option.default) for option in TOP}, TOP)
        for name, options in TABLES.items():
            own, _ = read_options(name, self.table(name), options)
            values |= {f"{name}.{key}": value for key, value in own.items()}
        return values

    @property
    def home(self) -> Path:
        """Where this user's state and caches live: `LYFTLEARN_HOME`, or `home`, or `~/.lyftlearn`."""
        written = os.environ.get("LYFTLEARN_HOME") or self._values["home"]
        try:
            return Path(written).expanduser().absolute()
        except (RuntimeError, FileNotFoundError) as exc:
            raise InvalidJob([("home", f"{written!r} cannot be found ({exc}): set LYFTLEARN_HOME")]) from exc

    @property
    def project(self) -> str:
        """The name under which keys are unique: `project`, or the name of the directory that holds `lyftlearn.toml`."""
        named: str | None = self._values["project"]
        return named or (self.source.absolute().parent.name if self.source else "default")

    @property
    def backend(self) -> str:
        """Where jobs run when nobody says otherwise."""
        return str(self._values["backend"])

    @property
    def storage_url(self) -> str:
        """Where sources, claims and outputs live: `[storage] url`, or a directory in `home`."""
        url: str | None = self._values["storage.url"]
        return _as_url(url) if url else (self.home / "storage").as_uri()

    @property
    def output_url(self) -> str:
        """Where the outputs of jobs go, a directory each: `[jobs] output`, or `jobs` in the storage."""
        url: str | None = self._values["jobs.output"]
        return _as_url(url) if url else f"{self.storage_url}/jobs"

    @property
    def timeout(self) -> timedelta:
        """How long a job may run that asks for no timeout of its own: `[jobs] timeout`."""
        length: timedelta = self._values["jobs.timeout"]
        return length

    @property
    def grace(self) -> timedelta:
        """How long a job has between SIGTERM and SIGKILL: `[jobs] grace`."""
        length: timedelta = self._values["jobs.grace"]
        return length

    @property
    def image(self) -> str | None:
        """The platform's base image: `[jobs] image`."""
        named: str | None = self._values["jobs.image"]
        return named

    @property
    def tune_image(self) -> str | None:
        """The image that drives searches, if it is not the platform's base image: `[tune] image`."""
        named: str | None = self._values["tune.image"]
        return named

    @property
    def tune_timeout(self) -> timedelta:
        """How long a search may take: `[tune] timeout`."""
        length: timedelta = self._values["tune.timeout"]
        return length

    def image_on(self, backend: str, image: str | None) -> str | None:
        """Return what an image that a call names, or else the platform's base image, is called there: `[images]`."""
        named = image or self.image
        return image_on(backend, named, self.table("images")) if named else None

    @property
    def configured_spark(self) -> SparkSpec | None:
        """How Spark is configured in jobs whose image has it, whichever that is; None where it is not."""
        return spark_spec({**self._values, "spark.images": None}, None, None) if SPARK in self.tables else None

    def spark(self, image: str | None) -> SparkSpec | None:
        """Return how Spark is configured in a job whose call names `image`: `[spark]`; None where it is not."""
        if SPARK not in self.tables:
            return None
        executor_image = self.image_on(KUBERNETES, self._values["spark.image"] or image)
        return spark_spec(self._values, image or self.image, executor_image)

    @property
    def serve_command(self) -> tuple[str, ...]:
        """What serves a model where nobody says otherwise: `[serve] command`."""
        return tuple(self._values["serve.command"])

    @property
    def installs_requirements(self) -> bool:
        """Whether what a source requires is installed before its command starts: `[jobs] requirements`."""
        return bool(self._values["jobs.requirements"] == "auto")

    @property
    def package_index(self) -> str | None:
        """The index that packages come from: `[jobs] index`."""
        url: str | None = self._values["jobs.index"]
        return url

    @property
    def gitignore(self) -> bool:
        """Whether what `.gitignore` files name is left out of sources: `[jobs] gitignore`, true by default."""
        return bool(self._values["jobs.gitignore"])

    @property
    def owner(self) -> str:
        """Whose notebooks are opened: `owner`, or the operating system's user."""
        named: str | None = self._values["owner"]
        return named or _user_name()

    @property
    def repository(self) -> str | None:
        """The repository's name where version control does not tell it: `repository`."""
        named: str | None = self._values["repository"]
        return named

    @property
    def team(self) -> str | None:
        """Who owns the jobs, for targeting: `team`."""
        named: str | None = self._values["team"]
        return named

    @property
    def environment(self) -> str | None:
        """Such as "production" or "staging", for targeting: `environment`."""
        named: str | None = self._values["environment"]
        return named

    @property
    def migrations(self) -> Mapping[str, Config]:
        """What is configured for each of `[migrations]`, as if it counted, by its name."""
        return {name: replace(self, migration=name) for name in self.tables.get(migrations.MIGRATIONS, {})}

    @property
    def migration_from(self) -> str:
        """The old backend: `[migration] from`, else `backend`."""
        return str(self._values["migration.from"] or self.backend)

    @property
    def dashboard_url(self) -> str | None:
        """Where people open the dashboard: `[dashboard] url`. None means that nothing links to it."""
        url: str | None = self._values["dashboard.url"]
        return url

    @property
    def dashboard_access(self) -> Mapping[str, Sequence[str]]:
        """The users who see the jobs of each team: `[dashboard.access]`. Those of the team `*` see everything."""
        access: Mapping[str, Sequence[str]] = self._values["dashboard.access"]
        return access

    @property
    def migration_to(self) -> str | None:
        """The new backend: `[migration] to`. None means that nothing is migrated."""
        named: str | None = self._values["migration.to"]
        return named

    @property
    def migration_flag(self) -> str:
        """The key of the flag that names the stage: `[migration] flag`."""
        return str(self._values["migration.flag"])

    @property
    def flag_source(self) -> str | None:
        """Where the flag is evaluated without a provider of the host: `LYFTLEARN_FLAGS`, else `[migration] flags`."""
        return os.environ.get("LYFTLEARN_FLAGS") or self._values["migration.flags"]

    @property
    def migration_stage(self) -> str | None:
        """What the repository says where the flag is silent: `[migration] stage`."""
        stage: str | None = self._values["migration.stage"]
        return stage

    @property
    def migration_default(self) -> str | None:
        """What the platform says where the flag and the repository are silent: `[migration] default`."""
        stage: str | None = self._values["migration.default"]
        return stage

    @property
    def migration_ceiling(self) -> str | None:
        """The stage that nothing but the operator's override exceeds: `[migration] ceiling`."""
        stage: str | None = self._values["migration.ceiling"]
        return stage

    @property
    def kill_switch(self) -> str | None:
        """The file or object that keeps every job on the old backend: `[migration] kill_switch`."""
        place: str | None = self._values["migration.kill_switch"]
        return place

    @property
    def migration_cache(self) -> float:
        """Seconds for which an answer of the flag holds: `[migration] cache`."""
        return float(self._values["migration.cache"].total_seconds())

    @property
    def migration_budget(self) -> float:
        """Seconds that the flag has for an answer: `[migration] budget`."""
        return float(self._values["migration.budget"].total_seconds())

    @property
    def history_url(self) -> str:
        """Where submissions and ends go: `[history] url`, else `[migration] journal`, else a file in `home`."""
        written = self._values["history.url"] or self._values["migration.journal"]
        return str(written or self.file_url("history.sqlite"))

    def file_url(self, name: str) -> str:
        """Return the URL of a database in `home`, whose name may have what ends or quotes a path in a URL."""
        path = str(self.home / name).replace("%", "%25").replace("?", "%3F")
        return f"sqlite:///{path}"

    @property
    def records_history(self) -> bool:
        """Whether submissions and ends are written down: `[history] record`, true by default."""
        return bool(self._values["history.record"])

    @property
    def price_file(self) -> Path | None:
        """A file of prices by backend: `[cost] prices`."""
        written: str | None = self._values["cost.prices"]
        return Path(written).expanduser().absolute() if written else None

    @property
    def journal_url(self) -> str:
        """Where version 1.0 wrote rehearsals and outcomes: `[migration] journal`, else a file in `home`."""
        return str(self._values["migration.journal"] or self.file_url("journal.sqlite"))

    @property
    def shadow(self) -> Shadow:
        """Which jobs may run twice, and how many: `[migration.shadow]`."""
        return Shadow(
            models=frozenset(self._values["migration.shadow.models"]),
            labels=self._values["migration.shadow.labels"],
            share=self._values["migration.shadow.share"],
            at_most=self._values["migration.shadow.at_most"],
        )

    @property
    def autopilot(self) -> Mapping[str, Any]:
        """What stands in `[autopilot]`, by its keys."""
        start = "autopilot."
        return {key.removeprefix(start): value for key, value in self._values.items() if key.startswith(start)}

    @property
    def compare(self) -> Mapping[str, str]:
        """Commands that judge a model's artifacts instead of comparing bytes, by model: `[migration.compare]`."""
        commands: Mapping[str, str] = self._values["migration.compare"]
        return commands

    def mounts(self, backend: str = "") -> tuple[Mount, ...]:
        """Return the file systems that jobs see by themselves, as `backend` mounts them: `[mounts]`."""
        table = self.table(MOUNTS)
        folders = {name: self.folders(f"{MOUNTS}.{name}.{backend}") for name in table}
        return mounts_on(backend, table, {name: next(iter(of.values())) for name, of in folders.items() if of})

    def table(self, name: str) -> Mapping[str, Any]:
        """Return the table of one backend; empty if it has none."""
        if name == "migration" and self.migration is not None:
            return migrations.table_of(self.tables, self.migration)
        table: Mapping[str, Any] = self.tables.get(name, {})
        return table

    def folders(self, name: str) -> dict[str, Path]:
        """Return, for each key of a backend's table, the directory where its relative paths start."""
        return {
            key.removeprefix(f"{name}.").split(".")[0]: layer.folder
            for key, layer in self.layers.items()
            if key.startswith(f"{name}.") and layer.folder is not None
        }

    def origin(self, key: str) -> str:
        """Return what set a dotted key: a variable of the environment, a file, `config`, or `default`."""
        variable = _ENVIRONMENT.get(key, "")
        if os.environ.get(variable):
            return variable
        own = key.replace("migration.", f"migrations.{self.migration}.", 1) if key.startswith("migration.") else key
        layer = (
            self.layers.get(own)
            or self.layers.get(key)
            or next((of for name, of in self.layers.items() if name.startswith(f"{key}.")), None)
        )
        return layer.origin if layer else DEFAULT

    def settings(self) -> list[Setting]:
        """Return every key of ours and all that is set for backends, in the order of the reference page."""
        effective = {
            "project": self.project,
            "home": str(self.home),
            "owner": self.owner,
            "storage.url": self.storage_url,
            "jobs.output": self.output_url,
            "migration.from": self.migration_from,
            "migration.flags": self.flag_source,
            "history.url": self.history_url,
        }
        declared = [*TOP_KEYS, *(f"{name}.{option.key}" for name, options in TABLES.items() for option in options)]
        rest = [key for key in self.layers if not any(key == one or key.startswith(f"{one}.") for one in declared)]
        return [Setting(key, effective.get(key, self._as_written(key)), self.origin(key)) for key in [*declared, *rest]]

    def _as_written(self, key: str) -> Any:
        value: Any = self.tables
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return _DEFAULTS.get(key) if value is None else value


TOP_KEYS = tuple(option.key for option in TOP)
_DEFAULTS = {option.key: option.default for option in TOP} | {
    f"{name}.{option.key}": option.default for name, options in TABLES.items() for option in options
}


def load(config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Config:
    """Read the configuration. Raises InvalidJob, listing every fault of it by file and key."""
    source, layers = read_layers(config)
    tables, origins = merge(layers)
    found = Config(source, tables, origins)
    found = replace(found, migration=migrations.chosen(tables, found.backend))
    for url in (found.flag_source, found.history_url, found.journal_url, found.storage_url):
        remember_url(url)
    return found


def _user_name() -> str:
    import getpass  # noqa: PLC0415 - only where nothing is configured

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid-{os.getuid()}"


def _as_url(written: str) -> str:
    """Return `file://` of a path, and a URL as it is, without a `/` at the end."""
    return written.rstrip("/") if "://" in written else Path(written).expanduser().absolute().as_uri()
