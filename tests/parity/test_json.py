"""The document that a comparison is kept in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.errors import InvalidJob
from lyftlearn.parity._json import dump, load
from lyftlearn.parity._model import Cell, Parity, Row, Verdict

from .samples import STARTED, mixed

TEXTS = st.text(st.characters(), max_size=8)  # surrogates too
CELLS = st.builds(Cell, verdict=st.sampled_from(Verdict), value=st.none() | TEXTS, reason=TEXTS)


@st.composite
def parities(draw: st.DrawFn) -> Parity:
    backends = draw(st.lists(TEXTS, max_size=2, unique=True))
    cells = st.fixed_dictionaries(dict.fromkeys(backends, CELLS))
    rows = st.builds(Row, path=TEXTS, reference=st.none() | TEXTS, cells=cells)
    return Parity(
        reference=draw(TEXTS),
        backends=tuple(backends),
        rows=tuple(draw(st.lists(rows, max_size=3))),
        command=draw(st.none() | TEXTS),
        version="1.2",
        started_at=STARTED,
        seconds=1.5,
        unmatched=tuple(draw(st.lists(TEXTS, max_size=2))),
    )


@given(parities())
def test_what_was_dumped_is_loaded_again(parity: Parity) -> None:
    """Pages and tables are made of the document, later and elsewhere, so nothing may be lost in it."""
    assert load(dump(parity)) == parity


def test_a_reader_needs_no_arithmetic() -> None:
    """A pipeline asks `jq .holds`, and a person what there is of each."""
    document = json.loads(dump(mixed()))
    assert document["parity"] == 1
    assert document["holds"] is False
    assert document["counts"] == {"equal": 15, "noise": 1, "allowed": 1, "broken": 3, "unknown": 1, "not observed": 0}


def cell(document: Any) -> Any:
    return document["rows"][0]["cells"]["alike"]


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda document: document.update(parity=2), "parity"),
        (lambda document: document.pop("rows"), "rows"),
        (lambda document: document.update(seconds=True), "seconds"),
        (lambda document: document.update(backends=["a", 1]), "backends"),
        (lambda document: document.update(started_at="yesterday"), "started_at"),
        (lambda document: document.update(started_at="2026-01-01T00:00:00"), "started_at"),
        (lambda document: document["rows"].append(7), "rows[21]"),
        (lambda document: document["rows"][0].pop("path"), "rows[0].path"),
        (lambda document: document["rows"][0].update(reference=[]), "rows[0].reference"),
        (lambda document: document["rows"][0]["cells"].pop("alike"), "rows[0].cells"),
        (lambda document: document["rows"][0]["cells"].update(alike=None), "rows[0].cells.alike"),
        (lambda document: cell(document).update(verdict="fine"), "rows[0].cells.alike.verdict"),
        (lambda document: cell(document).update(value=3), "rows[0].cells.alike.value"),
        (lambda document: cell(document).pop("reason"), "rows[0].cells.alike.reason"),
    ],
)
def test_a_spoilt_document_says_where(spoil: Callable[[Any], object], where: str) -> None:
    """A file that was cut, edited, or made by another version is told by the place that is wrong."""
    document = json.loads(dump(mixed()))
    spoil(document)
    with pytest.raises(InvalidJob) as caught:
        load(json.dumps(document), "parity.json")
    assert [place for place, _ in caught.value.faults] == [f"parity.json: {where}"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '"x"'])
def test_what_is_no_document_is_refused(text: str) -> None:
    """A wrong file given by mistake says so, in one line."""
    with pytest.raises(InvalidJob, match=r"parity.json.* is "):
        load(text, "parity.json")


def test_of_many_faults_the_first_are_told() -> None:
    """A document that is wrong throughout would otherwise fill the screen."""
    document = json.loads(dump(mixed()))
    for row in document["rows"]:
        row["path"] = None
        row["reference"] = 0
    with pytest.raises(InvalidJob) as caught:
        load(json.dumps(document))
    assert len(caught.value.faults) == 21
    assert caught.value.faults[-1] == ("and", "22 faults more")
