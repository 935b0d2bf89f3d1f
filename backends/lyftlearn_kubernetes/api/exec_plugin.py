"""Tokens from a program that the kubeconfig names, as EKS and GKE do: protocol client.authentication.k8s.io."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import AccessDenied

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_EARLY = timedelta(seconds=60)
_NEVER = datetime.max.replace(tzinfo=UTC)
_PATIENCE = 120


class ExecPlugin:
    """Gives the program's token, and asks it again when the token is about to expire or was refused."""

    def __init__(self, plugin: Mapping[str, Any]) -> None:
        self._plugin = plugin
        self._command = str(plugin.get("command"))
        self._lock = threading.Lock()
        self._header: str | None = None
        self._expires = _NEVER

    def __call__(self, refused: str | None) -> str:
        """Return the value of `Authorization`, another one than the one that was refused."""
        with self._lock:
            if self._header in (None, refused) or datetime.now(UTC) > self._expires - _EARLY:
                self._header, self._expires = self._ask()
            return str(self._header)

    def _ask(self) -> tuple[str, datetime]:
        status = self._answer().get("status") or {}
        if not status.get("token"):
            raise AccessDenied(f"{self._command} of the kubeconfig gave no token; certificates cannot be used here")
        expires = status.get("expirationTimestamp")
        return f"Bearer {status['token']}", datetime.fromisoformat(expires) if expires else _NEVER

    def _answer(self) -> dict[str, Any]:
        plugin, version = self._plugin, self._plugin.get("apiVersion")
        if version not in _VERSIONS:
            raise AccessDenied(f"{self._command} of the kubeconfig speaks {version}, not {_VERSIONS[0]}")
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        own = {variable["name"]: variable["value"] for variable in plugin.get("env") or ()}
        try:
            answer = subprocess.run(
                [self._command, *(plugin.get("args") or ())],
                env={**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=_PATIENCE,
            )
            document: dict[str, Any] = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as exc:
            raise AccessDenied(f"{self._command} of the kubeconfig gave no credentials: {_why(exc)}") from exc
        return document


def _why(exc: Exception) -> str:
    said = getattr(exc, "stderr", None)
    return said.decode(errors="replace").strip()[-300:] if said else str(exc)
