"""The parts of an image's name, as engines read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lyftlearn.ops.images.facts import ImageUnreadable

HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
"""The grammar of the OCI distribution specification, version 1.1, section Pull."""
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


@dataclass(frozen=True)
class ImageReference:
    """registry: as credentials name it. version: a tag, or a digest."""

    registry: str
    repository: str
    version: str

    @property
    def address(self) -> str:
        """Where the registry's API begins. Only a registry on this machine may speak without TLS."""
        host = HUB_HOST if self.registry == HUB else self.registry
        return f"{'http' if _LOOPBACK.fullmatch(host) else 'https'}://{host}/v2"


def parse_reference(name: str) -> ImageReference:
    """Return the parts. Raises ImageUnreadable."""
    rest, _, digest = name.partition("@")
    first, slash, below = rest.partition("/")
    names_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, below) if names_registry else (HUB, rest)
    repository, colon, tag = path.partition(":")
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    version = digest or (tag if colon else "latest")
    fits = _DIGEST.fullmatch(version) if digest else _TAG.fullmatch(version)
    if not (_REPOSITORY.fullmatch(repository) and fits):
        raise ImageUnreadable("is no name of an image: write [registry/]repository[:tag|@digest], in lower case")
    return ImageReference(registry, repository, version)
