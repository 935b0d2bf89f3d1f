"""S3, through the image's own boto3."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import time
import zlib
from contextlib import closing, contextmanager

from .aws_answers import judge_answers
from .faults import CONFIGURATION, PLATFORM, RuntimeFailure, configuration_failure
from .storage import Entry, check_size, disk_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

SMALL_PART = 16 << 20
PART_STEP = 1 << 17
SMALL_PARTS = 900
"""S3 takes 10,000 parts and 5 TiB. Small ones need less memory; after 900 each is a step larger, up to 1.2 GB."""
AT_ONCE = 1 << 20
"""Bytes of an object that is read as a whole: boto3's way asks for its size first, and starts threads for each."""
DIRECTORY_BUCKET = "--x-s3"
"""How names of S3 Express One Zone end. It lists what is below a `/`, in any order, and nothing else."""
ATTEMPTS = 8
READ_PAUSE = 0.5
"""Seconds before an object is read again whose bytes stopped in the middle; twice as long each time."""

PASSING_CODES = {
    "408",
    "409",
    "429",
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InvalidPart",
    "NoSuchUpload",
    "OperationAborted",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "SlowDown",
    "TemporaryRedirect",
    "TooManyRequestsException",
}
"""Codes that come with a status below 500 and say nothing against the request."""
PASSING_ENDINGS = (
    "Throttled",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "InternalException",
    "TimeoutException",
    "InternalFailure",
    "InternalServiceError",
)
ADVICE = {
    "InvalidObjectState": "The object is archived (S3 Glacier): restore it first, or copy it to another storage class",
    "NoSuchBucket": "Does the bucket exist, and is its name right?",
    "PermanentRedirect": "S3 does not say where the bucket is: are the region (AWS_REGION) and the endpoint right?",
    "KMS": "The key that encrypts the object must be enabled, and the job's role must be allowed to use it",
}
CONFIGURATION_ERRORS = {
    "ConfigNotFound",
    "ConfigParseError",
    "EndpointVariantError",
    "InvalidConfigError",
    "InvalidRegionError",
    "MissingDependencyException",
    "NoAuthTokenError",
    "NoCredentialsError",
    "NoRegionError",
    "ParamValidationError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "UnknownEndpointError",
    "UnsupportedS3AccesspointConfigurationError",
    "UnsupportedS3ArnError",
    "UnsupportedS3ConfigurationError",
}
"""Of botocore.exceptions: what is raised before anything is sent, because of what the job was given."""
LONGEST_WORDS = 300
"""Characters of an error that is quoted: it may hold all that a program for credentials printed."""

_clients: dict[tuple[str, str | None, str | None], Any] = {}


def aws_client(service: str, region: str | None = None, endpoint: str | None = None) -> Any:
    """A client of the image's boto3; one per service, shared by threads.

    boto3 itself reads the region from AWS_DEFAULT_REGION only; some platforms set only AWS_REGION.
    """
    region = region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    key = (service, region, endpoint)
    if key not in _clients:
        boto3, config = _boto3()
        with translate_errors(f"a client for {service}"):
            client = boto3.client(service, region_name=region, endpoint_url=endpoint, config=config)
            judge_answers(client)
        _clients[key] = client
    return _clients[key]


def _boto3() -> tuple[Any, Any]:
    _add_site_packages()
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise configuration_failure(
            "this job moves S3 objects or fetches secrets, and the image has no boto3: "
            f"add boto3 to the image, for the Python that starts the runtime ({sys.executable})"
        ) from error
    retries: Any = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    return boto3, Config(retries=retries, max_pool_connections=32, connect_timeout=10, read_timeout=60)


def _add_site_packages() -> None:
    """The runtime starts with `-I -S`, because looking for packages costs more than the rest of its start."""
    if not sys.flags.no_site:
        return
    import site

    site.main()
    if sys.flags.no_user_site:
        site.addsitedir(site.getusersitepackages())
    extra = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path += [path for path in extra if path and path not in sys.path]


