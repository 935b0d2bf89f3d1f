"""The checks of a call that lists jobs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

from lyftlearn._call import checks
from lyftlearn._contract.fault import Fault
from lyftlearn._jobs import arguments
from lyftlearn._text.display import quote
from lyftlearn.backend import JobQuery
from lyftlearn.errors import InvalidJob
from lyftlearn.types import JobKind, JobStatus

_Word = TypeVar("_Word", bound=StrEnum)


def check_query(*, name: Any, kind: Any, status: Any, labels: Any, since: Any, limit: Any) -> tuple[JobQuery, int]:
    """Return what `jobs` is to list, and how many at most. Raises InvalidJob with every fault."""
    faults: list[Fault] = []
    query = JobQuery(
        name=None if name is None else checks.name("name", name, faults),
        kind=_word("kind", JobKind, kind, faults),
        status=_word("status", JobStatus, status, faults),
        labels=checks.label_query("labels", labels, faults),
        since=arguments.moment("since", since, faults),
    )
    most = arguments.count("limit", limit, faults)
    if faults:
        raise InvalidJob(faults)
    return query, most


def _word(path: str, vocabulary: type[_Word], value: Any, faults: list[Fault]) -> _Word | None:
    if value is None:
        return None
    if isinstance(value, str) and value in list(vocabulary):
        return vocabulary(value)
    faults.append(Fault(path, f"is {quote(value)}: write one of {', '.join(vocabulary)}"))
    return None
