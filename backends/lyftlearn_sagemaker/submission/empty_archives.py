"""Archives of jobs that left nothing: SageMaker makes none, and fails the next job that has one as a channel.

Here they are made when a job first asks for them: of a job that succeeded, an absent archive is an empty directory, as
it is on every other platform. Whatever cannot be looked at is left as it is; the job itself then says what is missing.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lyftlearn.backend import JobRecord, Location
from lyftlearn.errors import JobNotFound
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.api.errors import AwsError

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.api.client import AwsClient

_ARCHIVE = re.compile(r"(?P<directory>(?:.*/)?(?P<job>[a-z][a-z0-9-]{0,62})/output/)(?P<name>model|output)\.tar\.gz")


class EmptyArchives:
    """Makes what is absent of jobs that succeeded. describe: returns a job's record, or raises JobNotFound."""

    def __init__(self, aws: AwsClient, describe: Callable[[str], JobRecord]) -> None:
        self._aws = aws
        self._describe = describe

    def make(self, spec: JobSpec) -> None:
        """Make the archives that a job needs and nobody has made."""
        for archive in dict.fromkeys(_archives(spec)):
            match = _ARCHIVE.fullmatch(archive.key)
            if match:
                try:
                    self._make(archive, match["directory"], match["job"])
                except (AwsError, JobNotFound):
                    continue

    def _make(self, archive: Location, directory: str, job_id: str) -> None:
        place = {"Bucket": archive.bucket, "Prefix": directory}
        listed = self._aws.call("s3", "list_objects_v2", place).get("Contents", [])
        if any(found["Key"] == archive.key for found in listed):
            return
        record = self._describe(job_id)
        if record.event.status is JobStatus.SUCCEEDED:
            content = _empty(archive, record)
            target = {"Bucket": archive.bucket, "Key": archive.key}
            self._aws.call("s3", "put_object", {**target, "Body": content, "IfNoneMatch": "*"})


def _archives(spec: JobSpec) -> Iterator[Location]:
    for uri in (*spec.inputs.values(), *([spec.artifact] if spec.artifact else [])):
        location = Location.parse(uri)
        if not location.is_file:
            yield location.archive


def _empty(archive: Location, record: JobRecord) -> bytes:
    """Return an archive with a directory for each output that a job was to leave in it, always the same bytes."""
    uris = (record.outputs or {}).values()
    members = sorted(one.member for one in map(Location.parse, uris) if one.archive == archive and one.member)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member in members:
            entry = tarfile.TarInfo(member)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    return _compressed(content.getvalue())


def _compressed(content: bytes) -> bytes:
    import gzip  # noqa: PLC0415 - for a job among many

    return gzip.compress(content, mtime=0)
