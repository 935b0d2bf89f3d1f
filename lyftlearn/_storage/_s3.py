"""A store in an S3 bucket. It loads botocore, when an `s3://` URL is used.

Credentials, region and endpoint (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`) come from the default AWS chain.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from lyftlearn._contract.backoff import Backoff
from lyftlearn._storage import (
    LARGEST_RECORD,
    Storage,
    Stored,
    aws_session,
    change_error,
    check_size,
    default_region,
    locate,
)
from lyftlearn._storage._s3_answers import NoTarget, check_origin, check_redirect, time_of
from lyftlearn._text.redaction import redact_causes, redact_output
from lyftlearn.errors import AccessDenied, BackendUnavailable, LyftLearnError

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60, max_pool_connections=32
)
_WRITE = "lyftlearn-write"  # object metadata: which write this is
_CONFLICTS = 10  # 409: another conditional write to the same key was under way, and S3 asks to repeat
_MISSING = ("404", "NoSuchKey", "NotFound")
_DENIED = (
    "401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "SignatureDoesNotMatch",
)  # fmt: skip
_BUSY = ("RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "TooManyRequestsException")
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
_PAUSES = Backoff(0.5, 10.0)
SECONDS_OF_PATIENCE, SECONDS_OF_SILENCE = 90.0, 15.0
"""For which a request is repeated that S3 answers with being busy, and one that it does not answer."""
_T = TypeVar("_T")
_SECONDS_KEPT = 3600  # for which nobody is asked again whether an upload is still there
_MOST_KEPT = 10_000  # uploads of which that is remembered


class S3Storage(Storage):
    """Objects named by their keys under a prefix.

    region: of the bucket, for whoever knows it: a bucket of another partition, such as GovCloud or China, is only found
    by a region of that partition.
    """

    def __init__(self, url: str, region: str | None = None) -> None:
        self._region = region
        location = locate(url)
        self.bucket, prefix = location.bucket, location.archive.key.strip("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self._kept_until: dict[tuple[str, int], float] = {}
        self._clients: dict[int, Any] = {}
        self.client  # noqa: B018 - so that what is wrong with credentials or an endpoint is said here

    @property
    def client(self) -> Any:
        """The client of this process: a forked child that spoke on its parent's connections would read its answers."""
        process = os.getpid()
        if process not in self._clients:
            with self._translate_errors("open", ""):
                session = aws_session()
                region = self._region or session.get_config_variable("region") or default_region()
                client = session.create_client("s3", region_name=region, config=_CONFIG)
                client.meta.events.register("before-sign.s3.PutObject", _send_at_once)
                client.meta.events.register_first("needs-retry.s3", check_redirect)
                client.meta.events.register("after-call.s3", check_origin)
                self._clients[process] = client
        return self._clients[process]

    def create(self, key: str, data: bytes) -> bool:
        return self.write(key, data, None) is not None

    def read(self, key: str, largest: int = LARGEST_RECORD) -> Stored | None:
        with self._translate_errors("read", key):
            try:
                answer, data = self._send(lambda: self._read(key, largest))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
        now = time_of(answer)
        modified = answer.get("LastModified", now)
        return Stored(data, answer["ETag"], modified, max(now - modified, timedelta()))

    def replace(self, key: str, data: bytes, version: str) -> bool:
        return self.write(key, data, version) is not None

    def write(self, key: str, data: bytes, version: str | None) -> str | None:
        return self._put(key, data, {"IfNoneMatch": "*"} if version is None else {"IfMatch": version})

    def upload(self, key: str, path: Path, sha256: str) -> str:
        size = path.stat().st_size
        if time.monotonic() > self._kept_until.get((key, size), 0):
            with self._translate_errors("write", key):
                if self._size(key) != size:
                    self._send(lambda: self._upload(key, path, size, sha256))
            if len(self._kept_until) >= _MOST_KEPT:
                self._kept_until.clear()
            self._kept_until[key, size] = time.monotonic() + _SECONDS_KEPT
        return self.uri(key)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def fetch(self, key: str, path: Path) -> bool:
        """Write the object at `key` to `path`; return False if there is none."""
        with self._translate_errors("read", key):
            try:
                self._send(lambda: self._download(key, path))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
        return True

    def size(self, key: str) -> int | None:
        """Return how many bytes the object at `key` has; None if there is none."""
        with self._translate_errors("read", key):
            return self._size(key)

    def keys(self, prefix: str) -> list[str]:
        """Return every key that starts with `prefix`."""
        with self._translate_errors("list", prefix):
            return self._send(lambda: self._list(prefix))

    def _put(self, key: str, data: bytes, condition: dict[str, str]) -> str | None:
        """Return the version that was written, or None if something else stands there."""
        write = os.urandom(16).hex()
        request = {**self._object(key), "Body": data, "Metadata": {_WRITE: write}, **condition}
        with self._translate_errors("write", key):
            for _ in range(_CONFLICTS):
                try:
                    answer = self._send(lambda: self.client.put_object(**request))
                except ClientError as error:
                    if _status(error) == 409:
                        continue
                    if _status(error) == 412 or _code(error) in _MISSING:
                        return self._version_of(key, write)
                    raise
                return str(answer["ETag"])
        message = f"S3 found {self.uri(key)} busy {_CONFLICTS} times; try again"
        raise BackendUnavailable(message)

    def _version_of(self, key: str, write: str) -> str | None:
        """Return the version that `write` left there: its answer was lost, and its repetition met the write itself."""
        head = self._head(key)
        return str(head["ETag"]) if head.get("Metadata", {}).get(_WRITE) == write else None

    def _size(self, key: str) -> int | None:
        return self._head(key).get("ContentLength")

    def _head(self, key: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._send(lambda: self.client.head_object(**self._object(key)))
        except ClientError as error:
            if _code(error) in _MISSING:
                return {}
            raise
        return answer

    def _read(self, key: str, largest: int) -> tuple[dict[str, Any], bytes]:
        answer = self.client.get_object(**self._object(key))
        with closing(answer["Body"]) as body:  # one that is too large is not read, and holds its connection
            check_size(self.uri(key), answer.get("ContentLength", 0), largest)
            return answer, body.read()

    def _upload(self, key: str, path: Path, size: int, sha256: str) -> None:
        from s3transfer.manager import TransferManager  # noqa: PLC0415 - loads `multiprocessing`

        with path.open("rb") as file, TransferManager(self.client) as transfers:
            checked = cast("IO[bytes]", _Checked(path, file, size, sha256))
            transfers.upload(checked, self.bucket, self.prefix + key).result()

    def _download(self, key: str, path: Path) -> None:
        from s3transfer.exceptions import RetriesExceededError  # noqa: PLC0415 - as above
        from s3transfer.manager import TransferManager  # noqa: PLC0415 - as above

        with TransferManager(self.client) as transfers:
            try:
                transfers.download(self.bucket, self.prefix + key, str(path)).result()
            except RetriesExceededError as error:
                raise error.last_exception from error

    def _list(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        return [item["Key"].removeprefix(self.prefix) for page in pages for item in page.get("Contents", ())]

    def _send(self, request: Callable[[], _T]) -> _T:
        """Return what `request` returns. It is repeated while S3 is busy or silent, as requests to SageMaker are."""
        began = time.monotonic()
        for pause in _PAUSES:
            try:
                return request()
            except (ClientError, BotoCoreError, OSError) as error:
                if time.monotonic() + pause > began + _seconds_of_patience(error):
                    raise
            time.sleep(pause)
        raise AssertionError

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    @contextmanager
    def _translate_errors(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except LyftLearnError:
            raise
        except (ClientError, BotoCoreError, OSError, RuntimeError, ValueError) as error:
            raise _translate(f"cannot {verb} {self.uri(key)}", error) from redact_causes(error)


class _Checked:
    """A file read once, from its start, that raises before its last bytes are out if they are not those expected.

    The upload then fails as a whole: what a key follows from is what is kept under it.
    """

    def __init__(self, path: Path, file: Any, size: int, sha256: str) -> None:
        self._path, self._file, self._left, self._expected = path, file, size, sha256
        self._digest = new_sha256()

    def read(self, amount: int = -1) -> bytes:
        data: bytes = self._file.read(amount)
        self._digest.update(data)
        self._left -= len(data)
        complete = self._left <= 0 or not data
        if complete and (self._left != 0 or self._digest.hexdigest() != self._expected):
            raise change_error(self._path)
        return data


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _seconds_of_patience(error: Exception) -> float:
    if isinstance(error, LyftLearnError) or not isinstance(_translate("", error), BackendUnavailable):
        return 0.0
    return SECONDS_OF_PATIENCE if isinstance(error, ClientError) else SECONDS_OF_SILENCE


def _translate(what: str, error: Exception) -> LyftLearnError:
    if isinstance(error, ClientError):
        return _refusal(what, error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AccessDenied(f"{what}: no complete AWS credentials were found; give them by the default AWS chain")
    if isinstance(error, CredentialRetrievalError):  # it quotes what a `credential_process` printed
        return AccessDenied(f"{what}: {redact_causes(error, redact_output)}")
    if _is_of_this_machine(error) or (isinstance(error, NoTarget) and not error.is_passing):
        return LyftLearnError(f"{what}: {error}")
    if isinstance(error, ValueError) and not isinstance(error, BotoCoreError | OSError):
        return LyftLearnError(f"{what}: {error}; see `[storage] url` and AWS_ENDPOINT_URL")
    return BackendUnavailable(f"{what}: {error}")  # a RuntimeError, too: no thread can be started (any more)


def _is_of_this_machine(error: Exception) -> bool:
    """Whether a file or disk here is the trouble, which no patience mends. What networks do names no file."""
    if not isinstance(error, OSError) or isinstance(error, BotoCoreError | ConnectionError | TimeoutError):
        return False
    return error.filename is not None or error.errno in _DISK_IS_FULL


def _refusal(what: str, error: ClientError) -> LyftLearnError:
    code, words = _code(error), error.response.get("Error", {}).get("Message", "")
    message = f"{what}: {code}: {words} ({error.operation_name})"
    if code in _DENIED:
        return AccessDenied(message)
    if code in _BUSY or _status(error) >= 500:
        return BackendUnavailable(message)
    return LyftLearnError(f"{message}; see `[storage] url`")


def _send_at_once(request: Any, **_: Any) -> None:
    """Send a record without asking first whether S3 will take it: it is small, and asking costs a round trip."""
    del request.headers["Expect"]
