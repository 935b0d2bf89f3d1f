"""Where rungs are kept: in a flag file, or with a provider of flags by a plugin.

A plugin registers, under the entry-point group `lyftlearn.rung_stores`, a callable that takes the `Config` and returns
a `RungStore`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lyftlearn._migration import flag_writer, rungs
from lyftlearn._migration.rungs import Rung, Subject
from lyftlearn._text.display import reason_of
from lyftlearn._text.redaction import redact_causes
from lyftlearn.errors import BackendUnavailable, InvalidJob, LyftLearnError
from lyftlearn.rollout import flag_providers

if TYPE_CHECKING:
    from lyftlearn.config import Config

GROUP = "lyftlearn.rung_stores"
ONE_FLAG = "lyftlearn-migration"
"""The flag of a migration that is the only one: `[migration] flag` by default."""


def _name(keeper: str, flag: str) -> str:
    """Return by what rungs are remembered: migrations that share a file, each with its flag, know nothing of others."""
    return keeper if flag == ONE_FLAG else f"{keeper}#{flag}"


class RungStore(Protocol):
    """Keeps which models stand on which rung. name: what audit entries call it."""

    name: str

    def read(self) -> Mapping[Subject, Rung]:
        """Return the rungs as flags have them now. Raises LyftLearnError or OSError."""
        ...

    def change(self, steps: Mapping[Subject, tuple[Rung | None, Rung]]) -> frozenset[Subject]:
        """Move models, all at once, each from the rung that it was read on to another; None: it was on none.

        Return those that were moved. Others stand elsewhere by now: somebody changed them meanwhile. After an error,
        all or none may have been moved.
        """
        ...


class FileStore:
    """Rungs in a flagd definition file."""

    def __init__(self, path: Path, flag: str) -> None:
        self.name = _name(str(path), flag)
        self._path = path
        self._flag = flag

    def read(self) -> Mapping[Subject, Rung]:
        """Return the rungs as the file has them."""
        return rungs.rungs_in(flag_writer.read(self._path).document, self._flag)

    def change(self, steps: Mapping[Subject, tuple[Rung | None, Rung]]) -> frozenset[Subject]:
        """Move models, by one write of the file; whoever changes it meanwhile makes this one read it again."""
        for _ in range(5):
            file = flag_writer.read(self._path)
            found = rungs.rungs_in(file.document, self._flag)
            moved = {subject: after for subject, (before, after) in steps.items() if found.get(subject) is before}
            if not moved:
                return frozenset()
            document = rungs.with_rungs(file.document, self._flag, found | moved)
            if flag_writer.replace(file, document) is not None:
                return frozenset(moved)
        raise BackendUnavailable(f"{self._path} changes all the time: try again")


class PluginStore:
    """What a plugin keeps. A plugin may raise anything: nobody sees a traceback for it."""

    def __init__(self, plugin: str, store: RungStore, flag: str = ONE_FLAG) -> None:
        self._plugin = plugin
        self._store = store
        with _plugin_errors(plugin):
            self.name = _name(str(store.name), flag)

    def read(self) -> Mapping[Subject, Rung]:
        """Return the rungs as the plugin has them."""
        with _plugin_errors(self._plugin):
            found = self._store.read().items()
            return {(str(repository), str(model)): Rung(rung) for (repository, model), rung in found}

    def change(self, steps: Mapping[Subject, tuple[Rung | None, Rung]]) -> frozenset[Subject]:
        """Let the plugin move models."""
        with _plugin_errors(self._plugin):
            return frozenset(self._store.change(steps))


@dataclass
class NoRungs:
    """In the place of a store that cannot be read."""

    name: str

    def read(self) -> Mapping[Subject, Rung]:
        """Return nothing."""
        return {}

    def change(self, steps: Mapping[Subject, tuple[Rung | None, Rung]]) -> frozenset[Subject]:  # noqa: ARG002
        """Move nothing."""
        return frozenset()


def open_for_reading(config: Config) -> tuple[RungStore, str | None]:
    """Return what keeps the rungs, for whoever only looks; where it cannot be read, no rungs, and why."""
    path = flag_providers.file_named(config.flag_source) if config.flag_source else None
    if path is None and not config.autopilot["writer"]:
        return NoRungs(config.flag_source or ""), None
    try:
        store = open_store(config)
        store.read()
    except (LyftLearnError, OSError) as exc:
        return NoRungs("" if path is None else _name(str(path), config.migration_flag)), str(exc)
    return store, None


def open_store(config: Config) -> RungStore:
    """Return what keeps the rungs. Raises InvalidJob where nothing does, and LyftLearnError for a broken plugin."""
    if name := config.autopilot["writer"]:
        return _plugin(str(name), config)
    path = flag_providers.file_named(config.flag_source) if config.flag_source else None
    if path is None:
        seen = "names a service, which cannot be written to" if config.flag_source else "is not set"
        problem = f"{seen}: name a flagd file, or a plugin in [autopilot] writer"
        raise InvalidJob([("[migration] flags", problem)])
    return FileStore(path, config.migration_flag)


def _plugin(name: str, config: Config) -> RungStore:
    from importlib.metadata import entry_points  # noqa: PLC0415 - only where one is configured

    found = entry_points(group=GROUP, name=name)
    if not found:
        raise InvalidJob([("[autopilot] writer", f"no installed plugin registers {name!r} under {GROUP}: install it")])
    with _plugin_errors(name):
        return PluginStore(name, next(iter(found)).load()(config), config.migration_flag)


@contextmanager
def _plugin_errors(plugin: str) -> Iterator[None]:
    """Turn whatever a plugin raises into an error that says whose it is."""
    try:
        yield
    except LyftLearnError:
        raise
    except OSError as exc:  # it reached for something: a service, a file
        problem = f"the plugin {plugin!r} of [autopilot] writer gets no answer: {reason_of(exc)}"
        raise BackendUnavailable(problem) from redact_causes(exc)
    except Exception as exc:  # noqa: BLE001 - raised again, as what it means
        problem = f"the plugin {plugin!r} of [autopilot] writer cannot be used: {type(exc).__name__}: {exc}"
        raise LyftLearnError(problem) from redact_causes(exc)
