"""AWS Secrets Manager."""

from __future__ import annotations

import json
import time

from ..faults import PLATFORM, RuntimeFailure, configuration_failure, no_such_secret
from ..s3 import aws_client, translate_errors
from .text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BATCH = 20
"""The most that BatchGetSecretValue takes."""
MISSING = "ResourceNotFoundException"
REFUSALS = {
    MISSING,
    "AccessDeniedException",
    "DecryptionFailure",
    "InvalidParameterException",
    "InvalidRequestException",
}
"""Error codes of single secrets that stay: GetSecretValue's errors, but for InternalServiceError. Others may pass."""
TRIES = 5
ONLY_KEY = "value"
"""The key of a secret that is not a JSON object."""


def from_secrets_manager(names: list[str], provider: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """Secrets by name or ARN after `prefix`; those that could not be fetched are named with the service's reason."""
    client = aws_client("secretsmanager", provider.get("region"), provider.get("endpoint"))
    identifiers = {provider.get("prefix", "") + name: name for name in names}
    fetched: dict[str, dict[str, bytes]] = {}
    refused: list[dict[str, Any]] = []
    batches = [list(identifiers)[start : start + BATCH] for start in range(0, len(identifiers), BATCH)]
    for batch in batches:
        refused += _fetch_patiently(client, batch, identifiers, fetched)
    if refused:
        faults = [_problem(error, identifiers) for error in refused]
        definite = all(error.get("ErrorCode") in REFUSALS for error in refused)
        raise configuration_failure(*faults) if definite else RuntimeFailure(PLATFORM, "\n".join(faults))
    return fetched


def _fetch_patiently(
    client: Any, batch: list[str], identifiers: dict[str, str], fetched: dict[str, dict[str, bytes]]
) -> list[dict[str, Any]]:
    """Fetch one batch; return the errors of those that were refused, or could not be had for a while."""
    refused: list[dict[str, Any]] = []
    for left in reversed(range(TRIES)):
        errors = _fetch_batch(client, batch, identifiers, fetched)
        refused += [error for error in errors if error.get("ErrorCode") in REFUSALS]
        passing = [error for error in errors if error.get("ErrorCode") not in REFUSALS]
        batch = [str(error.get("SecretId")) for error in passing]
        if not batch or not left:
            return refused + passing
        time.sleep(TRIES - left)
    return refused


def _fetch_batch(
    client: Any, batch: list[str], identifiers: dict[str, str], fetched: dict[str, dict[str, bytes]]
) -> list[dict[str, Any]]:
    request: dict[str, Any] = {"SecretIdList": batch}
    errors: list[dict[str, Any]] = []
    while True:
        with translate_errors("fetching secrets from Secrets Manager"):
            answer = client.batch_get_secret_value(**request)
        for value in answer.get("SecretValues", []):
            identifier = value["Name"] if value["Name"] in identifiers else value["ARN"]
            if identifier in identifiers:
                fetched[identifiers[identifier]] = _keys(identifiers[identifier], value)
        errors += answer.get("Errors", [])
        if not answer.get("NextToken"):
            return errors
        request["NextToken"] = answer["NextToken"]


def _problem(error: dict[str, Any], identifiers: dict[str, str]) -> str:
    identifier = str(error.get("SecretId"))
    name = identifiers.get(identifier, identifier)
    if error.get("ErrorCode") == MISSING:
        return no_such_secret(name)
    return f"secrets: {name}: {error.get('ErrorCode')}"


def _keys(name: str, value: dict[str, Any]) -> dict[str, bytes]:
    """A JSON object gives its keys, and what is not text as JSON; anything else is one key."""
    if "SecretString" not in value:
        return {ONLY_KEY: bytes(value["SecretBinary"])}
    try:
        content = json.loads(value["SecretString"])
    except (RecursionError, ValueError):
        content = None
    if not isinstance(content, dict):
        return {ONLY_KEY: value["SecretString"].encode()}
    texts = {key: item if isinstance(item, str) else json.dumps(item) for key, item in content.items()}
    return {key: encode(name, text) for key, text in texts.items()}
