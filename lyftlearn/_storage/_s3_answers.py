"""Whether S3 itself has answered. A proxy's or load balancer's page says nothing about an object, whatever its status.

A 404 of theirs would read as a claim that nobody holds, and a page with status 200 as an object that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from botocore.model import OperationModel

_SUCCESS = range(200, 300)
_SERVERS_FAULT = 500
_REDIRECTS = range(300, 400)
_TEMPORARY_REDIRECT = 307
_REGION = "x-amz-bucket-region"
_TAGGED = frozenset(("GetObject", "HeadObject", "PutObject", "UploadPart"))
"""Operations whose success always names the object's version, as S3's API reference has it."""


class ForeignAnswer(BotoCoreError):
    """Somebody else has answered in S3's place, so nobody knows what became of the request."""

    fmt = "whoever answered with status {status} is not S3"


class NoTarget(BotoCoreError):
    """S3 sends us elsewhere and does not say where to."""

    fmt = "S3 redirects with status {status} and does not say where to: are the bucket's region and the endpoint right?"

    @property
    def is_passing(self) -> bool:
        """Whether S3 only leads elsewhere for a while, as for a bucket that is so new that not everybody knows it."""
        return bool(self.kwargs["status"] == _TEMPORARY_REDIRECT)


def check_redirect(response: tuple[AWSResponse, Mapping[str, Any]] | None, operation: OperationModel, **_: Any) -> None:
    """Raise for a redirect that names no region. botocore would ask for one by HEAD, and be redirected without end.

    botocore calls it after each answer. Raises NoTarget where S3 has redirected, ForeignAnswer where somebody else has.
    """
    if response is None or response[0].status_code not in _REDIRECTS or _REGION in response[0].headers:
        return
    if operation.name == "HeadBucket":
        raise NoTarget(status=response[0].status_code)
    if operation.http["method"] == "HEAD" or not _is_refusal(*response, operation):
        raise ForeignAnswer(status=response[0].status_code)


def check_origin(http_response: AWSResponse, parsed: Mapping[str, Any], model: OperationModel, **_: Any) -> None:
    """Raise ForeignAnswer for an answer that S3 does not give. botocore calls it after each call."""
    status = http_response.status_code
    if status >= _SERVERS_FAULT:
        return
    is_own = _is_success if status in _SUCCESS else _is_refusal
    if not is_own(http_response, parsed, model):
        raise ForeignAnswer(status=status)


def time_of(answer: Mapping[str, Any]) -> datetime:
    """Return S3's time of an answer; this machine's where a proxy has taken the header away, or written nonsense."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        at = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return datetime.now(UTC)
    return at.replace(tzinfo=at.tzinfo or UTC)


def _is_success(response: AWSResponse, parsed: Mapping[str, Any], model: OperationModel) -> bool:
    if model.name == "ListObjectsV2":
        return b"<ListBucketResult" in response.content
    return model.name not in _TAGGED or bool(parsed.get("ETag"))


def _is_refusal(response: AWSResponse, parsed: Mapping[str, Any], model: OperationModel) -> bool:
    """Whether a refusal has S3's code; where botocore found none, it puts the status in its place.

    The answer to HEAD has no body, so that only its headers tell: S3's kind of document is XML.
    """
    if model.http["method"] == "HEAD":
        kind = response.headers.get("content-type", "")
        return not kind or "xml" in kind or any(name.lower().startswith("x-amz") for name in response.headers)
    return not str(parsed.get("Error", {}).get("Code", "")).isdigit()
