"""The checks of `doctor`. One that gets no answer holds up the others for a bounded time only."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from lyftlearn._client import Client
from lyftlearn._storage import Storage, open_storage
from lyftlearn.backend import Check, Verdict
from lyftlearn.config import Config
from lyftlearn.config.layers import PLATFORM_FILE
from lyftlearn.errors import LyftLearnError
from lyftlearn.ops import flag_file
from lyftlearn.rollout import in_use

SECONDS = 20.0
"""Seconds for all checks together. They run at once."""
_PROBE = "doctor/probe"
_Checks: TypeAlias = Callable[[], Iterator[Check]]


def doctor(
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    seconds: float = SECONDS,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[Check]:
    """Yield the checks of Python, configuration, storage, flag and history, and those of each backend in use.

    seconds: how long all of them may take together; a check that has not answered by then has failed. on_wait: is
    called with the names of the checks that have not answered yet.
    """
    yield Check("python", Verdict.OK, f"{platform.python_version()} at {sys.executable}")
    client = Client(config=config)
    try:
        found: Config = client._config  # noqa: SLF001 - the client's other half
    except LyftLearnError as exc:
        yield Check("configuration", Verdict.FAILED, str(exc))
        return
    yield _configuration(found)
    yield from _migrations(found)
    until = time.monotonic() + seconds
    sections = [_Section(name, checks) for name, checks in _sections(client, found).items()]
    for section in sections:
        if on_wait is not None:
            on_wait(section.name)
        yield from section.results(until, seconds)


@dataclass
class _Section:
    """Checks that run in a thread of their own, because some ask a network that may never answer."""

    name: str
    checks: _Checks
    _found: SimpleQueue[Check | None] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._run, daemon=True, name=f"doctor-{self.name}").start()

    def results(self, until: float, seconds: float) -> Iterator[Check]:
        """Yield each check as soon as it is there. A check that is not there in time has failed."""
        while True:
            try:
                check = self._found.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                detail = f"no answer within {seconds:g} s: is there a network, and is the address right?"
                yield Check(self.name, Verdict.FAILED, detail)
                return
            if check is None:
                return
            yield check

    def _run(self) -> None:
        try:
            for check in self.checks():
                self._found.put(check)
        except Exception as exc:  # noqa: BLE001 - a plugin may raise anything, and the others are looked at all the same
            self._found.put(Check(self.name, Verdict.FAILED, str(exc) or type(exc).__name__))
        self._found.put(None)


def _sections(client: Client, config: Config) -> dict[str, _Checks]:
    sections: dict[str, _Checks] = {"storage": lambda: _storage(config.storage_url)}
    alone = {"": config} if config.migration_to and config.migration is None else {}
    for name, one in {**alone, **config.migrations}.items():
        sections[f"flag {name}".strip()] = partial(flag_file.checks, one.flag_source, one.migration_flag)
    if config.records_history:
        sections["history"] = lambda: _history(client)
    used = {name for one in (config, *config.migrations.values()) for name in in_use(one)}
    names = sorted({*used, *filter(config.table, client._registry.names())})  # noqa: SLF001
    return sections | {f"backend {name}": _of_backend(client, name) for name in names}


def _configuration(config: Config) -> Check:
    origin = str(config.source) if config.source else "no lyftlearn.toml from here upwards: defaults"
    platform_file = Path(os.environ.get("LYFTLEARN_PLATFORM_CONFIG") or PLATFORM_FILE)
    under = f"over {platform_file}" if platform_file.is_file() else f"no platform file at {platform_file}"
    return Check("configuration", Verdict.OK, f"{origin}, {under}; project {config.project!r}, state in {config.home}")


def _migrations(config: Config) -> Iterator[Check]:
    """Say which of several migrations the jobs of this configuration are in."""
    for name, one in config.migrations.items():
        counts = "counts here" if name == config.migration else f"counts where `backend` is {one.migration_from}"
        pair = f"{one.migration_from} to {one.migration_to}, flag {one.migration_flag!r}"
        yield Check(f"migration {name}", Verdict.OK, f"{pair}: {counts}")


def _storage(url: str) -> Iterator[Check]:
    problem = _probe(open_storage(url))
    if problem:
        yield Check("storage", Verdict.FAILED, f"{url}: {problem}")
    else:
        yield Check("storage", Verdict.OK, f"{url}: written, read back, and conditions kept")


def _probe(storage: Storage) -> str | None:
    """Write one record, the same for every doctor, and return what the storage did wrong, or None."""
    wrote = os.urandom(16).hex().encode()
    storage.create(_PROBE, b"")
    before = storage.read(_PROBE)
    if before is None:
        return "what was written is not there: use a store that reads its own writes"
    if storage.create(_PROBE, wrote):
        return (
            "it writes over what is there when told not to, so keys are not exact: use a store with conditional writes"
        )
    storage.replace(_PROBE, wrote, before.version)
    after = storage.read(_PROBE)
    return None if after and after.data != before.data else "a record cannot be replaced"


def _history(client: Client) -> Iterator[Check]:
    """Make the tables of the history where they are missing, and read it."""
    import sqlalchemy as sa  # noqa: PLC0415 - only for the history
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from lyftlearn.history.tables import jobs  # noqa: PLC0415 - brings SQLAlchemy

    try:
        history = client._session.history.history()  # noqa: SLF001 - the client's other half
        counted = history.select(sa.select(sa.func.count().label("jobs")).select_from(jobs))
    except (SQLAlchemyError, OSError, ImportError, ValueError, LyftLearnError) as exc:
        line = next(iter(str(exc).splitlines()), type(exc).__name__)
        yield Check("history", Verdict.FAILED, f"cannot be used, so nothing of jobs and migrations is recorded: {line}")
    else:
        yield Check("history", Verdict.OK, f"{counted[0]['jobs']:,} jobs in it")


def _of_backend(client: Client, name: str) -> _Checks:
    def checks() -> Iterator[Check]:
        backend = client._registry.get(name)  # noqa: SLF001 - the client's other half
        yield Check(f"backend {name}", Verdict.OK, "loads")
        for check in backend.diagnose():
            yield Check(f"{name}: {check.name.removeprefix(f'{name}: ')}", check.verdict, check.detail)

    return checks
