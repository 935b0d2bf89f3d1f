"""A comparison as a JSON document, and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn.errors import InvalidJob
from lyftlearn.parity._model import Cell, Parity, Row, Verdict

VERSION = 1
_TEXT = (str,)
_OPTIONAL = (str, type(None))
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "reference": _TEXT,
    "backends": (list,),
    "command": _OPTIONAL,
    "version": _TEXT,
    "started_at": _TEXT,
    "seconds": (int, float),
    "unmatched": (list,),
    "rows": (list,),
}
_TYPE_NAMES = {
    _TEXT: "a text",
    _OPTIONAL: "a text or null",
    (list,): "a list",
    (int, float): "a number",
}
_LISTS_OF_TEXTS = ("backends", "unmatched")
_MOST_FAULTS = 20


def dump(parity: Parity) -> str:
    """Return a document. `holds`, `failures` and `counts`, of facts by their worst verdict, are there for readers."""
    counts = Counter(row.worst for row in parity.rows)
    head = {
        "parity": VERSION,
        "holds": parity.holds,
        "failures": dict(parity.failures),
        "counts": {str(verdict): counts[verdict] for verdict in Verdict},
    }
    fields = {**asdict(parity), "started_at": parity.started_at.isoformat()}
    return json.dumps({**head, **fields}, indent=1) + "\n"


def load(text: str, origin: str = "the report") -> Parity:
    """Return what `dump` wrote. Raises InvalidJob, which lists faults by their place; origin: what it calls `text`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidJob([(origin, f"is not JSON: {exc}")]) from exc
    faults = [Fault(f"{origin}: {where}" if where else origin, problem) for where, problem in _faults(document)]
    if faults:
        raise InvalidJob(_first(faults))
    return Parity(
        **{key: document[key] for key in ("reference", "command", "version", "seconds")},
        backends=tuple(document["backends"]),
        rows=tuple(map(_row, document["rows"])),
        started_at=datetime.fromisoformat(document["started_at"]),
        unmatched=tuple(document["unmatched"]),
    )


def _row(table: Mapping[str, Any]) -> Row:
    cells = {
        name: Cell(verdict=Verdict(cell["verdict"]), value=cell["value"], reason=cell["reason"])
        for name, cell in table["cells"].items()
    }
    return Row(path=table["path"], reference=table["reference"], cells=cells)


def _first(faults: list[Fault]) -> list[Fault]:
    more = len(faults) - _MOST_FAULTS
    return faults if more <= 0 else [*faults[:_MOST_FAULTS], Fault("and", f"{more} faults more")]


def _faults(document: Any) -> Iterator[Fault]:
    if not isinstance(document, dict):
        yield Fault("", f"is {_excerpt(document)}: it should be an object")
    elif "servers" in document:
        yield Fault("", "compares servers of models, by `parity run --serve`: only comparisons of jobs are shown again")
    elif document.get("parity") != VERSION:
        yield Fault(
            "parity", f"is {_excerpt(document.get('parity'))}: this lyftlearn reads version {VERSION} of the document"
        )
    else:
        wrong = list(_field_faults(document))
        yield from wrong or _deep_faults(document)


def _field_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    for key, types in _FIELDS.items():
        if key not in document:
            yield Fault(key, "is missing")
        elif not isinstance(document[key], types) or isinstance(document[key], bool):
            yield Fault(key, f"is {_excerpt(document[key])}: it should be {_TYPE_NAMES[types]}")
        elif key in _LISTS_OF_TEXTS:
            yield from _fault_unless(
                key, document[key], good=all(isinstance(one, str) for one in document[key]), wanted="texts"
            )


def _deep_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _fault_unless(
        "started_at", document["started_at"], good=_is_time(document["started_at"]), wanted="a time"
    )
    for number, row in enumerate(document["rows"]):
        yield from _row_faults(f"rows[{number}]", row, document["backends"])


def _row_faults(where: str, row: Any, backends: list[str]) -> Iterator[Fault]:
    if not isinstance(row, dict):
        yield Fault(where, f"is {_excerpt(row)}: it should be an object")
        return
    cells, reference = row.get("cells"), row.get("reference", 0)
    yield from _fault_unless(f"{where}.path", row.get("path"), good=isinstance(row.get("path"), str), wanted="a text")
    yield from _fault_unless(
        f"{where}.reference", reference, good=isinstance(reference, _OPTIONAL), wanted="a text or null"
    )
    if not isinstance(cells, dict) or sorted(cells) != sorted(backends):
        yield Fault(f"{where}.cells", f"is {_excerpt(cells)}: it should have a cell for each of {', '.join(backends)}")
        return
    for name, cell in cells.items():
        yield from _cell_faults(f"{where}.cells.{name}", cell)


def _cell_faults(where: str, cell: Any) -> Iterator[Fault]:
    if not isinstance(cell, dict):
        yield Fault(where, f"is {_excerpt(cell)}: it should be an object")
        return
    verdict, value, reason = cell.get("verdict"), cell.get("value", 0), cell.get("reason")
    verdicts = f"one of {', '.join(Verdict)}"
    yield from _fault_unless(f"{where}.verdict", verdict, good=verdict in list(Verdict), wanted=verdicts)
    yield from _fault_unless(f"{where}.value", value, good=isinstance(value, _OPTIONAL), wanted="a text or null")
    yield from _fault_unless(f"{where}.reason", reason, good=isinstance(reason, str), wanted="a text")


def _fault_unless(where: str, seen: Any, *, good: bool, wanted: str) -> Iterator[Fault]:
    if not good:
        yield Fault(where, f"is {_excerpt(seen)}: it should be {wanted}")


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
