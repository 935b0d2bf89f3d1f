"""Who asks, as the header `Authorization`: tokens, files of tokens, programs that give tokens, passwords."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Credentials: TypeAlias = "Callable[[str | None], str | None]"
"""Gives the header's value, None for nobody; another one, if there is, than the one that was refused."""

REREAD = 60.0  # seconds: the tokens of pods are replaced while they are used


def credentials(user: Mapping[str, Any]) -> Credentials:
    """Return the credentials of a kubeconfig's user, in kubectl's order of precedence."""
    if user.get("tokenFile"):
        return TokenFile(Path(user["tokenFile"]))
    if user.get("token"):
        return _constant(f"Bearer {user['token']}")
    if user.get("exec"):
        from lyftlearn_kubernetes.api.exec_plugin import ExecPlugin  # noqa: PLC0415 - only for those who have one

        return ExecPlugin(user["exec"])
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        return _constant(f"Basic {base64.b64encode(pair.encode()).decode()}")
    if user.get("auth-provider"):
        raise LyftLearnError("the kubeconfig has an auth-provider, which Kubernetes gave up: use its exec plugin")
    return _constant(None)


def _constant(header: str | None) -> Credentials:
    return lambda _: header


class TokenFile:
    """A token that others replace in its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._header: str | None = None
        self._until = 0.0

    def __call__(self, refused: str | None) -> str | None:
        """Return the value of `Authorization`, another one than the one that was refused."""
        with self._lock:
            if self._header in (None, refused) or time.monotonic() > self._until:
                self._header, self._until = self._read(), time.monotonic() + REREAD
            return self._header

    def _read(self) -> str:
        try:
            return f"Bearer {self._path.read_text(encoding='utf-8').strip()}"
        except OSError as exc:
            raise LyftLearnError(f"the token in {self._path} cannot be read: {exc.strerror}") from exc
