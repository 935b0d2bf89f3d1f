"""Removing what is old on this machine: jobs of backends that keep them here, and caches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lyftlearn._client import Client
from lyftlearn._storage.kept_logs import log_directory
from lyftlearn._text.quantities import duration
from lyftlearn.errors import InvalidJob, LyftLearnError
from lyftlearn.runtime.location import Location
from lyftlearn.runtime.tree import remove_tree
from lyftlearn.types import Duration


@dataclass(frozen=True, kw_only=True)
class Removed:
    """One thing that was removed, or that would be. kind: `job`, `outputs` or `cache`. size: its bytes."""

    kind: str
    name: str
    size: int


def clean(
    older_than: Duration = "30d", *, outputs: bool = False, dry_run: bool = False, client: Client | None = None
) -> Iterator[Removed]:
    """Remove old jobs and unused caches of this machine, and yield each of them.

    older_than: how long ago a job ended, or a cache was last used. outputs: remove also what these jobs left in a
    storage on this machine. dry_run: yield the same, and remove nothing. The claim of a key stays, so a removed job
    does not run again under its key. Raises InvalidJob if `older_than` is no duration.
    """
    try:
        age: timedelta = duration(older_than)
        before = datetime.now(UTC) - age
    except (ValueError, OverflowError) as exc:
        raise InvalidJob([("older_than", str(exc))]) from exc
    return _remove(client or Client(), before, outputs=outputs, dry_run=dry_run)


def _remove(client: Client, before: datetime, *, outputs: bool, dry_run: bool) -> Iterator[Removed]:
    config, registry = client._config, client._registry  # noqa: SLF001 - the client's other half
    yield from _caches(config.home / "cache", before.timestamp(), dry_run=dry_run)  # first: logs may need their room
    for name in registry.names():
        try:
            backend = registry.get(name)
        except LyftLearnError:  # a broken plugin has nothing to say of its jobs
            continue
        for job_id, size in backend.remove_finished(before, dry_run=dry_run):
            yield Removed(kind="job", name=job_id, size=size)
            if outputs:
                yield from _outputs(f"{config.output_url}/{job_id}", dry_run=dry_run)
                yield from _outputs(f"{config.storage_url}/{log_directory(job_id)}", dry_run=dry_run)


def _outputs(url: str, *, dry_run: bool) -> Iterator[Removed]:
    location = Location.parse(url)
    top = Path(location.path) if location.is_file else None
    if top is not None and top.is_dir():
        yield Removed(kind="outputs", name=str(top), size=_size(top))
        if not dry_run:
            with suppress(OSError):
                remove_tree(top)


def _caches(top: Path, before: float, *, dry_run: bool) -> Iterator[Removed]:
    """Yield files that have not been read or written since; whoever needs one makes it anew."""
    for path in sorted(top.rglob("*")):
        try:
            found = path.lstat()
            if path.is_dir() or max(found.st_atime, found.st_mtime) >= before:
                continue
            if not dry_run:
                path.unlink()
        except OSError:  # another process was first, or it is not ours
            continue
        yield Removed(kind="cache", name=str(path), size=found.st_blocks * 512)


def _size(top: Path) -> int:
    return sum(os.lstat(path).st_blocks * 512 for path in top.rglob("*") if not path.is_dir())
