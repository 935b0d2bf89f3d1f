"""What can be known of an image before a job runs in it: from an engine of this machine, or from its registry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lyftlearn._client import Client
from lyftlearn.backend import Check, Verdict
from lyftlearn.config import Config
from lyftlearn.errors import LyftLearnError
from lyftlearn.ops.images.checks import checks
from lyftlearn.ops.images.engine import look_with_engine
from lyftlearn.ops.images.facts import ImageFacts, ImageUnreadable
from lyftlearn.rollout import in_use

__all__ = ["image_checks"]


def image_checks(image: str, config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Iterator[Check]:
    """Yield what speaks for and against `image`, under every name that it has on the backends in use.

    An engine of this machine is asked first, then the image's registry, whose layers are read where they are small.
    """
    client = Client(config=config)
    try:
        settings: Config = client._config  # noqa: SLF001 - the client's other half
    except LyftLearnError as error:
        yield Check("configuration", Verdict.FAILED, str(error))
        return
    names = dict.fromkeys(settings.image_on(backend, image) or image for backend in sorted(in_use(settings)))
    for name in names:
        prefix = f"{name}: " if len(names) > 1 else ""
        yield from (replace(check, name=f"{prefix}{check.name}") for check in _checks_of(name))


def _checks_of(name: str) -> Iterator[Check]:
    try:
        yield from checks(name, _look(name))
    except ImageUnreadable as error:
        yield Check("image", Verdict.FAILED, f"{name}: {error}")


def _look(name: str) -> ImageFacts:
    facts = look_with_engine(name)
    if facts is None:
        from lyftlearn.ops.images.registry import look_in_registry  # noqa: PLC0415 - loads requests

        facts = look_in_registry(name)
    return facts
