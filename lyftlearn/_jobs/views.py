"""How jobs look to a person: a card and a table in HTML for notebooks, a line of text for terminals.

Nothing here asks a backend: a view shows what it is given. The HTML carries its whole style in its elements,
takes text colour and background from the page, and so fits light and dark pages, and pages that forbid style sheets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lyftlearn._text.display import printable, telling_line
from lyftlearn.types import JobState, JobStatus

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.backend import Timings

COLUMNS = ("id", "name", "kind", "status", "created", "duration", "message")

# White text on each has a contrast of at least 4.5 (WCAG 2.2, 1.4.3), and each stands out from black and white pages.
COLOURS = {
    JobStatus.PENDING: "#6e7681",
    JobStatus.STARTING: "#8250df",
    JobStatus.RUNNING: "#0969da",
    JobStatus.STOPPING: "#9a6700",
    JobStatus.SUCCEEDED: "#1a7f37",
    JobStatus.FAILED: "#cf222e",
    JobStatus.STOPPED: "#9a6700",
}
_PHASE_COLOURS = {
    "waiting": "#6e7681",
    "pulling": "#9a6700",
    "starting": "#8250df",
    "fetching": "#1b7c83",
    "running": "#0969da",
    "uploading": "#1a7f37",
}
STATUS_STYLES: Mapping[str, str] = {
    JobStatus.PENDING: "dim",
    JobStatus.STARTING: "magenta",
    JobStatus.RUNNING: "blue",
    JobStatus.STOPPING: "yellow",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
    JobStatus.STOPPED: "yellow",
}
"""What a terminal shows each status in, in the words of rich."""
FONT = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5"
_LINE = "1px solid rgba(128,128,128,.35)"
_CARD = f"{FONT};display:inline-block;max-width:44rem;padding:.7em 1em;border:{_LINE};border-radius:8px"
_BADGE = "color:#fff;border-radius:1em;padding:.1em .7em;font-weight:600;font-size:12px;white-space:nowrap"
CODE = "font-family:ui-monospace,monospace;font-size:12px"
_QUOTE = f"{CODE};margin:.5em 0 0;padding:.5em .7em;border-left:3px solid;white-space:pre-wrap;overflow-wrap:anywhere"
_CELL = f"text-align:left;vertical-align:top;padding:.3em .8em;border-bottom:{_LINE}"
FAINT = "opacity:.7"
_KEPT = "white-space:nowrap"
_FOLDED = "min-width:16em;overflow-wrap:anywhere"

# What html.escape does, without the table of 2231 entities that is loaded with it.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
_STEPS = (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))


def job_html(job: Job, link: str | None = None, timings: Timings | None = None) -> str:
    """Return one job as a card. link: a page about it in its substrate's own console. timings: where its time went."""
    state = job.state
    head = f'<b style="font-size:15px">{escape(job.name)}</b>&ensp;{badge(state.status)}&ensp;{faint(job.kind)}'
    facts = "".join(_fact(name, value) for name, value in _facts(job).items())
    said = f'<div style="{_QUOTE};border-color:{COLOURS[state.status]}">{escape(state.message)}</div>'
    return (
        f'<div style="{_CARD}">'
        f'<div>{head}</div><div style="{CODE};margin:.2em 0 .4em">{_link_to(job.id, link)}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:.1em 1.6em">{facts}</div>'
        f"{_timings_html(timings) if timings else ''}"
        f"{said if state.message else ''}</div>"
    )


def phase_texts(timings: Timings, now: datetime | None = None) -> dict[str, str]:
    """Return the name and the length of each phase; a phase that came twice is told once, with its whole length."""
    return {name: time_text(seconds) for name, seconds in _phase_seconds(timings, now or datetime.now(UTC)).items()}


def _phase_seconds(timings: Timings, now: datetime) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for phase in timings.phases:
        length = ((phase.finished_at or now) - phase.started_at).total_seconds()
        seconds[str(phase.name)] = seconds.get(phase.name, 0.0) + max(0.0, length)
    return seconds


def _timings_html(timings: Timings) -> str:
    """Return a bar of phases with their lengths beside it, so that nothing depends on colour."""
    seconds = _phase_seconds(timings, datetime.now(UTC))
    parts = "".join(
        f'<span style="flex:{length:.3f} 1 0;min-width:1px;background:{_PHASE_COLOURS[name]}"></span>'
        for name, length in seconds.items()
    )
    facts = "".join(_fact(name, text) for name, text in phase_texts(timings).items())
    return (
        f'<div aria-hidden="true" style="display:flex;gap:1px;height:6px;margin:.5em 0 .2em">{parts}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:.1em 1.6em">{facts}</div>'
    )


