"""What a backend would send for a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lyftlearn._contract.spec import JobSpec


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request that a plan would send: the operation, in the substrate's words, and its body as plain data.

    upload: whether the request writes to the storage before the job is created. The body of any other request is a
    document that the substrate's own command-line tool accepts.
    """

    operation: str
    body: Mapping[str, Any]
    upload: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The exact requests that would be sent, in order, and the faults that keep them from being sent.

    faults: each a `Fault`, or a plain pair like one. A plan with faults is never submitted.
    notes: what a person should know, such as an argument that this backend has no use for.
    """

    spec: JobSpec
    backend: str
    requests: tuple[Request, ...]
    faults: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
