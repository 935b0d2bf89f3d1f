"""Rows as lines of the spool, and lines as rows, for whoever has time: a submission loads nothing of this.

What costs time, such as reading a Decision or finding out the repository's name, is done here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn._text.redaction import redact
from lyftlearn.history.lines import of_record
from lyftlearn.history.rows import ComparisonRow, OutcomeRow, RehearsalRow, Row, SubmissionRow, UsageRow
from lyftlearn.rollout.targeting import repository_at

if TYPE_CHECKING:
    from lyftlearn.backend import JobRecord
    from lyftlearn.history.spool import Entry, Line

_Fields: TypeAlias = Mapping[str, Any]
_LONGEST_COMMAND = 4000  # characters of each argument; a longer one is a program that belongs into a file
_SHADOW_LABEL = "lyftlearn/shadow"
_PLAIN: Mapping[str, type[Row]] = {
    "submission": SubmissionRow,
    "rehearsal": RehearsalRow,
    "outcome": OutcomeRow,
    "usage": UsageRow,
    "comparison": ComparisonRow,
}
_NAMES = {row: name for name, row in _PLAIN.items()}
_MOMENTS = ("at", "created_at", "started_at", "finished_at")


def row_line(row: Row) -> Line:
    """Return the line of a row that is known in full."""
    return {"is": _NAMES[type(row)], **asdict(row)}


def rows_of(entries: Iterable[Entry]) -> Iterator[Row]:
    """Yield what lines say. Those of a later version, which says more than this one knows, are left out."""
    for of, line in entries:
        try:
            yield from _rows(of, line)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue


def row_of_record(record: JobRecord, backend: str) -> SubmissionRow:
    """Return the row of a job that somebody found with its backend, who may know nothing else of it."""
    at = (record.event.created_at or record.event.at).timestamp()
    return submission_row({}, {**of_record(record, backend), "at": at, "nodes": record.nodes})


def submission_row(of: Line, line: Line) -> SubmissionRow:
    """Return the row of a job. It goes by the decision that the job carries."""
    decision = _decision(line["decision"])
    command = line.get("command")
    return SubmissionRow(
        job_id=line["id"],
        at=_moment(line["at"]) or datetime.now(UTC),
        model=line["model"],
        kind=line["kind"],
        backend=line["backend"],
        repository=_repository(of) if of else None,
        stage=decision.get("stage"),
        source=decision.get("source") or line.get("source"),
        fell_back=bool(decision.get("fell_back")),
        shadow_of=line["labels"].get(_SHADOW_LABEL),
        project=of.get("project"),
        team=of.get("team"),
        owner=of.get("owner"),
        nodes=line["nodes"],
        digest=line["digest"],
        labels=line["labels"],
        decision=_with_sources(line["decision"], line.get("asked") or ()),
        resources=line.get("resources"),
        outputs=line["outputs"],
        command=[redact(word[:_LONGEST_COMMAND]) for word in command] if command else None,
        image=line.get("image"),
        code=line.get("code"),
        version=of.get("version"),
        features=line.get("features"),
    )


def _rows(of: Line, line: Line) -> list[Row]:
    if line["is"] == "accepted":
        return _rows_of_accepted(of, line)
    if line["is"] == "ended":
        return [submission_row({}, line), _outcome(line)]
    fields: dict[str, Any] = {name: value for name, value in line.items() if name != "is"}
    fields |= {name: datetime.fromisoformat(fields[name]) for name in _MOMENTS if fields.get(name)}
    return [_PLAIN[line["is"]](**fields)]


def _rows_of_accepted(of: Line, line: Line) -> list[Row]:
    submitted = submission_row(of, line)
    if not submitted.fell_back or line["refused_by"] is None:
        return [submitted]
    told = str(_decision(line["decision"]).get("reason")).rpartition(" refused: ")[2]
    faults = [(path, problem) for path, problem in line["refusal"] or [("backend", told)]]
    return [submitted, RehearsalRow(job_id=submitted.job_id, backend=line["refused_by"], faults=faults)]


def _outcome(line: Line) -> OutcomeRow:
    return OutcomeRow(
        job_id=line["id"],
        status=line["status"],
        reason=line["reason"],
        exit_code=line["exit_code"],
        created_at=_moment(line["at"]),
        started_at=_moment(line["started_at"]),
        finished_at=_moment(line["finished_at"]),
        message=line["message"],
        attempt=line["attempt"],
    )


def _with_sources(decision: str | None, asked: Iterable[tuple[str, str]]) -> str | None:
    """Return the decision that a job carries, with what every source answered, for which a job has no room."""
    carried = _decision(decision)
    if not carried or not asked:
        return decision or None
    sources = [(name, redact(answer)) for name, answer in asked]
    return json.dumps({**carried, "asked": sources}, sort_keys=True)


def _decision(text: str | None) -> _Fields:
    """Return the decision that a job carries, or nothing where its substrate has lost it."""
    try:
        return dict(json.loads(text or ""))
    except (RecursionError, TypeError, ValueError):
        return {}


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _repository(of: Line) -> str:
    return of["repository"] or _repository_at(of["start"]) or of["project"]


@lru_cache(maxsize=1000)
def _repository_at(start: str) -> str | None:
    return repository_at(Path(start))
