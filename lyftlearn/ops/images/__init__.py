"""What can be known of an image before a job runs in it: from an engine of this machine, or from its registry."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lyftlearn._client import Client
from lyftlearn.backend import Check, Plan, Verdict
from lyftlearn.config import Config
from lyftlearn.errors import LyftLearnError
from lyftlearn.ops.images.checks import checks
from lyftlearn.ops.images.engine import look_with_engine
from lyftlearn.ops.images.facts import ImageFacts, ImageUnreadable, Lookup
from lyftlearn.ops.images.kept import KeptFacts
from lyftlearn.rollout import in_use

__all__ = ["image_checks", "with_image_notes"]

SECONDS = 5.0
"""In which a plan's image must have been looked at. A plan is there all the same."""
_MOST_READ = 64 << 20
_FACTS = "cache/images"
_UNKNOWN = "contents"  # the check that says of an image what nobody knows
_OF_MACHINES = "architecture"  # the check that compares with this machine


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
    lookup = Lookup(kept=KeptFacts(settings.home / _FACTS, fresh=True))
    names = dict.fromkeys(settings.image_on(backend, image) or image for backend in sorted(in_use(settings)))
    for name in names:
        prefix = f"{name}: " if len(names) > 1 else ""
        yield from (replace(check, name=f"{prefix}{check.name}") for check in _checks_of(name, lookup))


def with_image_notes(plan: Plan, client: Client) -> Plan:
    """Return the plan, with what speaks against the job's image among its notes, as far as that is known in 5 seconds.

    The image is asked for where the job would get it: from an engine of this machine, or from its registry with the
    credentials of this machine, of AWS, or of the platform. What was found of equal content before is not looked for
    again. Nothing stands against a plan because a registry is away. Never raises.
    """
    found: list[str] = []
    looking = threading.Thread(target=_find_notes, args=(plan, client, found), name="lyftlearn-image", daemon=True)
    looking.start()
    looking.join(SECONDS)
    late = [f"image {plan.spec.image} was not looked at: there was no answer within {SECONDS:g} s"]
    return replace(plan, notes=(*plan.notes, *(late if looking.is_alive() else found)))


def _find_notes(plan: Plan, client: Client, found: list[str]) -> None:
    image, registry, config = plan.spec.image, client._registry, client._config  # noqa: SLF001 - the client's other half
    if image is None:
        return
    try:
        backend = registry.get(plan.backend)
        logins = backend.registry_logins(plan.spec)
        if logins is not None:
            lookup = Lookup(kept=KeptFacts(config.home / _FACTS), logins=logins, most_read=_MOST_READ)
            left_out = {_UNKNOWN} if backend.capabilities().sees_this_machine else {_UNKNOWN, _OF_MACHINES}
            found += _notes(image, _look(image, lookup), left_out)
    except (ImageUnreadable, LyftLearnError) as error:
        found.append(f"image {image} was not looked at: {error}")
    except Exception as error:  # noqa: BLE001 - of a plugin, or of an image that nobody thought of: the plan stays
        found.append(f"image {image} was not looked at: {type(error).__name__}: {error}")


def _notes(image: str, facts: ImageFacts, left_out: Collection[str]) -> Iterator[str]:
    for check in checks(image, facts):
        if check.verdict is not Verdict.OK and check.name not in left_out:
            yield f"image {image}: {check.name}: {check.detail}"


def _checks_of(name: str, lookup: Lookup) -> Iterator[Check]:
    try:
        yield from checks(name, _look(name, lookup))
    except ImageUnreadable as error:
        yield Check("image", Verdict.FAILED, f"{name}: {error}")


def _look(name: str, lookup: Lookup) -> ImageFacts:
    facts = look_with_engine(name, lookup)
    if facts is None:
        from lyftlearn.ops.images.registry import look_in_registry  # noqa: PLC0415 - loads requests

        facts = look_in_registry(name, lookup)
    return facts
