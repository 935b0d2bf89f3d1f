"""What operators ask: what a job would become, where it would go and why, what is installed, what is broken.

Not part of the frozen API: names and answers here may change between versions.
"""

from __future__ import annotations

import inspect
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._storage import Storage, open_storage
from lyftlearn.backend import Capability, Check, Verdict
from lyftlearn.config import Config
from lyftlearn.errors import LyftLearnError
from lyftlearn.rollout import Decision, in_use

if TYPE_CHECKING:
    from lyftlearn._prepare import Submission

_PROBE = "doctor/probe"
# A decision depends on function, name and labels; the rest must be valid and is never sent.
_LEAST: Mapping[str, Mapping[str, Any]] = {
    "train": {"command": ("true",)},
    "process": {"command": ("true",)},
    "predict": {"command": ("true",), "artifact": "s3://bucket/model.tar.gz", "inputs": {"input": "s3://bucket/input"}},
}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A backend that is installed. `problem`: why it cannot be used, or None. `lacks`: capability to reason."""

    name: str
    problem: str | None
    offers: tuple[Capability, ...] = ()
    lacks: Mapping[Capability, str]


def plan(function: str, /, *, client: Client | None = None, **arguments: Any) -> Submission:
    """Return what `function` ("train", ...) would send for `arguments`, with every fault in `.plan.faults`.

    Nothing is sent or uploaded. Raises InvalidJob for what is wrong on every backend.
    """
    asker = client or Client()
    call = inspect.signature(getattr(asker, function)).bind(**arguments)
    call.apply_defaults()
    return asker._prepare(function, **call.arguments)  # noqa: SLF001 - the client's other half


def explain(
    function: str, name: str, *, labels: Mapping[str, str] | None = None, client: Client | None = None
) -> Decision:
    """Return where a job of `function` called `name` would run now, and why. Nothing is sent."""
    subject = "name" if function == "process" else "model"
    arguments = {subject: name, "labels": labels, **_LEAST[function]}
    return plan(function, client=client, **arguments).decision


def backends(client: Client | None = None) -> list[Installed]:
    """Return every installed backend, broken ones too, by name."""
    registry = (client or Client())._registry  # noqa: SLF001
    return [_installed(registry, name) for name in registry.names()]


def doctor(config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Iterator[Check]:
    """Yield a check at a time: configuration, Python, storage, and what each backend in use says of itself."""
    yield Check("python", Verdict.OK, f"{platform.python_version()} at {sys.executable}")
    client = Client(config=config)
    try:
        found: Config = client._config  # noqa: SLF001 - the client's other half
    except LyftLearnError as exc:
        yield Check("configuration", Verdict.FAILED, str(exc))
        return
    yield _configuration(found)
    yield _storage(found.storage_url)
    yield from _backends(client, found)


def _installed(registry: Any, name: str) -> Installed:
    try:
        capabilities = registry.get(name).capabilities()
    except LyftLearnError as exc:
        return Installed(name=name, problem=str(exc), lacks={})
    why = {capability: capabilities.why_not(capability) for capability in Capability}
    return Installed(
        name=name,
        problem=None,
        offers=tuple(capability for capability, reason in why.items() if reason is None),
        lacks={capability: reason for capability, reason in why.items() if reason is not None},
    )


def _configuration(config: Config) -> Check:
    origin = str(config.source) if config.source else "no lyftlearn.toml from here upwards: defaults"
    return Check("configuration", Verdict.OK, f"{origin}; project {config.project!r}, state in {config.home}")


def _storage(url: str) -> Check:
    try:
        problem = _probed(open_storage(url))
    except LyftLearnError as exc:
        return Check("storage", Verdict.FAILED, str(exc))
    if problem:
        return Check("storage", Verdict.FAILED, f"{url}: {problem}")
    return Check("storage", Verdict.OK, f"{url}: written, read back, and conditions kept")


def _probed(storage: Storage) -> str | None:
    """Write one record, the same for every doctor, and return what the store did wrong, if anything."""
    wrote = os.urandom(16).hex().encode()
    storage.create(_PROBE, b"")
    before = storage.read(_PROBE)
    if before is None:
        return "what was written is not there: use a store that reads its own writes"
    if storage.create(_PROBE, wrote):
        return (
            "it writes over what is there when told not to, so keys are not exact: use a store with conditional writes"
        )
    storage.replace(_PROBE, wrote, before.version)
    after = storage.read(_PROBE)
    return None if after and after.data != before.data else "a record cannot be replaced"


def _backends(client: Client, config: Config) -> Iterator[Check]:
    for name in _wanted(config, client._registry.names()):  # noqa: SLF001
        try:
            backend = client._registry.get(name)  # noqa: SLF001
            yield Check(f"backend {name}", Verdict.OK, "loads")
            for check in backend.diagnose():
                yield Check(f"{name}: {check.name}", check.verdict, check.detail)
        except LyftLearnError as exc:
            yield Check(f"backend {name}", Verdict.FAILED, str(exc))


def _wanted(config: Config, installed: list[str]) -> list[str]:
    """Return the backends that jobs may go to, and those that are configured."""
    return sorted({*in_use(config), *(name for name in installed if config.table(name))})
