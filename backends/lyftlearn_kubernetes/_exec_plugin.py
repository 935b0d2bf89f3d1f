"""Tokens from a program that the kubeconfig names, as EKS and GKE do: protocol client.authentication.k8s.io."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2

from lyftlearn.errors import AccessDenied

if TYPE_CHECKING:
    from collections.abc import Generator

    from lightkube.config.models import UserExec

_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_EARLY = timedelta(seconds=60)
_NEVER = datetime.max.replace(tzinfo=UTC)
_PATIENCE = 120
_UNAUTHORIZED = 401


class ExecPlugin(httpx2.Auth):
    """Adds the program's token, and asks it again when the token is about to expire or was refused."""

    def __init__(self, plugin: UserExec) -> None:
        self._plugin = plugin
        self._lock = threading.Lock()
        self._token: str | None = None
        self._expires = _NEVER

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send `request` with a token; once more with a new one if the cluster refuses it."""
        token = self._current(None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == _UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self._current(token)}"
            yield request

    def _current(self, refused: str | None) -> str:
        with self._lock:
            if self._token in (None, refused) or datetime.now(UTC) > self._expires - _EARLY:
                self._token, self._expires = self._ask()
            return str(self._token)

    def _ask(self) -> tuple[str, datetime]:
        status = self._answer().get("status") or {}
        if not status.get("token"):
            raise AccessDenied(
                f"{self._plugin.command} of the kubeconfig gave no token; certificates cannot be used here"
            )
        expires = status.get("expirationTimestamp")
        return status["token"], datetime.fromisoformat(expires) if expires else _NEVER

    def _answer(self) -> dict[str, Any]:
        plugin = self._plugin
        if plugin.apiVersion not in _VERSIONS:
            raise AccessDenied(f"{plugin.command} of the kubeconfig speaks {plugin.apiVersion}, not {_VERSIONS[0]}")
        info = {"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
        own = {variable.name: variable.value for variable in plugin.env or ()}
        try:
            answer = subprocess.run(
                [plugin.command, *(plugin.args or ())],
                env={**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=_PATIENCE,
            )
            document: dict[str, Any] = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as exc:
            raise AccessDenied(f"{plugin.command} of the kubeconfig gave no credentials: {_why(exc)}") from exc
        return document


def _why(exc: Exception) -> str:
    said = getattr(exc, "stderr", None)
    return said.decode(errors="replace").strip()[-300:] if said else str(exc)
