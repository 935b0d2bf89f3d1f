"""AWS Secrets Manager."""

from __future__ import annotations

import json

from ..faults import configuration_failure, no_such_secret
from ..s3 import aws_client, translate_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BATCH = 20
"""The most that BatchGetSecretValue takes."""
MISSING = "ResourceNotFoundException"
ONLY_KEY = "value"
"""The key of a secret that is not a JSON object."""


def from_secrets_manager(names: list[str], provider: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """Secrets by name or ARN after `prefix`; those that could not be fetched are named with the service's reason."""
    client = aws_client("secretsmanager", provider.get("region"), provider.get("endpoint"))
    identifiers = {provider.get("prefix", "") + name: name for name in names}
    fetched: dict[str, dict[str, bytes]] = {}
    faults: list[str] = []
    names_to_fetch = list(identifiers)
    for start in range(0, len(names_to_fetch), BATCH):
        _fetch_batch(client, names_to_fetch[start : start + BATCH], identifiers, fetched, faults)
    if faults:
        raise configuration_failure(*faults)
    return fetched


def _fetch_batch(
    client: Any, batch: list[str], identifiers: dict[str, str], fetched: dict[str, dict[str, bytes]], faults: list[str]
) -> None:
    request: dict[str, Any] = {"SecretIdList": batch}
    while True:
        with translate_errors("fetching secrets from Secrets Manager"):
            answer = client.batch_get_secret_value(**request)
        for value in answer.get("SecretValues", []):
            identifier = value["Name"] if value["Name"] in identifiers else value["ARN"]
            if identifier in identifiers:
                fetched[identifiers[identifier]] = _keys(value)
        faults += [_fault(error, identifiers) for error in answer.get("Errors", [])]
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]


def _fault(error: dict[str, Any], identifiers: dict[str, str]) -> str:
    identifier = str(error.get("SecretId"))
    name = identifiers.get(identifier, identifier)
    if error.get("ErrorCode") == MISSING:
        return no_such_secret(name)
    return f"secrets: {name}: {error.get('ErrorCode')}"


def _keys(value: dict[str, Any]) -> dict[str, bytes]:
    """A JSON object gives its keys, and what is not text as JSON; anything else is one key."""
    if "SecretString" not in value:
        return {ONLY_KEY: bytes(value["SecretBinary"])}
    try:
        content = json.loads(value["SecretString"])
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return {ONLY_KEY: value["SecretString"].encode()}
    return {key: (item if isinstance(item, str) else json.dumps(item)).encode() for key, item in content.items()}
