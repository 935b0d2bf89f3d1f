"""Checks of arguments that say where something is: inputs, the model of a predict job, and outputs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.ids import job_of_output
from lyftlearn._contract.options import BUCKET_PATTERN
from lyftlearn._text.display import quote
from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind, JobStatus

_UNREADABLE = (TypeError, ValueError, RuntimeError)  # the last one is for `~user` of a user who does not exist
_NOWHERE = Location("s3", "", "")
_UNUSABLE = (TypeError, ValueError, OSError, RuntimeError)  # `~nobody`; a working directory that was deleted


def parse_location(path: str, value: Any, faults: list[Fault], is_seen: Callable[[str], bool]) -> Location:
    """Check a place to read from. A path must exist on this machine, unless jobs see it, or one may have left it out.

    is_seen: whether jobs see a path by themselves that is not here.
    """
    try:
        text = os.fspath(value)
        location = _parse(text, is_path=not isinstance(value, str))
    except _UNUSABLE:
        faults.append(Fault(path, f"is {quote(value)}: write an s3:// URI, a file:// URI or a path"))
        return _NOWHERE
    if not location.is_file:
        _check_bucket(path, text, location, faults)
    elif not (text and (_is_there(location.path) or job_of_output(location) or is_seen(location.path))):
        faults.append(Fault(path, f"{quote(text)} is not there: write a path that exists"))
    return location


def _parse(text: str, *, is_path: bool) -> Location:
    """Read a URI; or a path, of which `#name` is a part if there is a file of that name."""
    location = Location.parse(text)
    if not location.is_file or text.startswith("file://"):
        return location
    literal = Path(text).expanduser().absolute()
    if is_path or not location.member or _is_there(literal):
        found = Location.of_path(str(literal))
        return found.at(f"{found.path}/") if text.endswith("/") and found.path != "/" else found
    return location.at(str(Path(location.path).expanduser().absolute()))


def _is_there(path: str | Path) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # such as a name that is too long
        return False


def _check_bucket(path: str, text: str, location: Location, faults: list[Fault]) -> None:
    if not re.fullmatch(BUCKET_PATTERN, location.bucket):
        faults.append(Fault(path, f"is {quote(text)}, and no bucket can be called {quote(location.bucket)}"))


def artifact(path: str, value: Any, faults: list[Fault], *, is_seen: Callable[[str], bool]) -> Location:
    """Check the model of a predict job: a URI, or a finished train job."""
    outputs_of_job = getattr(value, "outputs", None)
    if outputs_of_job is None:
        return parse_location(path, value, faults, is_seen)
    if value.kind is not JobKind.TRAIN:
        faults.append(Fault(path, f"is {value.id}, a {value.kind} job: give a train job, or the URI of its model"))
        return _NOWHERE
    state = value.state if value.state.status.finished else value.refresh()
    if state.status is not JobStatus.SUCCEEDED:
        faults.append(
            Fault(path, f"{value.id} has status {state.status}: give a train job that succeeded (`job.wait()` tells)")
        )
        return _NOWHERE
    return parse_location(path, outputs_of_job["model"], [], is_seen)


def destination(path: str, value: Any, faults: list[Fault]) -> str | None:
    """Check a place to write to, and return its URI; None for the job's own."""
    if value is None:
        return None
    try:
        location = Location.parse(value) if value else None
        absolute = Path(value).expanduser().absolute() if value else Path()
    except _UNUSABLE:
        location, absolute = None, Path()
    if location is None or location.member:
        faults.append(Fault(path, f"is {quote(value)}: write an s3:// URI, a file:// URI or a path as text, or None"))
        return None
    if not location.is_file:
        _check_bucket(path, value, location, faults)
    if not location.is_file or value.startswith("file://"):
        return str(value)
    return absolute.as_uri()
