"""Tokens from a program that the kubeconfig names, as EKS and GKE do: protocol client.authentication.k8s.io."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import read_small_file, redaction
from lyftlearn.errors import AccessDenied, LyftLearnError
from lyftlearn_kubernetes.api.credentials import bearer
from lyftlearn_kubernetes.api.process_lock import ProcessLock

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_CONFIGURATION = "client.authentication.k8s.io/exec"  # the cluster's extension that is meant for the program
_TOLD_OF_CLUSTER = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
_EARLY = timedelta(seconds=60)
_NEVER = datetime.max.replace(tzinfo=UTC)
_PATIENCE = 120
_LONGEST_HINT = 1000  # characters


class ExecPlugin:
    """Gives the program's token, and asks it again when the token is about to expire or was refused."""

    def __init__(self, plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> None:
        self._plugin = plugin
        self._cluster = cluster
        self._command = str(plugin.get("command") or "")
        self._lock = ProcessLock()
        self._header: str | None = None
        self._expires = _NEVER
        self._check()

    def __call__(self, refused: str | None) -> str:
        """Return the value of `Authorization`, another one than the one that was refused."""
        with self._lock:
            if self._header in (None, refused) or datetime.now(UTC) + _EARLY > self._expires:
                self._header, self._expires = self._token()
            return str(self._header)

    def _check(self) -> None:
        version, mode = self._plugin.get("apiVersion"), self._plugin.get("interactiveMode")
        if not self._command:
            raise LyftLearnError("the kubeconfig's exec plugin has no command")
        if version not in _VERSIONS:
            raise AccessDenied(f"{self._command} of the kubeconfig speaks {version}, not {_VERSIONS[0]}")
        if mode not in (None, "Never", "IfAvailable"):
            raise AccessDenied(f"{self._command} of the kubeconfig needs a terminal: interactiveMode is {mode}")
        for entry in self._plugin.get("env") or ():
            if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "value")):
                raise LyftLearnError("the kubeconfig's exec plugin: each entry of env needs name and value, as texts")

    def _token(self) -> tuple[str, datetime]:
        status = self._status()
        token, expires = status.get("token"), status.get("expirationTimestamp")
        if not token:
            raise self._failure("it gave no token; certificates of plugins cannot be used here")
        if not isinstance(token, str):
            raise self._failure("its token is no text")
        return bearer(token, f"the token of {self._command}"), self._moment(expires) if expires else _NEVER

    def _moment(self, text: object) -> datetime:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            raise self._failure("its expirationTimestamp is no time as RFC 3339 has it") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _status(self) -> Mapping[str, Any]:
        try:
            document = json.loads(self._output())
        except (RecursionError, ValueError):  # what it printed may hold the token
            raise self._failure("what it printed is not JSON") from None
        if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
            raise self._failure("what it printed is no ExecCredential")
        if document.get("apiVersion") != self._plugin.get("apiVersion"):
            raise self._failure(f"it answered in {document.get('apiVersion')}, not in {self._plugin.get('apiVersion')}")
        status = document.get("status")
        if not isinstance(status, dict):
            raise self._failure("its answer has no status")
        return status

    def _output(self) -> bytes:
        plugin = self._plugin
        own = {variable["name"]: variable["value"] for variable in plugin.get("env") or ()}
        try:
            return subprocess.run(
                [self._command, *(plugin.get("args") or ())],
                env={**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(self._information(), default=str)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=_PATIENCE,
            ).stdout
        except FileNotFoundError as exc:
            hint = str(plugin.get("installHint") or "").strip()[:_LONGEST_HINT]
            raise self._failure(f"it is not there{f'. {hint}' if hint else ''}") from exc
        except subprocess.TimeoutExpired:
            raise self._failure(f"it did not end within {_PATIENCE} s") from None
        except subprocess.CalledProcessError as exc:
            last_words = redaction.redact_output(exc.stderr.decode(errors="replace"))
            raise self._failure(last_words or f"it ended with {exc.returncode}") from None
        except (OSError, ValueError) as exc:
            raise self._failure(getattr(exc, "strerror", None) or "it cannot be started") from None

    def _information(self) -> dict[str, Any]:
        """Return what the program is told: that nobody sits here, and on demand which cluster it is for."""
        spec: dict[str, Any] = {"interactive": False}
        if self._plugin.get("provideClusterInfo"):
            spec["cluster"] = self._cluster_information()
        return {"apiVersion": self._plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}

    def _cluster_information(self) -> dict[str, Any]:
        cluster = self._cluster
        known = {key: cluster[key] for key in _TOLD_OF_CLUSTER if cluster.get(key)}
        if cluster.get("certificate-authority") and "certificate-authority-data" not in known:
            try:
                content = read_small_file(cluster["certificate-authority"])
            except OSError as exc:
                raise self._failure(f"the cluster's certificate authority cannot be read: {exc.strerror}") from exc
            known["certificate-authority-data"] = base64.b64encode(content).decode()
        extensions = cluster.get("extensions") or ()
        meant = [entry.get("extension") for entry in extensions if entry.get("name") == _CONFIGURATION]
        return {**known, **({"config": meant[0]} if meant else {})}

    def _failure(self, problem: str) -> AccessDenied:
        return AccessDenied(f"{self._command} of the kubeconfig gave no credentials: {problem}")