def _link_to(job_id: str, link: str | None) -> str:
    return f'<a href="{escape(link)}">{escape(job_id)}</a>' if link else escape(job_id)


def jobs_html(jobs: Iterable[Job], notes: Mapping[str, str] | None = None) -> str:
    """Return jobs as a table, a row each. notes: by the id of a job, what its message begins with."""
    rows = [_cells(job, (notes or {}).get(job.id, "")) for job in jobs]
    return table_html(COLUMNS, rows) if rows else note_html("no jobs")


def note_html(text: str) -> str:
    """Return a line of text that stands where a view has nothing to show."""
    return f'<div style="{FONT};{FAINT}">{escape(text)}</div>'


def table_html(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already, under heads that are not. Lines break under "message" alone."""
    styles = [f"{_CELL};{_FOLDED if head == 'message' else _KEPT}" for head in heads]
    head = "".join(f'<th scope="col" style="{_CELL};{FAINT}">{escape(text)}</th>' for text in heads)
    return (
        f'<div style="overflow-x:auto"><table style="{FONT};border-collapse:collapse">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(_row_html(row, styles) for row in rows)}</tbody></table></div>"
    )


def row(job: Job, now: datetime | None = None) -> tuple[str, ...]:
    """Return a job's texts for `COLUMNS`, without control characters; of its message, the line that tells most."""
    state = job.state
    created = state.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    texts = (
        job.id,
        job.name,
        str(job.kind),
        str(state.status),
        created,
        duration_text(state, now),
        ": ".join(filter(None, (state.reason, telling_line(state.message)))),
    )
    return tuple(printable(text) for text in texts)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of left-aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def status_text(state: JobState) -> str:
    """Return the status, with the reason of a failure."""
    return f"{state.status} ({state.reason})" if state.reason else str(state.status)


def duration_text(state: JobState, now: datetime | None = None) -> str:
    """Return how long the job has run, or `-` if it has not started."""
    if state.started_at is None:
        return "-"
    return duration_words((state.finished_at or now or datetime.now(UTC)) - state.started_at)


def duration_words(time: timedelta) -> str:
    """Return a length of time in its two largest units: `7s`, `3m 05s`, `2h 10m`, `4d 01h`."""
    seconds = max(0, int(time.total_seconds()))
    for unit, size, rest, part in _STEPS:
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // part:02}{rest}"
    return f"{seconds}s"


def time_text(seconds: float) -> str:
    """Return a length of time as `duration_words` does, and short ones with a decimal: `0.3s`."""
    return f"{seconds:.1f}s" if seconds < 9.95 else duration_words(timedelta(seconds=seconds))


def escape(text: str) -> str:
    """Return `text` as HTML that shows it."""
    return text.translate(_ESCAPES)


def _facts(job: Job) -> Mapping[str, str]:
    state = job.state
    facts = {
        "reason": str(state.reason or ""),
        "created": state.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "duration": duration_text(state),
        "exit code": "" if state.exit_code is None else str(state.exit_code),
        "attempt": str(state.attempt) if state.attempt > 1 else "",
        "nodes": nodes_text(job),
        "labels": ", ".join(f"{name}={value}" for name, value in job.labels.items()),
    }
    return {name: value for name, value in facts.items() if value}


def nodes_text(job: Job) -> str:
    """Return how many nodes a job has; nothing for a job of one, or where that is not known."""
    nodes = job._record.nodes  # noqa: SLF001 - a friend of the handle
    return str(nodes) if nodes is not None and nodes > 1 else ""


def _fact(name: str, value: str) -> str:
    return f"<span>{faint(name)} {escape(value)}</span>"


def faint(text: str) -> str:
    """Return `text` as HTML that steps back."""
    return f'<span style="{FAINT}">{escape(text)}</span>'


def badge(status: JobStatus) -> str:
    """Return a status on its colour."""
    return f'<span style="{_BADGE};background:{COLOURS[status]}">{escape(status)}</span>'


def _cells(job: Job, note: str) -> list[str]:
    texts = dict(zip(COLUMNS, map(escape, row(job)), strict=True))
    texts["id"] = f'<span style="{CODE}">{texts["id"]}</span>'
    texts["status"] = badge(job.state.status)
    texts["message"] = "; ".join(filter(None, (escape(note), texts["message"])))
    return list(texts.values())


def _row_html(cells: Sequence[str], styles: Sequence[str]) -> str:
    row = "".join(f'<td style="{style}">{cell}</td>' for style, cell in zip(styles, cells, strict=True))
    return f"<tr>{row}</tr>"
