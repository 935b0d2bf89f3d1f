"""What is known of an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyftlearn.ops.images.kept import KeptFacts

OLDEST = (3, 8)
"""The Python that the runtime needs at least."""


class ImageUnreadable(Exception):
    """The image cannot be looked at. The text says why, and what to do."""


@dataclass(frozen=True)
class ImageContents:
    """What a job finds. python: version of the `python3` on PATH; None for none, (0, 0) where it cannot be told."""

    python: tuple[int, int] | None
    has_boto3: bool
    has_shell: bool


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """origin: who was asked. size: bytes, unpacked in an engine and packed in a registry.

    contents: None where they were not read, and `unread` says why. has_soci_index: None where nobody can tell.
    """

    origin: str
    platforms: tuple[str, ...]
    user: str
    entrypoint: tuple[str, ...]
    size: int
    contents: ImageContents | None
    unread: str = ""
    has_soci_index: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """How images are looked at.

    kept: what was found of equal content before. logins: what opens registries, beside what this machine has.
    most_read: bytes of layers, packed, that are fetched from a registry to see what is in an image.
    """

    kept: KeptFacts
    logins: Iterable[Mapping[str, Any]] = ()
    most_read: int = 1 << 30
