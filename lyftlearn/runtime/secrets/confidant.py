"""Confidant, by its documented protocol: basic authentication with a token that AWS KMS encrypted."""

from __future__ import annotations

import base64
import json
import time

from ..faults import PLATFORM, RuntimeFailure, configuration_failure
from ..s3 import aws_client, translate_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOKEN_VERSION = 2
LIFETIME = 600
"""Seconds a token is good for: less than the 60 minutes that Confidant accepts by default."""
SKEW = 180
"""Seconds our clock may be ahead of the server's."""
TIMEOUT = 10
TRIES = 4
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
CASES = {"upper": str.upper, "lower": str.lower}
"""Confidant answers with key names in lower case; programs were given them in the case the webhook used."""


def from_confidant(names: list[str], provider: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """Credentials of the service, by their names."""
    change_case = CASES.get(provider.get("case", "upper"))
    if change_case is None:
        raise configuration_failure(f"secrets.provider.case: {provider['case']!r} is neither 'upper' nor 'lower'")
    answer = _ask(provider)
    return {
        credential["name"]: {change_case(key): value.encode() for key, value in credential["credential_pairs"].items()}
        for credential in answer.get("credentials", [])
        if credential.get("name") in names and credential.get("enabled", True)
    }


def _ask(provider: dict[str, Any]) -> dict[str, Any]:
    from urllib.error import HTTPError, URLError
    from urllib.parse import quote
    from urllib.request import Request, urlopen

    url = f"{provider['url'].rstrip('/')}/v1/services/{quote(provider['service'], safe='')}?metadata_only=False"
    if not url.startswith(("https://", "http://")):
        raise configuration_failure("secrets.provider.url: expected an http:// or https:// URL")
    request = Request(url, headers={"Authorization": _authorization(provider)})  # noqa: S310 - the scheme was checked
    for left in reversed(range(TRIES)):
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                content: dict[str, Any] = json.load(answer)
                return content
        except HTTPError as error:
            fault = _refusal(error.code, provider)
        except (URLError, OSError, ValueError) as error:
            fault = RuntimeFailure(PLATFORM, f"Confidant at {provider['url']} gave no answer: {type(error).__name__}")
        if fault.reason != PLATFORM or not left:
            raise fault
        time.sleep(TRIES - left)
    raise AssertionError


def _refusal(status: int, provider: dict[str, Any]) -> RuntimeFailure:
    text = f"Confidant answered {status} for the service {provider['service']!r}"
    return configuration_failure(text) if status in (400, 401, 403, 404) else RuntimeFailure(PLATFORM, text)


def _authorization(provider: dict[str, Any]) -> str:
    user_type, sender = provider.get("user_type", "service"), provider["from"]
    user = f"{TOKEN_VERSION}/{user_type}/{sender}"
    return "Basic " + base64.b64encode(f"{user}:{_token(provider, user_type)}".encode()).decode()


def _token(provider: dict[str, Any], user_type: str) -> str:
    now = time.time() - SKEW
    times = [time.strftime(TIME_FORMAT, time.gmtime(moment)) for moment in (now, now + LIFETIME)]
    payload = json.dumps(dict(zip(("not_before", "not_after"), times))).encode()
    context = {"from": provider["from"], "to": provider.get("to", "confidant"), "user_type": user_type}
    kms = aws_client("kms", provider.get("region"), provider.get("endpoint"))
    with translate_errors("encrypting the token for Confidant"):
        answer = kms.encrypt(KeyId=provider["auth_key"], Plaintext=payload, EncryptionContext=context)
    return base64.b64encode(answer["CiphertextBlob"]).decode()
