"""What opens a registry: what `docker login` and `podman login` left, their helpers, and AWS's own registries."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lyftlearn._text.display import reason_of
from lyftlearn._text.small_file import read_small_file
from lyftlearn.ops.images.facts import ImageUnreadable
from lyftlearn.ops.images.reference import HUB, ImageReference

_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", HUB)
_ECR = re.compile(r"\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)")
_IDENTITY = "<token>"
"""The user name with which helpers mark an identity token."""
_HELPER_SECONDS = 30


@dataclass(frozen=True)
class RegistryCredentials:
    """A user name and a password, or an identity token that is exchanged for one that reads."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def credentials_for(reference: ImageReference, logins: Iterable[Mapping[str, Any]] = ()) -> RegistryCredentials | None:
    """Return what opens the image's registry, or None where it is tried without.

    logins: documents of `docker login` that are looked at before those of this machine.
    """
    for content in logins:
        if found := _of_document(content, reference):
            return found
    for content in _files():
        if found := _of_helper(content, reference.registry) or _of_document(content, reference):
            return found
    return _of_ecr(reference.registry)


def _files() -> Iterator[dict[str, Any]]:
    home = Path.home()
    paths = [
        Path(os.environ.get("REGISTRY_AUTH_FILE") or home / ".nothing"),
        Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "containers", "auth.json"),
        Path(os.environ.get("DOCKER_CONFIG") or home / ".docker", "config.json"),
    ]
    for path in paths:
        try:
            content = json.loads(read_small_file(path))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ImageUnreadable(
                f"{path}, with the credentials of registries, cannot be read: {reason_of(error)}"
            ) from error
        if isinstance(content, dict):
            yield content


def _names(registry: str) -> tuple[str, ...]:
    return _HUB_NAMES if registry == HUB else (registry, f"https://{registry}", f"https://{registry}/v2/")


def _of_document(content: Mapping[str, Any], reference: ImageReference) -> RegistryCredentials | None:
    """Return what the most exact entry has."""
    auths, registry = content.get("auths") or {}, reference.registry
    name = max((name for name in auths if auths[name] and _opens(name, reference)), key=len, default=None)
    if name is None:
        return None
    entry = auths[name]
    if entry.get("identitytoken"):
        return RegistryCredentials(identity_token=entry["identitytoken"])
    try:
        text = base64.b64decode(entry.get("auth") or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ImageUnreadable(f"the credentials of {registry} are damaged: log in again") from None
    username, _, password = text.partition(":")
    return RegistryCredentials(entry.get("username") or username, entry.get("password") or password)


def _opens(name: str, reference: ImageReference) -> bool:
    """Whether an entry is for an image: by its host, whose parts may be patterns, and by the beginning of its path.

    So the kubelet and podman read it: https://kubernetes.io/docs/concepts/containers/images/#config-json and
    containers-auth.json(5).
    """
    host, _, path = name.partition("://")[2].partition("/") if "://" in name else name.partition("/")
    path = path.strip("/")
    asked = reference.registry.split(".")
    named = HUB if host == "index.docker.io" else host
    fits = len(asked) == len(named.split(".")) and all(map(fnmatchcase, asked, named.split(".")))
    return fits and (path in ("", "v1", "v2") or f"{reference.repository}/".startswith(f"{path}/"))


def _of_helper(content: dict[str, Any], registry: str) -> RegistryCredentials | None:
    helpers = content.get("credHelpers") or {}
    helper = next((helpers[name] for name in _names(registry) if name in helpers), content.get("credsStore"))
    if not helper:
        return None
    program = f"docker-credential-{helper}"
    asked_for = _names(registry)[0]
    try:
        ran = subprocess.run(
            [program, "get"], input=asked_for.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
        answer = json.loads(ran.stdout) if ran.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ImageUnreadable(f"{program} cannot be asked for what opens {registry}: {reason_of(error)}") from error
    if not answer.get("Secret"):
        return None
    if answer.get("Username") == _IDENTITY:
        return RegistryCredentials(identity_token=answer["Secret"])
    return RegistryCredentials(answer.get("Username", ""), answer["Secret"])


def _of_ecr(registry: str) -> RegistryCredentials | None:
    match = _ECR.fullmatch(registry)
    if match is None:
        return None
    import boto3  # noqa: PLC0415 - only for AWS's registries
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        answer = boto3.client("ecr", region_name=match[1]).get_authorization_token(registryIds=[registry[:12]])
        token = answer["authorizationData"][0].get("authorizationToken", "")
        text = base64.b64decode(token).decode()
    except (BotoCoreError, ClientError) as error:
        raise ImageUnreadable(f"AWS gives no authorization for {registry}: {error}") from error
    username, _, password = text.partition(":")
    return RegistryCredentials(username, password)
