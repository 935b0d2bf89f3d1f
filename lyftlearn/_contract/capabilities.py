"""What a backend can do, and why it cannot do the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from lyftlearn._contract.mounts import EVERYTHING, is_below


class Capability(StrEnum):
    """What a backend may or may not be able to do. A job that needs what is missing is refused in its plan."""

    TRAIN = "train"
    PROCESS = "process"
    PREDICT = "predict"
    TUNE = "tune"
    NOTEBOOK = "notebook"
    SEVERAL_NODES = "several nodes"
    RETRIES_ON_SEVERAL_NODES = "retries on several nodes"
    LOCAL_PATHS = "local paths"  # the name in 1.0 of `Capabilities.sees` "/"; the next version will not have it
    MEMORY_LIMIT = "memory limit"  # a command that exceeds its memory is killed, and the job says OUT_OF_MEMORY
    REPLACEMENT = "replaced containers"  # a container that its platform lost starts again, with its checkpoints
    CONTRACT_PATHS = "contract paths"  # `/lyftlearn/...` exists; without it, only the variables name the paths


class NotYet(str):
    """Why a backend lacks something that a later version may offer."""

    __slots__ = ()


class Never(str):
    """Why a backend will always lack something: its substrate cannot do it, or the backend is not meant for it."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend offers, and why it lacks the rest. Each reason is a `NotYet` or a `Never`.

    retention: how long a finished job is kept and its id cannot be used again; None means for ever. sees: the
    directories whose files jobs see by themselves, "/" where they see all of this machine's. A path there is passed on
    as the `file://` URI that it is; any other path of this machine is uploaded first.
    """

    offers: frozenset[Capability]
    lacks: Mapping[Capability, str] = field(default_factory=dict)
    retention: timedelta | None = None
    sees: tuple[str, ...] = ()

    @property
    def sees_this_machine(self) -> bool:
        """Whether jobs see all files of the machine that submits them."""
        return EVERYTHING in self.sees or Capability.LOCAL_PATHS in self.offers

    def sees_path(self, path: str) -> bool:
        """Whether jobs see by themselves what is at `path`, an absolute one."""
        return self.sees_this_machine or any(is_below(path, directory) for directory in self.sees)

    def why_not(self, capability: Capability) -> str | None:
        """Return None if `capability` is offered, else the reason."""
        if capability in self.offers:
            return None
        return self.lacks.get(capability, "it does not offer that")
