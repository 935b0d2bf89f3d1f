"""Who asks: the header `Authorization` from tokens, files, programs and passwords, and whom the asker stands for."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn.backend import read_small_text, redaction
from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.process_lock import ProcessLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Credentials: TypeAlias = "Callable[[str | None], str | None]"
"""Gives the header's value, None for nobody; another one, if there is, than the one that was refused."""

REREAD = 60.0  # seconds: the tokens of pods are replaced while they are used
_TOKEN = re.compile(r"[\x21-\x7e]+")
_NOT_IN_A_HEADERS_NAME = rb"[^!#$&'*+.^_`|~0-9A-Za-z-]"  # RFC 9110's tchar without "%", as client-go


def credentials(user: Mapping[str, Any], cluster: Mapping[str, Any]) -> Credentials:
    """Return the credentials of a kubeconfig's user, in kubectl's order of precedence."""
    if user.get("tokenFile"):
        return TokenFile(Path(user["tokenFile"]))
    if user.get("token"):
        return _constant(bearer(user["token"], "the token of the kubeconfig"))
    if user.get("exec"):
        from lyftlearn_kubernetes.api.exec_plugin import ExecPlugin  # noqa: PLC0415 - only for those who have one

        return ExecPlugin(user["exec"], cluster)
    if user.get("username"):
        password = user.get("password") or ""
        pair = base64.b64encode(f"{user['username']}:{password}".encode()).decode()
        redaction.remember(password, pair)
        return _constant(f"Basic {pair}")
    if user.get("auth-provider"):
        raise LyftLearnError("the kubeconfig has an auth-provider, which Kubernetes gave up: use its exec plugin")
    return _constant(None)


def bearer(token: str, where: str) -> str:
    """Return a token as the header has it. The token is never shown: LyftLearnError says where it comes from."""
    if not _TOKEN.fullmatch(token):
        raise LyftLearnError(f"{where} cannot be sent: it is empty, or has a line's end or another odd character in it")
    redaction.remember(token)
    return f"Bearer {token}"


def _constant(header: str | None) -> Credentials:
    return lambda _: header


class TokenFile:
    """A token that others replace in its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = ProcessLock()
        self._header: str | None = None
        self._until = 0.0

    def __call__(self, refused: str | None) -> str | None:
        """Return the value of `Authorization`, another one than the one that was refused."""
        with self._lock:
            if self._header in (None, refused) or time.monotonic() > self._until:
                self._renew()
            return self._header

    def _renew(self) -> None:
        """Read the file. One that is just being replaced leaves the old token in use."""
        try:
            self._header, self._until = self._read(), time.monotonic() + REREAD
        except LyftLearnError:
            if self._header is None:
                raise

    def _read(self) -> str:
        try:
            token = read_small_text(self._path).strip()
        except OSError as exc:
            raise LyftLearnError(f"the token in {self._path} cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError:
            raise LyftLearnError(f"the token in {self._path} cannot be read: it is no text") from None
        return bearer(token, f"the token in {self._path}")


class Impersonation:
    """The headers with which a user asks as somebody else, often with fewer rights, as a kubeconfig's `as` has it.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """

    def __init__(self, lines: list[tuple[str, bytes]]) -> None:
        self._lines = lines

    def added_to(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers of a request with these; some of them come several times."""
        return _HeaderLines(headers, self._lines) if self._lines else headers


class _HeaderLines(dict[str, Any]):
    def __init__(self, headers: Mapping[str, str], lines: list[tuple[str, bytes]]) -> None:
        super().__init__(headers)
        self._lines = lines

    def items(self) -> Any:
        return [*super().items(), *self._lines]


def impersonation(user: Mapping[str, Any]) -> Impersonation:
    """Return whom a kubeconfig's user stands for. Raises LyftLearnError where that cannot be said in headers."""
    lines = [(name, value.encode()) for name, value in _impersonation_lines(user)]
    if lines and not user.get("as"):
        raise LyftLearnError("the kubeconfig's user has as-groups, as-uid or as-user-extra, which need `as`")
    for name, value in lines:
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise LyftLearnError(f"the kubeconfig's user cannot be sent: {name} has a control character in it")
    return Impersonation(lines)


def _impersonation_lines(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if user.get("as"):
        yield "Impersonate-User", user["as"]
    if user.get("as-uid"):
        yield "Impersonate-Uid", user["as-uid"]
    yield from (("Impersonate-Group", group) for group in user.get("as-groups") or ())
    for key, values in (user.get("as-user-extra") or {}).items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise LyftLearnError(f"the kubeconfig's user cannot be used: as-user-extra.{key} has to be a list of texts")
        yield from ((f"Impersonate-Extra-{_header_name(str(key))}", value) for value in values)


def _header_name(key: str) -> str:
    """Return `key` as a part of a header's name, percent-encoded as client-go does."""
    return re.sub(_NOT_IN_A_HEADERS_NAME, lambda match: b"%%%02X" % match[0][0], key.encode()).decode()
