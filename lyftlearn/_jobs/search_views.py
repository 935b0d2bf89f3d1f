"""How searches look to a person: a line of text, and for notebooks a chart of the objective over a table of trials.

As in `views`, nothing here asks anybody, and the HTML fits light and dark pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lyftlearn import _pages
from lyftlearn._jobs import views
from lyftlearn._studies.space import drawn_values
from lyftlearn._studies.study import Study
from lyftlearn._studies.trial_record import TrialRecord, best_record
from lyftlearn._text.display import printable, telling_line

_MOST_ROWS = 50
_MOST_LETTERS = 60  # of a hyperparameter, which may be of any size
_WIDTH, _HEIGHT = 560, 140  # pixels of the chart
_LEFT, _EDGE = 84, 10  # pixels beside the drawing: for the labels, and for half a dot


def search_text(study: Study, records: Sequence[TrialRecord]) -> str:
    """Return how many trials have ended, how many failed, and the best so far."""
    ended = [record for record in records if record.end is not None]
    failures = sum(record.objective is None for record in ended)
    best = best_record(study, ended)
    parts = [
        f"{len(ended)} of {study.trials} trials",
        f"{failures} failed" if failures else "",
        f"best {_objective_text(study, best)} in trial {best.number}" if best else "",
    ]
    return ", ".join(filter(None, parts))


def search_html(study: Study, records: Sequence[TrialRecord]) -> str:
    """Return a search as a chart and a table. Of many trials the table has the best and the latest."""
    best = best_record(study, records)
    shown = _most_telling(records, best)
    rest = f"; the table shows {len(shown)}" if len(shown) < len(records) else ""
    return _pages.render(
        "search.html",
        colours=views.COLOURS,
        caption=search_text(study, records) + rest,
        heads=["trial", study.objective_name, *study.space, "status", "id", "message"],
        trials=[_trial(study, record, is_best=record is best) for record in shown],
        chart=_chart(study, records),
    )


def _most_telling(records: Sequence[TrialRecord], best: TrialRecord | None) -> list[TrialRecord]:
    if len(records) <= _MOST_ROWS:
        return list(records)
    latest = records[-_MOST_ROWS:]
    return list(latest if best is None or best in latest else [best, *latest[1:]])


def _trial(study: Study, record: TrialRecord, *, is_best: bool) -> Mapping[str, object]:
    values = drawn_values(study.space, record.draw)
    draw = [json.dumps(values.get(name), ensure_ascii=False) for name in study.space]
    return {
        "number": record.number,
        "objective": "-" if record.objective is None else f"{record.objective:.6g}",
        "best": is_best,
        "draw": [text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…" for text in draw],
        "status": record.end.status if record.end else None,
        "id": record.job_id,
        "message": telling_line(record.message),
    }


def _objective_text(study: Study, record: TrialRecord) -> str:
    return f"{_name(study)}={record.objective:.6g}"


def _name(study: Study) -> str:
    return printable(study.objective_name)


@dataclass(frozen=True)
class _Scale:
    """Where a trial stands in the chart. last: the number of the last trial. low, high: the range of the objective."""

    last: int
    low: float
    high: float

    def x(self, number: int) -> int:
        return _LEFT + round((_WIDTH - _LEFT - _EDGE) * number / max(1, self.last))

    def y(self, objective: float) -> int:
        height = self.high / 2 - self.low / 2  # halves: a range may be wider than any number
        part = (objective / 2 - self.low / 2) / height if height else 0.5
        return round(_HEIGHT - 2 * _EDGE - (_HEIGHT - 3 * _EDGE) * part)


def _chart(study: Study, records: Sequence[TrialRecord]) -> Mapping[str, object] | None:
    """Return a dot for each trial, a line through the best so far, and a mark at the foot for each that failed."""
    points = [(record.number, record.objective) for record in records if record.objective is not None]
    if not points:
        return None
    objectives = [objective for _, objective in points]
    scale = _Scale(max(record.number for record in records), min(objectives), max(objectives))
    failures = [record.number for record in records if record.end is not None and record.objective is None]
    ends = f"from {scale.low:.6g} to {scale.high:.6g}"
    return {
        "label": f"{study.objective_name} of each trial, {ends}; the line is the best so far",
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT - _EDGE,
        "labels": [(f"{value:.4g}", scale.y(value) + 4) for value in dict.fromkeys((scale.high, scale.low))],
        "dots": _dots(scale, points),
        "marks": _marks(scale, failures),
        "steps": _steps(study, scale, points),
    }


def _dots(scale: _Scale, points: Iterable[tuple[int, float]]) -> str:
    places = dict.fromkeys((scale.x(number), scale.y(objective)) for number, objective in points)
    return "".join(f"M{x} {y}h0" for x, y in places)


def _marks(scale: _Scale, failures: Iterable[int]) -> str:
    return "".join(f"M{x} {_HEIGHT}v-6" for x in dict.fromkeys(map(scale.x, failures)))


def _steps(study: Study, scale: _Scale, points: Sequence[tuple[int, float]]) -> str:
    best, path = points[0][1], f"M{scale.x(points[0][0])} {scale.y(points[0][1])}"
    for number, objective in points:
        if study.better(objective, best):
            best = objective
            path += f"H{scale.x(number)}V{scale.y(best)}"
    return f"{path}H{scale.x(scale.last)}"
