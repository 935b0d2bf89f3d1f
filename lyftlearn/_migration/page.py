"""A migration as one page of HTML: numbers, charts in SVG, tables. It needs no script, no network and no other file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn import _pages
from lyftlearn._jobs.views import money, time_text
from lyftlearn._migration.evidence_rows import EVIDENCE_HEADS, WORKFLOW_HEADS, evidence_row, workflow_row
from lyftlearn._migration.rungs import LADDER

if TYPE_CHECKING:
    from lyftlearn._migration.results import (
        BackendStats,
        Blocker,
        MigrationStatus,
        ModelProgress,
        ModelReadiness,
        ReadinessReport,
        RungStep,
    )
    from lyftlearn._migration.statistics import Interval

_FILLS = {
    "there": "ran on {new}",
    "would": "would have run",
    "not": "would not have run, or was refused",
    "unknown": "not rehearsed",
}
_MOST_BARS = 40
_WIDTH, _LABEL, _STEP = 960, 280, 22  # of a chart, of the names at its left, of a line

_BLOCKER_HEADS = (("jobs", "number"), ("field", ""), ("problem and remedy", "said"), ("models", "said"), ("still", ""))
_NAMES = ("repository", "model", "stage")
_NUMBERS = (
    *("on the new side", "old: succeeded", "new: succeeded", "old: duration", "new: duration"),
    *("old: cost of a job", "new: cost of a job", "fell back"),
)
_PROGRESS_HEADS = (*((name, "") for name in _NAMES), *((name, "number") for name in _NUMBERS))


_EVIDENCE_HEADS = tuple(zip(EVIDENCE_HEADS, ("", "", "", "", "", "said", "said", "said"), strict=True))
_WORKFLOW_HEADS = tuple(zip(WORKFLOW_HEADS, ("", "", "number", *["number"] * 3, "", ""), strict=True))
_STEP_HEADS = (("when", ""), ("repository", ""), ("model", ""), ("step", ""), ("why", "said"), ("who", ""), ("", ""))


def page(report: ReadinessReport, status: MigrationStatus) -> str:
    """Return the page."""
    return _pages.render("migration.html", **values(report, status))


def values(report: ReadinessReport, status: MigrationStatus) -> Mapping[str, Any]:
    """Return what the page's template shows."""
    busiest = sorted(report.models, key=lambda of: -of.submissions)[:_MOST_BARS]
    compared = status.total.comparisons
    refused = f"Why {report.new} refused jobs, which ran on {report.old} instead"
    return {
        "title": f"Migration from {report.old} to {report.new}",
        "window": _window(report.since),
        "cards": _cards(report, status),
        "keys": {fill: text.format(new=report.new) for fill, text in _FILLS.items()},
        "width": _WIDTH,
        "label": _LABEL,
        "step": _STEP,
        "bars": list(_bars(busiest)),
        "more": len(report.models) - len(busiest),
        "blockers": _table("What stands against jobs", _BLOCKER_HEADS, map(_blocker_row, report.reasons)),
        "fall_backs": _table(refused, _BLOCKER_HEADS, map(_blocker_row, report.fall_backs)),
        "problem": status.problem,
        "rungs": _rungs(status),
        "evidence": _table("What is missing before the next rung", _EVIDENCE_HEADS, _evidence_rows(status)),
        "workflows": _table(
            "What is shown of each kind of workflow", _WORKFLOW_HEADS, map(workflow_row, status.workflows)
        ),
        "steps": _table("The newest changes of flags", _STEP_HEADS, map(_step_row, status.steps)),
        "charts": list(_charts(status)),
        "progress": _table("Progress of each model", _PROGRESS_HEADS, map(_progress_row, status.models)),
        "compared": len(compared),
        "shadows": _table(
            "Shadows that differ from their jobs",
            (("job", ""), ("shadow", ""), ("in what", "said")),
            ((one.job_id, one.shadow_id, "; ".join(one.differences)) for one in compared if one.differences),
        ),
    }


def _window(since: datetime | None) -> str:
    jobs = f"jobs submitted since {since:%Y-%m-%d %H:%M %Z}" if since else "all jobs"
    return f"{jobs}, as of {datetime.now(UTC):%Y-%m-%d %H:%M UTC}"


def _cards(report: ReadinessReport, status: MigrationStatus) -> Sequence[tuple[str, str]]:
    rehearsed = sum(of.rehearsed for of in report.models)
    would = sum(of.would_have_run for of in report.models)
    standing = sum(reason.standing for reason in report.reasons)
    submitted = sum(of.submissions for of in report.models)
    lost = f"; {report.lost} were lost with their process" if report.lost else ""
    return (
        (_percent(status.total.share if submitted else None), f"of {submitted} jobs ran on {report.new}"),
        (
            _percent(would / rehearsed if rehearsed else None),
            f"of {rehearsed} rehearsed jobs would have run there{lost}",
        ),
        (str(standing), "reasons still stand against others"),
        (_alike(status), "shadows were like their jobs"),
    )


