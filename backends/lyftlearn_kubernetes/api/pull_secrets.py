"""What a cluster opens the registries of images with: the pull secrets of pods."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.cluster import SECRETS, SERVICE_ACCOUNTS
from lyftlearn_kubernetes.api.errors import translate_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options

_DEFAULT = "default"  # the account that every namespace has, and every pod that names none
_CURRENT, _LEGACY = ".dockerconfigjson", ".dockercfg"
"""The keys of the types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`; the second has bare entries:
https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets."""


def registry_logins(cluster: Cluster, options: Options) -> list[Mapping[str, Any]]:
    """Return the documents in the pull secrets of pods with these options. What cannot be read is left out.

    A pod that names none has those of its service account: https://kubernetes.io/docs/tasks/configure-pod-container/
    configure-service-account/#add-imagepullsecrets-to-a-service-account.
    """
    names = options.image_pull_secrets or _of_account(cluster, options.service_account or _DEFAULT)
    return [login for name in names if (login := _login(cluster, name))]


def _of_account(cluster: Cluster, account: str) -> list[str]:
    found = _read(cluster, SERVICE_ACCOUNTS, account).get("imagePullSecrets") or []
    return [secret["name"] for secret in found if secret.get("name")]


def _login(cluster: Cluster, name: str) -> Mapping[str, Any] | None:
    data = _read(cluster, SECRETS, name).get("data") or {}
    with suppress(ValueError):  # damaged: the kubelet skips it, too
        if _CURRENT in data:
            return dict(json.loads(base64.b64decode(data[_CURRENT])))
        if _LEGACY in data:
            return {"auths": dict(json.loads(base64.b64decode(data[_LEGACY])))}
    return None


def _read(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    """Return an object; an empty one where it is not there, or not for our eyes, or its server is away."""
    with suppress(LyftLearnError), translate_errors(f"reading {kind}"):
        return cluster.get(kind, name)
    return {}
