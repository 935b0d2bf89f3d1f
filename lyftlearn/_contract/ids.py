"""Ids that route themselves: `<slug>-<kind><backend><11 random characters>`.

An id is a DNS-1035 label (RFC 1035, 2.3.1), lower case, at most 50 characters: Kubernetes appends up to 13 more to
name a job's pods, which end at 63. A tuning job's id has at most 32, the limit of SageMaker's tuning job names.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from typing import NamedTuple

from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32, lower case
_KIND_LETTERS = {
    JobKind.TRAIN: "t",
    JobKind.PROCESS: "p",
    JobKind.PREDICT: "b",
    JobKind.TUNE: "h",
    JobKind.NOTEBOOK: "n",
}
_KINDS = {letter: kind for kind, letter in _KIND_LETTERS.items()}
OWN_LETTERS = {"local": "l", "local-kubernetes": "c", "local-sagemaker": "g", "kubernetes": "k", "sagemaker": "s"}
_RANDOM = 11
_TAIL = 2 + _RANDOM
PATTERN = re.compile(rf"[a-z](?:[a-z0-9-]*[a-z0-9])?-([{''.join(_KINDS)}])([a-z2-7])[a-z2-7]{{{_RANDOM}}}")


class ParsedId(NamedTuple):
    """What an id says of its job."""

    kind: JobKind
    letter: str


def new_id(name: str, kind: JobKind, letter: str, scope: str | None = None) -> str:
    """Return an id for a job called `name` on the backend that owns `letter`.

    scope: with a key, the untruncated text that must give the same id again; else the id is random (55 bits).
    """
    tail = _random() if scope is None else _tail_of_scope(scope)
    longest = (32 if kind is JobKind.TUNE else 50) - _TAIL - 1
    return f"{_slug(name, longest)}-{_KIND_LETTERS[kind]}{letter}{tail}"


def notebook_files(name: str, scope: str) -> str:
    """Return a DNS-1123 label of at most 50 characters, by a notebook's name and its untruncated scope."""
    return f"{_slug(name, 50 - _RANDOM - 1)}-{_tail_of_scope(scope)}"


def parse(job_id: str) -> ParsedId | None:
    """Return what `job_id` says, or None if it is no id of ours."""
    match = PATTERN.fullmatch(job_id)
    if match is None or len(job_id) > 50:
        return None
    return ParsedId(_KINDS[match[1]], match[2])


def job_of_output(location: Location) -> str | None:
    """Return the id of the job among whose outputs an archive is, or None if it is none of those."""
    *_, job_id, directory, name = ("", "", "", *location.path.split("/"))
    is_archive = directory == "output" and name in ("model.tar.gz", "output.tar.gz")
    return job_id if is_archive and parse(job_id) else None


def default_letter(backend: str) -> str:
    """Return the letter of `backend` unless configuration gives it another: a function of its name alone."""
    if backend in OWN_LETTERS:
        return OWN_LETTERS[backend]
    free = [letter for letter in ALPHABET if letter not in OWN_LETTERS.values()]
    return free[zlib.crc32(backend.encode()) % len(free)]


def _slug(name: str, longest: int) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")
    return slug[:longest].strip("-") or "job"


def _random() -> str:
    return _base32(int.from_bytes(os.urandom(7), "big"))


def _tail_of_scope(scope: str) -> str:
    return _base32(int.from_bytes(hashlib.sha256(scope.encode()).digest()[:8], "big"))


def _base32(number: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in range(_RANDOM))
