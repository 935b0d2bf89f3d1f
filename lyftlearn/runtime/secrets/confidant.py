"""Confidant, by its documented protocol: basic authentication with a token that AWS KMS encrypted."""

from __future__ import annotations

import base64
import json
import time
from http.client import HTTPException

from ..faults import PLATFORM, RuntimeFailure, configuration_failure
from ..s3 import aws_client, translate_errors
from .text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from urllib.error import HTTPError

TOKEN_VERSION = 2
LIFETIME = 600
"""Seconds a token is good for: less than the 60 minutes that Confidant accepts by default."""
SKEW = 180
"""Seconds our clock may be ahead of the server's."""
TIMEOUT = 10
TRIES = 8
"""With a second more between each two: half a minute, in which Confidant, or what is before it, can be replaced."""
LARGEST_ANSWER = 64 << 20
LARGEST_REFUSAL = 1 << 16
OWN_PAGES = (
    b"<p>The server could not verify that you are authorized to access the URL requested.",
    b"<p>You don't have the permission to access the requested resource.",
    b"<p>You don&#39;t have the permission to access the requested resource.",
)
"""Confidant refuses in JSON; those it does not know with pages for 401 and 403 of Werkzeug, which it is built on."""
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
CASES = {"upper": str.upper, "lower": str.lower}
"""Confidant answers with key names in lower case; programs were given them in the case the webhook used."""


def from_confidant(names: list[str], provider: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """Credentials of the service, by their names."""
    change_case = CASES.get(provider.get("case", "upper"))
    if change_case is None:
        raise configuration_failure(f"secrets.provider.case: {provider['case']!r} is neither 'upper' nor 'lower'")
    for field in ("url", "service", "from", "auth_key"):
        if not isinstance(provider.get(field), str):
            raise configuration_failure(f"secrets.provider.{field}: expected text, saw {provider.get(field)!r}")
    found: dict[str, dict[str, bytes]] = {}
    for credential in _ask(provider):
        name = credential["name"]
        if name not in names or not credential.get("enabled", True):
            continue
        if name in found:
            raise configuration_failure(f"secrets: {name}: Confidant has two of this name: disable or rename one")
        found[name] = {change_case(key): encode(name, text) for key, text in credential["credential_pairs"].items()}
        if len(found[name]) < len(credential["credential_pairs"]):
            raise configuration_failure(f"secrets: {name}: two of its keys differ in their case alone: rename one")
    return found


def _ask(provider: dict[str, Any]) -> list[dict[str, Any]]:
    from urllib.error import HTTPError
    from urllib.parse import quote, urlsplit
    from urllib.request import Request, build_opener

    url = f"{provider['url'].rstrip('/')}/v1/services/{quote(provider['service'], safe='')}?metadata_only=False"
    if not url.startswith(("https://", "http://")):
        raise configuration_failure("secrets.provider.url: expected an http:// or https:// URL")
    request = Request(url, headers={"Authorization": _authorization(provider)})  # noqa: S310 - the scheme was checked
    opener = build_opener(_same_host_redirects())
    for left in reversed(range(TRIES)):
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return _credentials(answer.read(LARGEST_ANSWER))
        except HTTPError as error:
            failure = _refusal(error.code, _content(error), provider)
        except (OSError, HTTPException, RecursionError, ValueError) as error:
            host = urlsplit(provider["url"]).hostname
            failure = RuntimeFailure(PLATFORM, f"Confidant at {host} gave no answer: {type(error).__name__}")
        if failure.reason != PLATFORM or not left:
            raise failure
        time.sleep(TRIES - left)
    raise AssertionError


def _credentials(content: bytes) -> list[dict[str, Any]]:
    """The credentials of an answer. Raises ValueError where it has another shape than the documented one."""
    answer = json.loads(content)
    credentials = answer.get("credentials", []) if isinstance(answer, dict) else None
    if not isinstance(credentials, list) or not all(map(_is_credential, credentials)):
        raise ValueError("credentials")
    return credentials


def _is_credential(credential: Any) -> bool:
    pairs = credential.get("credential_pairs") if isinstance(credential, dict) else None
    return isinstance(pairs, dict) and "name" in credential and all(isinstance(value, str) for value in pairs.values())


def _same_host_redirects() -> Any:
    """A handler that never carries the token to another host, or from https to http."""
    from urllib.parse import urljoin, urlsplit
    from urllib.request import HTTPRedirectHandler

    class SameHost(HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: PLR0917
            here, there = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
            upgrade = (here.scheme, there.scheme) == ("http", "https") and here.hostname == there.hostname
            if (here.scheme, here.netloc) != (there.scheme, there.netloc) and not upgrade:
                fp.close()
                raise configuration_failure(f"Confidant at {here.hostname} redirects to another host, {there.hostname}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return SameHost()


def _content(error: HTTPError) -> bytes:
    """What came with a refusal; nothing where it ends in the middle."""
    try:
        with error:
            return error.read(LARGEST_REFUSAL)
    except (OSError, HTTPException):
        return b""


def _refusal(status: int, content: bytes, provider: dict[str, Any]) -> RuntimeFailure:
    """What a refusal means. A proxy or load balancer in Confidant's place says nothing, whatever its status."""
    if not _is_own(content):
        from urllib.parse import urlsplit

        host = urlsplit(provider["url"]).hostname
        return RuntimeFailure(PLATFORM, f"whoever answered with status {status} for {host} is not Confidant")
    text = f"Confidant answered {status} for the service {provider['service']!r}"
    passing = status in (408, 425, 429) or status >= 500
    return RuntimeFailure(PLATFORM, text) if passing else configuration_failure(text)


def _is_own(content: bytes) -> bool:
    """Whether Confidant refuses so: with an error, and an empty object for a service that is not there."""
    try:
        answer = json.loads(content)
        return isinstance(answer, dict) and (not answer or "error" in answer)
    except (RecursionError, ValueError):
        return any(page in content for page in OWN_PAGES)


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
