"""A comparison as one page of HTML: a matrix of facts and backends, in which every cell opens to both values.

It needs no script, no network and no other file. What is said by colour is said by a sign and a word as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lyftlearn import _pages
from lyftlearn._jobs import views
from lyftlearn.parity import _tally
from lyftlearn.parity._model import HOLDING, SEVERITY, Cell, Parity, Row, Verdict
from lyftlearn.parity._values import difference, excerpt

_SIGNS = {
    Verdict.EQUAL: "✓",
    Verdict.NOISE: "≈",
    Verdict.ALLOWED: "◇",
    Verdict.NOT_OBSERVED: "∅",
    Verdict.UNKNOWN: "?",
    Verdict.BROKEN: "✗",
}
_MEANINGS = {
    Verdict.BROKEN: "differs, against the contract",
    Verdict.UNKNOWN: "differs, and nobody has classed it yet",
    Verdict.NOT_OBSERVED: "nobody looked, because a job did not run: see the subject jobs",
    Verdict.ALLOWED: "differs, for a documented reason",
    Verdict.NOISE: "differs between two runs on {reference}, too",
    Verdict.EQUAL: "the same",
}
_FOLDS = {
    "against the contract, or not classed": _tally.BAD,
    "that were not observed": (Verdict.NOT_OBSERVED,),
    "that may differ": (Verdict.ALLOWED, Verdict.NOISE),
    "the same everywhere": (Verdict.EQUAL,),
}
_CUT = 70
_PATH_CUT = 160


def page(parity: Parity) -> str:
    """Return the page."""
    return _pages.render("parity.html", **values(parity))


def values(parity: Parity) -> Mapping[str, Any]:
    """Return what the page's template shows."""
    failed = _tally.failures(parity)
    return {
        "css": _css,
        "signs": _SIGNS,
        "title": f"Environmental parity with {parity.reference}",
        "reference": parity.reference,
        "backends": list(parity.backends),
        "banner": Verdict.EQUAL if parity.holds else max(_worst(parity.rows), Verdict.UNKNOWN, key=SEVERITY.index),
        "conclusion": _tally.conclusion(parity).capitalize(),
        "sentence": _tally.sentence(parity),
        "failed": f"{failed[0].upper()}{failed[1:]}." if failed else "",
        "command": parity.command,
        "when": f"{parity.started_at:%Y-%m-%d %H:%M %Z}, {views.time_text(parity.seconds)}, lyftlearn {parity.version}",
        "cards": list(_cards(parity)),
        "meanings": [(of, meaning.format(reference=parity.reference)) for of, meaning in _MEANINGS.items()],
        "subjects": list(_subjects(parity)),
        "reasons": [(reason, f"{count:,}") for reason, count in _tally.reasons(parity).most_common()],
        "unmatched": parity.unmatched,
        "unmatched_size": _tally.count_text(len(parity.unmatched), "pattern"),
    }


def _css(verdict: Verdict) -> str:
    return verdict.replace(" ", "-")


def _worst(rows: Iterable[Row]) -> Verdict:
    return max((row.worst for row in rows), key=SEVERITY.index, default=Verdict.EQUAL)


def _cards(parity: Parity) -> Iterator[Mapping[str, object]]:
    silent = _tally.silent_backends(parity)
    good = "agrees" if parity.failures else "holds"
    for name, counts in _tally.by_backend(parity).items():
        worst = max(counts, key=SEVERITY.index, default=Verdict.EQUAL)
        bad = "differs" if worst in _tally.BAD else "not observed" if name in silent else "partly observed"
        yield {
            "name": name,
            "verdict": Verdict.EQUAL if worst in HOLDING else worst,
            "word": good if worst in HOLDING else bad,
            "counts": [(of, counts[of]) for of in reversed(SEVERITY) if counts[of]],
            "said": "nothing was observed here" if name in silent else _tally.in_words(counts),
        }


def _subjects(parity: Parity) -> Iterator[Mapping[str, object]]:
    """Yield each subject with its facts, the gravest first."""
    subjects: dict[str, list[tuple[int, Row]]] = {}
    for number, row in enumerate(parity.rows):
        subjects.setdefault(row.subject, []).append((number, row))
    ordered = sorted(subjects.items(), key=lambda item: -SEVERITY.index(_worst(row for _, row in item[1])))
    for name, rows in ordered:
        worst = _worst(row for _, row in rows)
        yield {
            "name": name,
            "worst": worst,
            "open": worst in _tally.BAD,
            "size": _tally.count_text(len(rows), "fact"),
            "verdicts": [_summary(of, [row.cells[of].verdict for _, row in rows]) for of in parity.backends],
            "parts": list(_parts(parity, rows)),
        }


def _summary(name: str, verdicts: Sequence[Verdict]) -> Mapping[str, object]:
    worst = max(verdicts, key=SEVERITY.index)
    word = "equal" if worst is Verdict.EQUAL else f"{verdicts.count(worst):,} {worst}"
    return {"backend": name, "worst": worst, "word": word}


def _parts(parity: Parity, rows: Sequence[tuple[int, Row]]) -> Iterator[Mapping[str, object]]:
    """Yield the facts of one subject in parts, the gravest first."""
    for said, verdicts in _FOLDS.items():
        members = [one for one in rows if one[1].worst in verdicts]
        if members:
            ordered = sorted(members, key=lambda one: -SEVERITY.index(one[1].worst))
            yield {
                "summary": f"{_tally.count_text(len(members), 'fact')} {said}",
                "rows": [_row(parity, number, row) for number, row in ordered],
            }


def _row(parity: Parity, number: int, row: Row) -> Mapping[str, object]:
    against = next((cell.value for cell in row.cells.values() if cell.verdict is row.worst), row.reference)
    return {
        "path": row.path,
        "name": excerpt(row.path.partition(" ")[2] or row.path, "", _PATH_CUT),
        "worst": row.worst,
        "reference": _short(row.reference, against),
        "cells": list(_cells(parity, number, row)),
    }


def _cells(parity: Parity, number: int, row: Row) -> Iterator[Mapping[str, object]]:
    """Yield the cells of a row. Those that say the same share the card that they open to, which the first one has."""
    sharing: dict[Cell, list[str]] = {}
    for name in parity.backends:
        sharing.setdefault(row.cells[name], []).append(name)
    cards = {cell: f"f{number}-{place}" for place, cell in enumerate(sharing)}
    for name in parity.backends:
        cell = row.cells[name]
        yield {
            "backend": name,
            "verdict": cell.verdict,
            "short": _short(cell.value, row.reference),
            "id": cards[cell],
            "card": _card(row, cell, sharing[cell]) if sharing[cell][0] == name else None,
        }


def _card(row: Row, cell: Cell, names: Sequence[str]) -> Mapping[str, object]:
    return {
        "reason": cell.reason,
        "names": ", ".join(names),
        "expected": _whole(row.reference, cell.value),
        "found": _whole(cell.value, row.reference),
    }


def _short(value: str | None, against: str | None) -> str | None:
    return None if value is None else excerpt(value, against or "", _CUT)


def _whole(value: str | None, against: str | None) -> Mapping[str, str] | None:
    """Return a value in three parts, the middle one being where it differs."""
    if value is None:
        return None
    start, end = (len(value), 0) if against is None else difference(value, against)
    stop = len(value) - end
    return {"before": value[:start], "between": value[start:stop], "after": value[stop:] if end else ""}
