"""Removing old jobs: for good, at somebody's word, and only those that have ended."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lyftlearn.errors import LyftLearnError
from lyftlearn_local.store.files import FINAL, BrokenRecord, JobFiles
from lyftlearn_local.store.jobs import Jobs
from lyftlearn_local.store.records import BrokenLog
from lyftlearn_local.store.trees import remove_tree

_FULL = {errno.ENOSPC, errno.EDQUOT}
_log = logging.getLogger("lyftlearn")


def remove_finished(
    jobs: Jobs, before: datetime, keep_log: Callable[[JobFiles], None], *, dry_run: bool
) -> Iterator[tuple[str, int]]:
    """Yield id and bytes of each job that ended before then, and remove it: in one step out of sight, then for good.

    keep_log: is called with a job that is about to be removed. If its log cannot be read, the job stays; if the disk
    has no room for it, too, and others make room. Whatever else it raises leaves the job and all others here.
    """
    for files in list(jobs.newest_first(None)):
        if not _ended_before(files, before.timestamp()):
            continue
        size = _size(files.path)
        if not dry_run:
            if not _has_kept_log(files, keep_log):
                continue
            grave = jobs.store.temporary / f".removed-{files.path.name}"
            try:
                files.path.rename(grave)
            except OSError:  # another process removes it
                continue
            with suppress(OSError):
                remove_tree(grave)
        yield files.path.name, size


def _has_kept_log(files: JobFiles, keep_log: Callable[[JobFiles], None]) -> bool:
    try:
        keep_log(files)
    except (BrokenRecord, FileNotFoundError):
        if files.path.exists():
            raise
        return False  # another process removes it
    except BrokenLog as exc:
        _log.warning("%s stays: %s; remove %s yourself", files.path.name, exc, files.path)
        return False
    except (OSError, LyftLearnError) as exc:
        if not {getattr(exc, "errno", None), getattr(exc.__cause__, "errno", None)} & _FULL:
            raise
        _log.warning("%s stays: there is no room for its log (%s); clean again", files.path.name, exc)
        return False
    return True


def _ended_before(files: JobFiles, moment: float) -> bool:
    try:
        files.record()
        events = files.events()
    except (BrokenRecord, OSError, ValueError):
        return False  # what cannot be read is for a person to look at
    return bool(events) and events[-1]["status"] in FINAL and events[-1]["at"] < moment


def _size(top: Path) -> int:
    """Return the bytes that are free afterwards; of one that another process removes meanwhile, those that it found."""
    blocks = 0
    for folder, _, names in os.walk(top):
        for name in names:
            with suppress(FileNotFoundError):
                blocks += os.lstat(os.path.join(folder, name)).st_blocks  # noqa: PTH118 - as `walk` has it
    return blocks * 512
