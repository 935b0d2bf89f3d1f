"""Where a flag is evaluated: the host's OpenFeature provider, a flagd file in this process, or a service."""

from __future__ import annotations

import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lyftlearn._storage import local_path
from lyftlearn._text.redaction import remember_url, shown_url
from lyftlearn._text.small_file import read_small_text

if TYPE_CHECKING:
    from openfeature.evaluation_context import EvaluationContext

DOMAIN = "lyftlearn"
TIMESTAMP, MOMENT = "$flagd.timestamp", "lyftlearnMoment"
_OFREP_OF_FLAGD = 8016  # flagd's default for --ofrep-port
_LONGEST_PAUSE = timedelta(minutes=1)
_NO_PROVIDER = "No-op Provider"  # what OpenFeature has before anybody sets one


@dataclass(frozen=True)
class Resolution:
    """What a provider resolved a flag to: OpenFeature's value, reason and variant."""

    value: str
    reason: str
    variant: str | None


class FlagProvider(ABC):
    """Something that evaluates flags. immediate: it asks nobody outside this process."""

    name: str
    immediate = False

    @abstractmethod
    def resolve(self, flag: str, attributes: Mapping[str, Any]) -> Resolution:
        """Evaluate; may raise anything."""

    def note(self) -> str:
        """Return what a reader of its answer should know, or nothing."""
        return ""


class _Host(FlagProvider):
    """The provider that the host application set, with its hooks and context."""

    name = "OpenFeature provider"

    def resolve(self, flag: str, attributes: Mapping[str, Any]) -> Resolution:
        from openfeature import api  # noqa: PLC0415 - the host has imported it

        details = api.get_client(DOMAIN).get_string_details(flag, "unset", _context(attributes))
        if details.error_code is not None:
            raise LookupError(details.error_message or str(details.error_code))
        return Resolution(details.value, str(details.reason or "UNKNOWN"), details.variant)


class _File(FlagProvider):
    """A flagd definition file, evaluated here, read again when it changes; a broken one keeps the last good one."""

    immediate = True

    def __init__(self, path: Path) -> None:
        from openfeature.contrib.tools.flagd.core import FlagdCore  # noqa: PLC0415 - 60 ms, only for such files

        self.name = str(path)
        self._path = path
        self._core = FlagdCore()
        self._read_at: tuple[int, int, int] | None = None
        self._trouble = ""
        self._reading = threading.Lock()

    def resolve(self, flag: str, attributes: Mapping[str, Any]) -> Resolution:
        with self._reading:
            self._reread()
            details = self._core.resolve_string_value(flag, "unset", _context(attributes))
        return Resolution(details.value, str(details.reason or "UNKNOWN"), details.variant)

    def note(self) -> str:
        return f" ({self._trouble}; the last good one counts)" if self._trouble else ""

    def _definition(self) -> str:
        return read_small_text(self._path)

    def _reread(self) -> None:
        try:
            found = self._path.stat()
            signature = (found.st_mtime_ns, found.st_size, found.st_ino)
            if signature == self._read_at:
                return
            self._core.set_flags(self._definition())
        except Exception as exc:
            if self._read_at is None:
                raise
            self._trouble = f"the file is broken: {exc}"
        else:
            self._read_at, self._trouble = signature, ""


class FileAtMoments(_File):
    """A flagd definition file as it answers at any second, which the attribute `MOMENT` names."""

    def _definition(self) -> str:
        return super()._definition().replace(f'"{TIMESTAMP}"', f'"{MOMENT}"')


class _Service(FlagProvider):
    """A service that speaks OFREP, the OpenFeature Remote Evaluation Protocol."""

    def __init__(self, url: str, timeout: float) -> None:
        remember_url(url)
        self.name = shown_url(url)
        self._url = url
        self._timeout = timeout
        self._providers: dict[int, Any] = {}

    def resolve(self, flag: str, attributes: Mapping[str, Any]) -> Resolution:
        provider = self._provider()
        details = provider.resolve_string_details(quote(flag, safe=""), "unset", _context(attributes))
        return Resolution(details.value, str(details.reason or "UNKNOWN"), details.variant)

    def _provider(self) -> Any:
        """Return this process's provider: a forked child must not speak on its parent's connections."""
        from openfeature.contrib.provider.ofrep import OFREPProvider  # noqa: PLC0415 - brings requests

        from lyftlearn.rollout.bounded_session import BoundedSession  # noqa: PLC0415 - brings requests

        process = os.getpid()
        if process not in self._providers:
            made = OFREPProvider(self._url, timeout=self._timeout)
            made.session = BoundedSession(self._timeout)
            self._providers[process] = made
        provider = self._providers[process]
        provider.retry_after = _nearest(provider.retry_after)
        return provider


def _nearest(retry_after: datetime | None) -> datetime | None:
    """Return when a service may be asked again: what it says, but never more than a minute from now."""
    if retry_after is None:
        return None
    aware = retry_after if retry_after.tzinfo else retry_after.replace(tzinfo=UTC)
    return min(aware, datetime.now(UTC) + _LONGEST_PAUSE)


def host_provider() -> FlagProvider | None:
    """Return the host application's provider, if it has set one; costs nothing where it has not loaded OpenFeature."""
    if "openfeature.api" not in sys.modules:
        return None
    from openfeature import api  # noqa: PLC0415 - the host has imported it

    return None if api.get_provider_metadata(DOMAIN).name == _NO_PROVIDER else _Host()


def provider_from_url(flags: str, timeout: float) -> FlagProvider:
    """Return the source that a configuration names: a path, `http(s)://` of an OFREP service, or `flagd://host[:port]`.

    timeout: seconds that a service has for an answer. May raise, for a broken installation or address.
    """
    if flags.startswith(("http://", "https://")):
        return _Service(flags, timeout)
    if flags.startswith("flagd://"):
        host, _, port = flags.removeprefix("flagd://").partition(":")
        return _Service(f"http://{host}:{port or _OFREP_OF_FLAGD}", timeout)
    if "://" in flags and not flags.startswith("file://"):
        raise ValueError(f"{shown_url(flags)} is no source of flags: write a file, http(s):// or flagd://")
    return _File(_path(flags))


def file_named(flags: str) -> Path | None:
    """Return the flagd definition file that a configuration names, or None where it names a service."""
    return None if "://" in flags and not flags.startswith("file://") else _path(flags)


def _path(flags: str) -> Path:
    return local_path(os.path.expandvars(flags))


def _context(attributes: Mapping[str, Any]) -> EvaluationContext:
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415 - its caller has loaded OpenFeature

    given = {name: value for name, value in attributes.items() if value is not None}
    return EvaluationContext(targeting_key=str(attributes["model"]), attributes=given)
