"""Whether AWS itself has answered. A page of a proxy or load balancer says nothing, whatever its status.

Their 404 would read as an object that is not there, and a page with status 200 as the object. botocore gets them as a
server's error: so it asks again, as often and as patiently as with any other.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUCCESS = range(200, 300)
REDIRECTS = range(300, 400)
TEMPORARY_REDIRECT = 307
SERVERS_FAULT = 500
UNAVAILABLE, REFUSED = 503, 400
REGION = "x-amz-bucket-region"
FOREIGN = "ForeignAnswer"
"""The code of an answer that is somebody else's."""
TAGGED = ("GetObject", "HeadObject", "PutObject", "UploadPart")
"""Operations whose success always names the object's version, as S3's API reference has it."""


def judge_answers(client: Any) -> None:
    """Look at each answer that this client gets before botocore does: it follows some redirects without end."""
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"needs-retry.{service}", judge_answer)


def judge_answer(response: Any = None, operation: Any = None, **_: Any) -> None:
    """Make a server's error of what AWS has not said, and an end of a redirect without a target."""
    if response is None:
        return
    http, parsed = response
    if http.status_code >= SERVERS_FAULT:
        return
    if operation.name == "HeadBucket" and _leads_nowhere(http):  # botocore's question where to, put again for ever
        _change(http, parsed, REFUSED, parsed.get("Error", {}))
    elif http.status_code == TEMPORARY_REDIRECT and _leads_nowhere(http) and not _is_foreign(http, parsed, operation):
        _change(http, parsed, UNAVAILABLE, parsed["Error"])  # a bucket so new that its name leads to another region yet
    elif _is_foreign(http, parsed, operation):
        words = f"whoever answered with status {http.status_code} is not AWS"
        _change(http, parsed, UNAVAILABLE, {"Code": FOREIGN, "Message": words})


def _leads_nowhere(http: Any) -> bool:
    return http.status_code in REDIRECTS and REGION not in {name.lower() for name in http.headers}


def _change(http: Any, parsed: Any, status: int, error: dict[str, Any]) -> None:
    if "Body" in parsed:
        parsed.pop("Body").close()
    http.status_code = status
    parsed["Error"] = error
    parsed.setdefault("ResponseMetadata", {})["HTTPStatusCode"] = status


def _is_foreign(http: Any, parsed: Any, operation: Any) -> bool:
    is_own = _is_success if http.status_code in SUCCESS else _is_refusal
    return not is_own(http, parsed, operation)


def _is_success(http: Any, parsed: Any, operation: Any) -> bool:
    if operation.name in TAGGED:
        return bool(parsed.get("ETag"))
    if operation.name == "ListObjectsV2":
        return b"<ListBucketResult" in http.content
    if operation.service_model.metadata.get("protocol") == "json":
        return bool(http.content.lstrip().startswith(b"{"))
    return True


def _is_refusal(http: Any, parsed: Any, operation: Any) -> bool:
    """Whether a refusal has a code of AWS; where botocore found none, it puts the status in its place.

    The answer to HEAD has no body, so that only its headers tell: S3's kind of document is XML.
    """
    if operation.http["method"] == "HEAD":
        headers = {name.lower(): value for name, value in http.headers.items()}
        kind = headers.get("content-type", "")
        return not kind or "xml" in kind or any(name.startswith("x-amz") for name in headers)
    code = str(parsed.get("Error", {}).get("Code") or "0")
    return not code.isdigit()