def _alike(status: MigrationStatus) -> str:
    compared = status.total.comparisons
    return f"{sum(not one.differences for one in compared)} of {len(compared)}" if compared else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _bars(models: Sequence[ModelReadiness]) -> Iterator[Mapping[str, object]]:
    most = max((of.submissions for of in models), default=1)
    scale = (_WIDTH - _LABEL - 60) / most
    for of in models:
        name, parts, left = f"{of.repository} · {of.model}", list[Mapping[str, object]](), float(_LABEL)
        for fill, jobs in _became(of).items():
            width = jobs * scale
            tip = f"{name}: {jobs} {_FILLS[fill].format(new='the new side')}"
            parts.append({"left": f"{left:.1f}", "width": f"{width:.1f}", "fill": fill, "tip": tip})
            left += width
        yield {"name": name, "parts": parts, "end": f"{left + 6:.1f}", "jobs": of.submissions}


def _became(of: ModelReadiness) -> Mapping[str, int]:
    """Return how many jobs of a model became what, in the order in which they are drawn."""
    became = {
        "there": of.ran_there,
        "would": of.would_have_run,
        "not": of.rehearsed - of.would_have_run + of.fell_back,
        "unknown": of.submissions - of.ran_there - of.rehearsed - of.fell_back,
    }
    return {fill: jobs for fill, jobs in became.items() if jobs > 0}


def _table(title: str, heads: object, rows: Iterator[Sequence[str]]) -> Mapping[str, object]:
    return {"title": title, "heads": heads, "rows": list(rows)}


def _rungs(status: MigrationStatus) -> Sequence[Mapping[str, object]]:
    """Return how many models stand on each rung, from the lowest to the highest; nothing where none is known."""
    counts = Counter(of.evidence.rung for of in status.models if of.evidence)
    most = max(counts.values(), default=0)
    scale = (_WIDTH - _LABEL - 60) / (most or 1)
    of_each = [(str(rung), counts[str(rung)]) for rung in LADDER]
    bars = [{"name": name, "models": count, "width": f"{count * scale:.1f}"} for name, count in of_each]
    return bars if most else []


def _evidence_rows(status: MigrationStatus) -> Iterator[Sequence[str]]:
    """Yield the models that are not on the last rung, those first of which something is missing."""
    on_the_way = [of for of in status.models if of.evidence and of.evidence.next_rung]
    ordered = sorted(on_the_way, key=lambda of: not (of.evidence and of.evidence.missing))
    return (evidence_row(of, of.evidence) for of in ordered if of.evidence)


def _step_row(step: RungStep) -> Sequence[str]:
    moved = f"{step.rung_before} to {step.rung_after}" if step.rung_after else "another file"
    names = (step.repository or "", step.model or "")
    return (f"{step.at:%Y-%m-%d %H:%M}", *names, moved, step.why, step.who, step.state)


def _blocker_row(reason: Blocker) -> Sequence[str]:
    problem = f"{reason.problem} (such as: {reason.example})" if reason.example else reason.problem
    still = "yes" if reason.standing else "no longer"
    return str(reason.count), reason.path, problem, ", ".join(reason.models), still


def _charts(status: MigrationStatus) -> Iterator[Mapping[str, object]]:
    sides = [(status.old, "old", status.total.old), (status.new, "there", status.total.new)]
    sides += [("shadows", "would", status.total.shadow)]
    present = [side for side in sides if side[2].jobs]
    charts = (
        ("Succeeded", lambda side: side.success_rate, "{:.0%}".format, 1.0),
        ("Start-up: created to started, median", lambda side: side.start_up, time_text, None),
        ("Duration of those that succeeded, median", lambda side: side.duration, time_text, None),
    )
    for title, of, written, most in charts:
        ranges = _ranges(present, of, written, most)
        if ranges:
            yield {"title": title, "ranges": ranges}


def _ranges(
    sides: Sequence[tuple[str, str, BackendStats]],
    of: Callable[[BackendStats], Interval | None],
    written: Callable[[float], str],
    most: float | None,
) -> Sequence[Mapping[str, object]]:
    found = [(name, fill, interval) for name, fill, side in sides if (interval := of(side)) is not None]
    top = most or max((max(one.value, one.high or 0.0) for _, _, one in found), default=0.0) or 1.0
    scale = (_WIDTH - _LABEL - 220) / top
    return [{"name": name, "fill": fill, **_range(one, scale, written)} for name, fill, one in found]


def _range(one: Interval, scale: float, written: Callable[[float], str]) -> Mapping[str, object]:
    at, text = _LABEL + one.value * scale, written(one.value)
    if one.low is None or one.high is None:
        return {"at": f"{at:.1f}", "line": None, "end": f"{at + 12:.1f}", "text": text}
    start, end = _LABEL + one.low * scale, _LABEL + one.high * scale
    return {
        "at": f"{at:.1f}",
        "line": (f"{start:.1f}", f"{end:.1f}"),
        "end": f"{max(at, end) + 12:.1f}",
        "text": f"{text} ({written(one.low)} to {written(one.high)})",
    }


def _progress_row(of: ModelProgress) -> Sequence[str]:
    def succeeded(side: BackendStats) -> str:
        return f"{side.succeeded} of {side.succeeded + side.failed}" if side.jobs else "-"

    def duration(side: BackendStats) -> str:
        return time_text(side.duration.value) if side.duration else "-"

    def cost(side: BackendStats) -> str:
        return "-" if side.cost is None else money(side.cost, side.currency or "")

    names = (of.repository or "", of.model or "", of.stage or "override")
    sides = (succeeded(of.old), succeeded(of.new), duration(of.old), duration(of.new), cost(of.old), cost(of.new))
    return *names, _percent(of.share), *sides, str(of.fell_back)
