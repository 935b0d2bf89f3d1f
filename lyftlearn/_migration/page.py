"""A migration as one page of HTML: numbers, charts in SVG, tables. It needs no script, no network and no other file.

Colours come in pairs, for light and dark pages; each fill has a contrast of at least 3 to its page (WCAG 2.2, 1.4.11),
and nothing is said by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn._jobs.views import escape, time_text
from lyftlearn._text.display import printable

if TYPE_CHECKING:
    from lyftlearn._migration.results import (
        BackendStats,
        Blocker,
        MigrationStatus,
        ModelProgress,
        ModelReadiness,
        ReadinessReport,
    )
    from lyftlearn._migration.statistics import Interval

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1f2328; --faint: #59636e; --line: #d1d9e0;
  --there: #1a7f37; --would: #54a24b; --not: #bc4c00; --unknown: #818b98; --old: #6639ba; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --text: #e6edf3; --faint: #9198a1; --line: #3d444d;
  --there: #3fb950; --would: #2f8f46; --not: #f0883e; --unknown: #7d8590; --old: #b392f0; --card: #151b23; } }
body { background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.faint, th { color: var(--faint); font-weight: normal; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.4rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; flex: 1 1 11rem;
  padding: .8rem 1rem; }
.card b { display: block; font-size: 1.9rem; line-height: 1.2; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem .35rem 0; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td { white-space: nowrap; } td.said { white-space: normal; overflow-wrap: anywhere; }
.key { display: inline-block; margin-right: 1.2rem; }
.swatch { border-radius: 2px; display: inline-block; height: .8em; margin-right: .4em; width: .8em; }
svg { display: block; height: auto; width: 100%; } svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg .faint { fill: var(--faint); } svg .axis { stroke: var(--line); }
.scroll { overflow-x: auto; }
"""
_FILLS = {
    "there": "ran on {new}",
    "would": "would have run",
    "not": "would not have run, or was refused",
    "unknown": "not rehearsed",
}
_NO_REASONS = "<h2>What stands against jobs</h2><p>Nothing that a rehearsal found.</p>"
_MOST_BARS = 40
_WIDTH, _LABEL, _BAR = 960, 280, 22