@contextmanager
def translate_errors(doing: str) -> Iterator[None]:
    """Turn the vendor's errors into failures: the job's configuration, or the platform."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refusal(doing, error.response) from error
    except (BotoCoreError, Boto3Error) as error:
        if "Invalid header" in str(error):
            raise _unsendable(doing) from None
        reason = CONFIGURATION if type(error).__name__ in CONFIGURATION_ERRORS else PLATFORM
        raise RuntimeFailure(reason, f"{doing}: {type(error).__name__}: {str(error)[:LONGEST_WORDS]}") from error
    except ValueError:
        raise _unsendable(doing) from None


def _unsendable(doing: str) -> RuntimeFailure:
    """A header with a line's end, or an endpoint that is no URL. The vendor's own text may hold a token."""
    problem = "the credentials or the endpoint cannot be sent: look for a line's end or a space in them"
    return configuration_failure(f"{doing}: {problem}")


def _refusal(doing: str, response: Mapping[str, Any]) -> RuntimeFailure:
    """A refusal is the configuration's, unless its code or status says that it will pass."""
    error, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(error.get("Code"))
    passing = code in PASSING_CODES or code.endswith(PASSING_ENDINGS) or not 300 <= status < 500
    advice = ADVICE.get(code) or (ADVICE["KMS"] if code.startswith("KMS.") else "")
    text = f"{doing}: {code}: {error.get('Message')}"
    return RuntimeFailure(PLATFORM if passing else CONFIGURATION, f"{text}. {advice}" if advice else text)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key."""
    bucket, _, key = uri[len("s3://") :].partition("/")
    return bucket, key


class S3Store:
    """Objects in buckets."""

    def __init__(self) -> None:
        self._client = aws_client("s3")

    def find(self, uri: str) -> list[Entry]:
        """`s3://b/train` is what is under `train/`, else the object `train`: never `train-old`."""
        bucket, key = split_uri(uri)
        with translate_errors(f"listing {uri}"):
            under = self._find_under(bucket, key.rstrip("/") + "/" if key.strip("/") else "")
            return under or ([] if key.endswith("/") or not key else self._find_object(bucket, key))

    def _find_under(self, bucket: str, prefix: str) -> list[Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            Entry(f"s3://{bucket}/{item['Key']}", item["Key"][len(prefix) :], item["Size"], _time_of(item))
            for page in pages
            for item in page.get("Contents", [])
            if not item["Key"].endswith("/")
        ]

    def _find_object(self, bucket: str, key: str) -> list[Entry]:
        if bucket.endswith(DIRECTORY_BUCKET):
            return self._look_at(bucket, key)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key, MaxKeys=1)
        first = next(iter(pages)).get("Contents", [])  # keys come in order: the exact one before longer ones
        return [
            Entry(f"s3://{bucket}/{key}", key.rsplit("/", 1)[-1], item["Size"]) for item in first if item["Key"] == key
        ]

    def _look_at(self, bucket: str, key: str) -> list[Entry]:
        from botocore.exceptions import ClientError

        try:
            size = self._client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "404":
                raise
            return []
        return [Entry(f"s3://{bucket}/{key}", key.rsplit("/", 1)[-1], size)]

    def read(self, uri: str) -> bytes:
        """One object's bytes."""
        bucket, key = split_uri(uri)
        for attempt in range(ATTEMPTS):
            with translate_errors(f"reading {uri}"):
                answer = self._client.get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                check_size(uri, answer.get("ContentLength", 0))
                try:
                    with translate_errors(f"reading {uri}"):
                        return bytes(body.read())
                except RuntimeFailure:  # the client repeats requests, but not an answer that ends in the middle
                    if attempt + 1 == ATTEMPTS:
                        raise
            time.sleep(READ_PAUSE * 2**attempt)
        raise AssertionError

    def fetch(self, entry: Entry, path: str) -> None:
        """Download a small object at once, and another in parallel ranges; with retries."""
        bucket, key = split_uri(entry.uri)
        try:
            if entry.size <= AT_ONCE:
                content = self.read(entry.uri)  # before there is a file
                with open(path, "wb") as file:
                    file.write(content)
                return
            with translate_errors(f"fetching {entry.uri}"):
                self._client.download_file(bucket, key, path)
        except OSError as error:
            raise disk_failure(error, f"fetching {entry.uri}") from error

    def sink(self, uri: str) -> S3Sink:
        """Upload while it is made: nothing of it needs disk."""
        return S3Sink(self._client, uri)

    def remove(self, uri: str, *, top: str = "") -> None:  # noqa: ARG002 - there are no directories
        """Delete the object."""
        bucket, key = split_uri(uri)
        with translate_errors(f"deleting {uri}"):
            self._client.delete_object(Bucket=bucket, Key=key)

    def move(self, source: str, destination: str, *, top: str) -> None:  # noqa: ARG002 - there are no directories
        """Copy within S3, then delete."""
        if not self.find(source):
            return
        (bucket, key), (target, name) = split_uri(source), split_uri(destination)
        with translate_errors(f"copying {source}"):
            self._client.copy({"Bucket": bucket, "Key": key}, target, name)
        self.remove(source)


