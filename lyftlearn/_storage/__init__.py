"""Where sources, inputs, bundles and claims live: a directory, or a bucket in S3.

A store offers two kinds of writing. *Records* are small and change under conditions: `create` writes only where nothing
is, `replace` only over the version that was read. *Files* are large, named by their content, and never change: `upload`
does nothing where the file already is. Nothing is ever seen half-written, whenever the writer dies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from lyftlearn.errors import LyftLearnError
from lyftlearn.runtime.location import Location

LARGEST_RECORD = 1 << 20
"""Bytes of a record: a claim with a thousand tries has less than a tenth of that."""


class Stored(NamedTuple):
    """A record as it was read.

    version: names the content, for `replace`; equal contents may have equal versions. modified and age are by the clock
    of the store, never by this machine's.
    """

    data: bytes
    version: str
    modified: datetime
    age: timedelta


class Storage(ABC):
    """A place for records and files under keys such as `claims/eta/0f3c.json`.

    Every method may raise AccessDenied, BackendUnavailable or, where the store itself is misconfigured, LyftLearnError;
    all may be repeated. Safe to share between threads.
    """

    url: str

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write a record where nothing is. Return False, and change nothing, if there is one already.

        Of any number of callers at once, at most one is told True. After BackendUnavailable it may have been written.
        """

    @abstractmethod
    def read(self, key: str, largest: int = LARGEST_RECORD) -> Stored | None:
        """Return the record as the last finished write left it, or None.

        Raises LyftLearnError for one of more than `largest` bytes: others may write to the storage, too.
        """

    @abstractmethod
    def replace(self, key: str, data: bytes, version: str) -> bool:
        """Write over a record that still has `version`. Return False, and change nothing, if it has not."""

    def write(self, key: str, data: bytes, version: str | None) -> str | None:
        """Create a record (`version` is None) or replace it, and return its new version; None where that is refused.

        For whoever writes one record again and again, and would else read it back each time.
        """
        written = self.create(key, data) if version is None else self.replace(key, data, version)
        stored = self.read(key) if written else None
        return stored.version if stored else None

    @abstractmethod
    def upload(self, key: str, path: Path, sha256: str) -> str:
        """Keep the file at `path` under `key`, whole or not at all, and return its URI.

        Nothing is sent if `key` is there with that size already: the key must follow from the content. Raises
        LyftLearnError, and keeps nothing, if the content is not that of `sha256` (any more).
        """

    @abstractmethod
    def uri(self, key: str) -> str:
        """Return the URI of `key`, whether or not something is there."""


_default_regions: list[str] = []


def set_default_region(region: str) -> None:
    """Let clients of S3 in this process use `region` where the default AWS chain names none."""
    _default_regions[:] = [region]


def default_region() -> str | None:
    """Return what was set last, or None."""
    return _default_regions[0] if _default_regions else None


def open_storage(url: str, region: str | None = None) -> Storage:
    """Return the store at `file:///directory`, a plain path or `s3://bucket/prefix`. Nothing is contacted yet.

    region: of the bucket; by default the one of the default AWS chain.
    """
    if url.startswith("s3://"):
        from lyftlearn._storage._s3 import S3Storage  # noqa: PLC0415  # loads botocore

        return S3Storage(url, region)
    from lyftlearn._storage._directory import DirectoryStorage  # noqa: PLC0415

    return DirectoryStorage(local_path(url))


def aws_session(region: str | None = None) -> Any:
    """Return a session of botocore for the default AWS chain. All of them share what they read of AWS's definitions.

    region: overrides the chain's.
    """
    from lyftlearn._storage.aws import new_session  # noqa: PLC0415  # loads botocore

    return new_session(region)


def local_path(url: str) -> Path:
    """Return the absolute path that a `file://` URI or a plain path names; raise LyftLearnError for anything else."""
    location = locate(url)
    if not location.is_file:
        raise _unusable(url)
    path = Path(location.path)
    return path if path.is_absolute() else path.expanduser().absolute()


def locate(url: str) -> Location:
    """Read the URL of a store. Raises LyftLearnError."""
    try:
        return Location.parse(url)
    except ValueError as error:
        raise _unusable(url) from error


def _unusable(url: str) -> LyftLearnError:
    return LyftLearnError(f"{url!r} is not a place that can be used: give a path, file:///path or s3://bucket/prefix")


def storage_directory(url: str) -> Path | None:
    """Return the directory of a store that is one."""
    return None if "://" in url and not url.startswith("file://") else local_path(url)


def make_storage_directory(url: str) -> None:
    """Make the directory of a store that is one: for this user alone, or for the group of a shared directory above."""
    path = storage_directory(url)
    if path is not None and not path.is_dir():
        from lyftlearn._storage._directory import make_root  # noqa: PLC0415

        make_root(path)


def check_size(uri: str, size: int, largest: int) -> None:
    """Raise LyftLearnError if what is at `uri` is larger than anything that belongs there."""
    if size > largest:
        raise LyftLearnError(f"{uri} has {size} bytes, and nothing of more than {largest} is read from there")


def change_error(path: Path) -> LyftLearnError:
    """Return the error for a file that is no longer what it was when its content was named."""
    return LyftLearnError(f"{path} changed while it was being read; submit again when nothing writes to it")