def page(report: ReadinessReport, status: MigrationStatus) -> str:
    """Return the page."""
    title = f"Migration from {report.old} to {report.new}"
    parts = (
        f"<h1>{_visible(title)}</h1>",
        f'<div class="faint">{_window(report.since)}</div>',
        _cards(report, status),
        _readiness(report),
        _reasons("What stands against jobs", report.reasons) or _NO_REASONS,
        _reasons(f"Why {report.new} refused jobs, which ran on {report.old} instead", report.fall_backs),
        _sides(status),
        _progress(status),
        _comparisons(status),
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{_visible(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _visible(text: str) -> str:
    """Return a text as HTML that shows it, without what would turn it around."""
    return escape(printable(text))


def _window(since: datetime | None) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"jobs submitted since {since.strftime('%Y-%m-%d %H:%M %Z')}, as of {now}"
        if since
        else f"all jobs, as of {now}"
    )


def _cards(report: ReadinessReport, status: MigrationStatus) -> str:
    rehearsed = sum(of.rehearsed for of in report.models)
    would = sum(of.would_have_run for of in report.models)
    standing = sum(reason.standing for reason in report.reasons)
    submitted = sum(of.submissions for of in report.models)
    cards = (
        (_percent(status.total.share if submitted else None), f"of {submitted} jobs ran on {report.new}"),
        (_percent(would / rehearsed if rehearsed else None), f"of {rehearsed} rehearsed jobs would have run there"),
        (str(standing), "reasons still stand against others"),
        (_alike(status), "shadows were like their jobs"),
    )
    return f'<div class="cards">{"".join(_card(*card) for card in cards)}</div>'


def _card(number: str, text: str) -> str:
    return f'<div class="card"><b>{_visible(number)}</b>{_visible(text)}</div>'


def _alike(status: MigrationStatus) -> str:
    compared = status.total.comparisons
    return f"{sum(not one.differences for one in compared)} of {len(compared)}" if compared else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _readiness(report: ReadinessReport) -> str:
    keys = "".join(
        f'<span class="key"><span class="swatch" style="background:var(--{name})"></span>'
        f"{_visible(text.format(new=report.new))}</span>"
        for name, text in _FILLS.items()
    )
    busiest = sorted(report.models, key=lambda of: -of.submissions)
    shown = busiest[:_MOST_BARS]
    more = len(busiest) - len(shown)
    note = f'<p class="faint">and {more} models with fewer jobs</p>' if more else ""
    return f"<h2>Jobs of each model</h2><div>{keys}</div>{_bars(shown)}{note}"


def _bars(models: Sequence[ModelReadiness]) -> str:
    most = max((of.submissions for of in models), default=1)
    height = _BAR * len(models) + 4
    drawn = "".join(_bar(of, row, (_WIDTH - _LABEL - 60) / most) for row, of in enumerate(models))
    return _svg(height, "jobs of each model by what became of them", drawn)


def _bar(of: ModelReadiness, row: int, scale: float) -> str:
    parts = {
        "there": of.ran_there,
        "would": of.would_have_run,
        "not": of.rehearsed - of.would_have_run + of.fell_back,
        "unknown": max(0, of.submissions - of.ran_there - of.rehearsed - of.fell_back),
    }
    name, top = f"{of.repository} · {of.model}", row * _BAR + 4
    shapes, left = [_text(0, top + 12, name[-44:])], float(_LABEL)
    for fill, jobs in parts.items():
        if jobs:
            tip = f"<title>{_visible(name)}: {jobs} {_visible(_FILLS[fill].format(new='the new side'))}</title>"
            shapes.append(
                f'<rect x="{left:.1f}" y="{top}" width="{jobs * scale:.1f}" height="{_BAR - 6}" '
                f'style="fill:var(--{fill})">{tip}</rect>'
            )
            left += jobs * scale
    return "".join([*shapes, _text(left + 6, top + 12, str(of.submissions), faint=True)])


def _reasons(title: str, reasons: Sequence[Blocker]) -> str:
    rows = [
        (
            (str(reason.count), "number"),
            (reason.path, ""),
            (f"{reason.problem} (such as: {reason.example})" if reason.example else reason.problem, "said"),
            (", ".join(reason.models), "said"),
            ("yes" if reason.standing else "no longer", ""),
        )
        for reason in reasons
    ]
    return _table(title, ("jobs", "field", "problem and remedy", "models", "still"), rows) if rows else ""


def _sides(status: MigrationStatus) -> str:
    sides = [(status.old, "old", status.total.old), (status.new, "there", status.total.new)]
    sides += [("shadows", "would", status.total.shadow)]
    present = [side for side in sides if side[2].jobs]
    charts = (
        ("Succeeded", lambda side: side.success_rate, "{:.0%}".format, 1.0),
        ("Start-up: created to started, median", lambda side: side.start_up, time_text, None),
        ("Duration of those that succeeded, median", lambda side: side.duration, time_text, None),
    )
    drawn = "".join(_ranges(title, present, of, written, most) for title, of, written, most in charts)
    note = "A line is the 95 % confidence interval. Different models may be on the two sides: compare them below."
    return f'<h2>How jobs fare on either side</h2><p class="faint">{note}</p>{drawn}'


def _ranges(
    title: str,
    sides: Sequence[tuple[str, str, BackendStats]],
    of: Callable[[BackendStats], Interval | None],
    written: Callable[[float], str],
    most: float | None,
) -> str:
    found = [(name, colour, interval) for name, colour, side in sides if (interval := of(side)) is not None]
    if not found:
        return ""
    top = most or max(max(one.value, one.high or 0.0) for _, _, one in found) or 1.0
    scale = (_WIDTH - _LABEL - 220) / top
    rows = [_range(row * _BAR + 12, one, scale, written) for row, one in enumerate(found)]
    axis = f'<line class="axis" x1="{_LABEL}" x2="{_LABEL}" y1="0" y2="{_BAR * len(found)}"/>'
    return f"<h3 class='faint'>{_visible(title)}</h3>{_svg(_BAR * len(found) + 4, title, axis + ''.join(rows))}"


def _range(y: int, of: tuple[str, str, Interval], scale: float, written: Callable[[float], str]) -> str:
    name, colour, one = of
    x, text = _LABEL + one.value * scale, written(one.value)
    line = ""
    end = x
    if one.low is not None and one.high is not None:
        start, end = _LABEL + one.low * scale, _LABEL + one.high * scale
        line = (
            f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{y}" y2="{y}" '
            f'style="stroke:var(--{colour});stroke-width:4;opacity:.55"/>'
        )
        text = f"{text} ({written(one.low)} to {written(one.high)})"
    dot = f'<circle cx="{x:.1f}" cy="{y}" r="6" style="fill:var(--{colour})"/>'
    return _text(0, y + 4, name) + line + dot + _text(max(x, end) + 12, y + 4, text)


def _progress(status: MigrationStatus) -> str:
    rows = [_progress_row(of) for of in status.models]
    heads = ("repository", "model", "stage", "on the new side", "old: succeeded", "new: succeeded", "old: duration")
    return _table("ModelProgress of each model", (*heads, "new: duration", "fell back"), rows) if rows else ""


def _progress_row(of: ModelProgress) -> list[tuple[str, str]]:
    def succeeded(side: BackendStats) -> str:
        return f"{side.succeeded} of {side.succeeded + side.failed}" if side.jobs else "-"

    def duration(side: BackendStats) -> str:
        return time_text(side.duration.value) if side.duration else "-"

    names = [(of.repository or "", ""), (of.model or "", ""), (of.stage or "override", "")]
    numbers = [_percent(of.share), succeeded(of.old), succeeded(of.new), duration(of.old), duration(of.new)]
    return [*names, *((number, "number") for number in (*numbers, str(of.fell_back)))]


def _comparisons(status: MigrationStatus) -> str:
    compared = status.total.comparisons
    if not compared:
        return ""
    rows = [
        ((one.job_id, ""), (one.shadow_id, ""), ("; ".join(one.differences), "said"))
        for one in compared
        if one.differences
    ]
    if not rows:
        return f"<h2>Shadows and their jobs</h2><p>All {len(compared)} that were compared are alike.</p>"
    return _table("Shadows that differ from their jobs", ("job", "shadow", "in what"), rows)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]]) -> str:
    body = list(rows)
    kinds = [kind for _, kind in body[0]]
    top = "".join(f'<th class="{kind}">{_visible(head)}</th>' for head, kind in zip(heads, kinds, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td class={kind or chr(34) * 2}>{_visible(text)}</td>' for text, kind in row)}</tr>"
        for row in body
    )
    return f'<h2>{_visible(title)}</h2><div class="scroll"><table><tr>{top}</tr>{lines}</table></div>'


def _text(x: float, y: float, text: str, *, faint: bool = False) -> str:
    return f'<text x="{x:.1f}" y="{y}"{" class=faint" if faint else ""}>{_visible(text)}</text>'


def _svg(height: int, label: str, inside: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{_visible(label)}">{inside}</svg>'
