"""How jobs look to a person: a card and a table in HTML for notebooks, a line of text for terminals.

Nothing here asks a backend: a view shows what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lyftlearn import _pages
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
PHASE_COLOURS = {
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
_STEPS = (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))


def job_html(job: Job, link: str | None = None, timings: Timings | None = None) -> str:
    """Return one job as a card. link: a page about it in its substrate's own console. timings: where its time went."""
    from lyftlearn._contract.phases import seconds_by_phase  # noqa: PLC0415 - as below

    state = job.state
    lengths = seconds_by_phase(timings, datetime.now(UTC)) if timings else {}
    return _pages.render(
        "job_card.html",
        colours=COLOURS,
        id=job.id,
        name=job.name,
        kind=job.kind,
        status=state.status,
        link=link,
        named=facts(job),
        phases=[{"length": f"{length:.3f}", "colour": PHASE_COLOURS[name]} for name, length in lengths.items()],
        phase_texts={name: time_text(length) for name, length in lengths.items()},
        message=state.message,
    )


def phase_texts(timings: Timings, now: datetime | None = None) -> dict[str, str]:
    """Return the name and the length of each phase; a phase that came twice is told once, with its whole length."""
    from lyftlearn._contract.phases import seconds_by_phase  # noqa: PLC0415 - to wait needs none

    return {name: time_text(seconds) for name, seconds in seconds_by_phase(timings, now or datetime.now(UTC)).items()}


def jobs_html(jobs: Iterable[Job], notes: Mapping[str, str] | None = None) -> str:
    """Return jobs as a table, a row each. notes: by the id of a job, what its message begins with."""
    shown = [{"status": job.state.status, "texts": _texts(job, (notes or {}).get(job.id, ""))} for job in jobs]
    return (
        _pages.render("jobs_table.html", colours=COLOURS, heads=COLUMNS, jobs=shown) if shown else note_html("no jobs")
    )


def _texts(job: Job, note: str) -> Sequence[str]:
    *texts, message = row(job)
    return [*texts, "; ".join(filter(None, (note, message)))]


def note_html(text: str) -> str:
    """Return a line of text that stands where a view has nothing to show."""
    return _pages.render("note.html", colours=COLOURS, text=text)


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


def money(amount: float, currency: str) -> str:
    """Return an amount as a person reads it: two decimals, and two significant digits of what is less than a cent."""
    return f"{amount:,.2f} {currency}" if amount >= 0.01 or amount == 0 else f"{amount:.2g} {currency}"


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


def facts(job: Job) -> Mapping[str, str]:
    """Return what a card says of a job beside its name and status, without what is not known."""
    state = job.state
    named = {
        "reason": str(state.reason or ""),
        "created": state.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "duration": duration_text(state),
        "exit code": "" if state.exit_code is None else str(state.exit_code),
        "attempt": str(state.attempt) if state.attempt > 1 else "",
        "nodes": nodes_text(job),
        "labels": ", ".join(f"{name}={value}" for name, value in job.labels.items()),
    }
    return {name: value for name, value in named.items() if value}


def nodes_text(job: Job) -> str:
    """Return how many nodes a job has; nothing for a job of one, or where that is not known."""
    nodes = job._record.nodes  # noqa: SLF001 - a friend of the handle
    return str(nodes) if nodes is not None and nodes > 1 else ""
