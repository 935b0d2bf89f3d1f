"""Secrets: fetched from where they are kept, given to the command as variables and as files in memory."""

from __future__ import annotations

import re

from ..faults import configuration_failure, no_such_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Secrets = dict[str, dict[str, bytes]]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Shells and C programs can read no other; Kubernetes has taken more and less over the versions."""


def fetch(names: list[str], provider: dict[str, Any], environ: Mapping[str, str]) -> Secrets:
    """Every secret's keys and values, in the order of `names`; all that is missing is named at once."""
    kind = provider.get("type")
    if kind == "files":
        from .files import from_files

        fetched = from_files(names, provider)
    elif kind == "variables":
        from .variables import from_variables

        fetched = from_variables(names, provider, environ)
    elif kind == "secretsmanager":
        from .secretsmanager import from_secrets_manager

        fetched = from_secrets_manager(names, provider)
    elif kind == "confidant":
        from .confidant import from_confidant

        fetched = from_confidant(names, provider)
    else:
        raise configuration_failure(
            f"secrets.provider.type: {kind!r} is none of files, variables, secretsmanager, confidant"
        )
    missing = [name for name in names if name not in fetched]
    if missing:
        raise configuration_failure(*(no_such_secret(name) for name in missing))
    return {name: fetched[name] for name in names}


def environment_variables(secrets: Secrets) -> dict[str, str]:
    """Keys as variables: later secrets win, and a key that is no variable's name is a file only."""
    return {
        key: value.decode("utf-8", "surrogateescape")
        for keys in secrets.values()
        for key, value in keys.items()
        if _VARIABLE.fullmatch(key) and b"\0" not in value
    }


def secret_values(secrets: Secrets) -> list[str]:
    """Every value as text, to be kept out of messages."""
    return [value.decode("utf-8", "replace").strip() for keys in secrets.values() for value in keys.values()]