def _time_of(item: Mapping[str, Any]) -> float:
    return float(item["LastModified"].timestamp())


def part_size(index: int) -> int:
    """Bytes of the part with this index."""
    return SMALL_PART + PART_STEP * max(0, index - SMALL_PARTS)


class S3Sink:
    """One object, uploaded in parts whose checksums S3 verifies; it appears when all are there."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client, self._uri = client, uri
        bucket, key = split_uri(uri)
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._total = 0
        self._algorithm = {"ChecksumAlgorithm": "CRC32"} if _declares_checksums(client) else {}

    def _checksum(self, body: bytearray) -> dict[str, str]:
        """The checksum that S3 compares: of the algorithm declared for the upload, or MD5 where boto3 is older."""
        return {"ChecksumCRC32": _crc32(body)} if self._algorithm else {"ContentMD5": _md5(body)}

    def write(self, data: bytes) -> None:
        """Append; upload when a part is full."""
        self._buffer += data
        self._total += len(data)
        if len(self._buffer) >= part_size(len(self._parts)):
            self._send_part()

    def _send_part(self) -> None:
        body, self._buffer = self._buffer, bytearray()
        with translate_errors(f"uploading {self._uri}"):
            if self._upload is None:
                self._upload = self._client.create_multipart_upload(**self._where, **self._algorithm)["UploadId"]
            number, checksum = len(self._parts) + 1, self._checksum(body)
            answer = self._client.upload_part(
                **self._where, **checksum, UploadId=self._upload, PartNumber=number, Body=body
            )
        declared = checksum if self._algorithm else {}
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"], **declared})

    def commit(self, *, only_new: bool = False) -> None:
        """Complete the upload, whose checksums S3 compares. only_new: leave an object that is there already."""
        condition = {"IfNoneMatch": "*"} if only_new and _knows_conditions(self._client) else {}
        try:
            self._complete(condition)
        except RuntimeFailure as failure:
            if not _is_taken(failure):
                raise
            self.abort()

    def _complete(self, condition: dict[str, str]) -> None:
        if self._upload is None:
            body = self._buffer  # no copy: several of these are sent at a time
            with translate_errors(f"uploading {self._uri}"):
                self._client.put_object(**self._where, **self._checksum(body), **condition, Body=body)
            return
        if self._buffer:
            self._send_part()
        with translate_errors(f"completing {self._uri}"):
            self._client.complete_multipart_upload(
                **self._where, **condition, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
            )
        self._upload = None
        self._verify()

    def _verify(self) -> None:
        with translate_errors(f"verifying {self._uri}"):
            size = self._client.head_object(**self._where)["ContentLength"]
        if size != self._total:
            raise RuntimeFailure(PLATFORM, f"{self._uri} has {size} bytes after the upload of {self._total}")

    def abort(self) -> None:
        """Give the parts back; a runtime that is killed leaves them to the bucket's lifecycle rule."""
        if self._upload is None:
            return
        try:
            self._client.abort_multipart_upload(**self._where, UploadId=self._upload)
        except Exception as error:  # noqa: BLE001 - the first failure is the one to tell
            print(f"lyftlearn: the upload of {self._uri} cannot be aborted: {type(error).__name__}", file=sys.stderr)


def _declares_checksums(client: Any) -> bool:
    """Whether this boto3 knows S3's additional checksums, of 2022: directory buckets take no other."""
    return _has_argument(client, "CreateMultipartUpload", "ChecksumAlgorithm")


def _knows_conditions(client: Any) -> bool:
    """Whether this boto3 can leave an object that is there: since 2024. An older one writes over it."""
    operations = ("PutObject", "CompleteMultipartUpload")
    return all(_has_argument(client, operation, "IfNoneMatch") for operation in operations)


def _has_argument(client: Any, operation: str, name: str) -> bool:
    return name in client.meta.service_model.operation_model(operation).input_shape.members


def _is_taken(failure: RuntimeFailure) -> bool:
    """Whether an object was there, so that the condition of a write was not met."""
    response = getattr(failure.__cause__, "response", None) or {}
    return bool(response.get("Error", {}).get("Code") == "PreconditionFailed")


def _crc32(body: bytearray) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _md5(body: bytearray) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324 - a checksum that every S3 verifies
