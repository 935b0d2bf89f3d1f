"""What one submission writes."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from lyftlearn.errors import AccessDenied, BackendUnavailable, LyftLearnError, QuotaExceeded
from lyftlearn_local.store.files import RESERVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lyftlearn_local.store.files import JobFiles

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class Submission(NamedTuple):
    """The record, the bundle, the variables that a node starts with, and the runtime."""

    record: dict[str, Any]
    bundle: Mapping[str, Any]
    environment: Mapping[str, str]
    runtime: Path

    def write(self, draft: JobFiles) -> None:
        """Write it all below `draft`, for this user only.

        Only the record is waited for: a bundle that a power cut tears fails its job, which says so.
        """
        (draft.path / "logs").mkdir(mode=0o700, parents=True)
        _write_file(draft.path / "bundle.json", self.bundle)
        _write_file(draft.environment_path, self.environment)
        _add_runtime(self.runtime, draft.path / "runtime.pyz")
        with (draft.path / "reserve").open("wb") as reserve:
            reserve.write(bytes(RESERVE_BYTES))
        (draft.path / "lock").touch(mode=0o600)
        _write_file(draft.path / "job.json", self.record, lasting=True)
        created_at = self.record["created_at"]
        os.utime(draft.path / "job.json", (created_at, created_at))


def refusal(directory: Path, error: OSError) -> LyftLearnError:
    """Say why a job was certainly not accepted at `directory`."""
    if error.errno in _FULL:
        return QuotaExceeded(f"{directory} has no room for another job ({error.strerror}): free some space")
    where = error.filename or directory
    if error.errno in _FORBIDDEN:
        return AccessDenied(f"{where} cannot be written to ({error.strerror}): make it yours, or set another home")
    return BackendUnavailable(f"the job cannot be written to {directory}: {error}")


def sync(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_file(path: Path, content: Mapping[str, Any], *, lasting: bool = False) -> None:
    """Write a new file. lasting: wait for the disk."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(json.dumps(content).encode())
        file.flush()
        if lasting:
            os.fsync(file.fileno())


def _add_runtime(runtime: Path, path: Path) -> None:
    try:
        path.hardlink_to(runtime)
    except OSError:
        shutil.copyfile(runtime, path)
