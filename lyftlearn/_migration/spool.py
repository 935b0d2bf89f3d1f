"""Rows that are not in the journal yet, one file for each job: whichever process writes next takes them up.

A process may end, be killed or be forked at any moment after a submission, and the journal may be away. A row is
written twice without harm, so nobody has to know who else is about to write it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from lyftlearn._migration.rows import RehearsalRow, Row, SubmissionRow

LEFT_ALONE = 60.0
"""Seconds for which a file is left to the process that made it."""
_LARGEST = 1 << 20  # bytes
_KINDS: dict[str, Callable[..., Row]] = {"submission": SubmissionRow, "rehearsal": RehearsalRow}
_NAMES = {SubmissionRow: "submission", RehearsalRow: "rehearsal"}
_log = logging.getLogger("lyftlearn")


class Spool:
    """The files of one journal."""

    def __init__(self, home: Path, journal_url: str) -> None:
        self._directory = home / "spool" / sha256(journal_url.encode()).hexdigest()[:16]

    def put(self, job_id: str, rows: Sequence[Row]) -> None:
        """Keep rows until `remove`. What cannot be kept is kept by memory alone: no submission fails for it."""
        document = json.dumps([{"row": _NAMES[type(row)], "fields": asdict(row)} for row in rows], default=str)
        temporary = self._directory / f".{os.urandom(8).hex()}.tmp"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(document)
            temporary.rename(self._path(job_id))
        except OSError as error:
            _log.info("the row of %s is not kept on disk: %s", job_id, error)

    def remove(self, job_id: str) -> None:
        """Let go of rows that are written."""
        _remove(self._path(job_id))

    def take_up(self, record: Callable[..., None], older: float = LEFT_ALONE) -> None:
        """Give `record` the rows of each file that is older than `older` seconds, and remove the file afterwards."""
        for path in self._older(time.time() - older):
            try:
                rows = _read(path)
            except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                _log.warning("what waits for the journal in %s cannot be read, and is removed: %s", path, error)
                rows = []
            if rows:
                record(*rows)
            _remove(path)

    def _path(self, job_id: str) -> Path:
        return self._directory / f"{job_id}.json"

    def _older(self, moment: float) -> Iterator[Path]:
        try:
            paths = sorted(self._directory.iterdir())
        except OSError:
            return
        for path in paths:
            try:
                is_due = path.stat().st_mtime <= moment
            except OSError:  # another process has written its rows
                continue
            if is_due:
                yield path


def _read(path: Path) -> list[Row]:
    """Return the rows of a file; none if another process was first."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST)
    except FileNotFoundError:
        return []
    if path.suffix == ".tmp":  # its process died while it wrote
        return []
    return [_row(entry) for entry in json.loads(text)]


def _row(entry: dict[str, Any]) -> Row:
    fields = dict(entry["fields"])
    if "at" in fields:
        fields["at"] = datetime.fromisoformat(fields["at"])
    return _KINDS[entry["row"]](**fields)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.info("%s cannot be removed: %s", path, error)
