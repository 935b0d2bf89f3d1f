"""The live status line of a wait: one line for one job, a few for several.

Drawn on standard error, so that standard output stays the caller's. A terminal gets a line that moves, a notebook an
output that is replaced, anything else one plain line for each change.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn._jobs import views
from lyftlearn._jobs.search_progress import search_standings
from lyftlearn._text.display import printable, telling_line
from lyftlearn.types import JobState, JobStatus

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from lyftlearn._jobs.job import Job

OnUpdate: TypeAlias = "Callable[[Job, JobState], None]"

_MOST_LINES = 10
_SIGNS = {JobStatus.SUCCEEDED: "✓", JobStatus.FAILED: "✗", JobStatus.STOPPED: "■"}


def should_display(progress: bool | None) -> bool:
    """Return whether to draw: as told, else if somebody sees it."""
    return (_terminal() or _notebook()) if progress is None else progress


def live_display(jobs: Sequence[Job]) -> AbstractContextManager[OnUpdate]:
    """Draw `jobs` until the context ends. Gives the function to call with each change."""
    if _notebook():
        return _in_notebook(jobs)
    return _on_terminal(jobs) if _terminal() else _as_lines(jobs)


def _terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and shell.has_trait("kernel")


@contextmanager
def _as_lines(jobs: Sequence[Job]) -> Iterator[OnUpdate]:
    lines = _Lines()
    for job in jobs:
        lines.print_state(job, job.state)
    standings: dict[str, str] = {}
    with search_standings(jobs, standings):

        def update(job: Job, state: JobState) -> None:
            lines.print_state(job, state)
            lines.print_standings(standings)

        yield update
    lines.print_standings(standings)


class _Lines:
    """Prints what changed, and nothing twice."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], str] = {}

    def print_state(self, job: Job, state: JobState) -> None:
        detail = f": {_message(state)}" if state.status.finished and state.message else ""
        self._print(job.id, "state", f"{views.status_text(state)}{_attempt(state)}", detail)

    def print_standings(self, standings: Mapping[str, str]) -> None:
        for job_id, text in list(standings.items()):
            self._print(job_id, "standing", text)

    def _print(self, job_id: str, topic: str, text: str, detail: str = "") -> None:
        if self._last.get((job_id, topic), "") != text:
            self._last[job_id, topic] = text
            print(f"{job_id} {text}{detail}", file=sys.stderr, flush=True)


@contextmanager
def _on_terminal(jobs: Sequence[Job]) -> Iterator[OnUpdate]:
    from rich.console import Console  # noqa: PLC0415 - loaded only to draw
    from rich.live import Live  # noqa: PLC0415

    states = _states(jobs)
    standings: dict[str, str] = {}
    spinner = _Spinner()
    console = Console(stderr=True)
    live = Live(
        console=console,
        get_renderable=lambda: _renderable(jobs, states, standings, spinner),
        refresh_per_second=8,
        redirect_stdout=False,  # else what the caller prints would go to standard error
        redirect_stderr=False,
    )
    with live, search_standings(jobs, standings):
        yield lambda job, state: states.update({job.id: state})


@contextmanager
def _in_notebook(jobs: Sequence[Job]) -> Iterator[OnUpdate]:
    ipython = import_module("IPython.display")  # whoever runs in a notebook has it

    def html() -> Any:
        return ipython.HTML(views.jobs_html(jobs, standings))

    standings: dict[str, str] = {}
    handle = ipython.display(html(), display_id=True)
    with search_standings(jobs, standings):
        yield lambda job, state: handle.update(html())  # noqa: ARG005 - a job holds its state
    handle.update(html())


class _Spinner:
    """Turns by one each time it is drawn."""

    _FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

    def __init__(self) -> None:
        self._drawn = 0

    def turn(self) -> str:
        self._drawn += 1
        return self._FRAMES[self._drawn % len(self._FRAMES)]


def _states(jobs: Sequence[Job]) -> dict[str, JobState]:
    return {job.id: job.state for job in jobs}


def _renderable(
    jobs: Sequence[Job], states: dict[str, JobState], standings: Mapping[str, str], spinner: _Spinner
) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    sign = spinner.turn()
    shown = _most_telling(jobs, states)
    for job in shown:
        grid.add_row(*(Text(text, style) for text, style in _line(job, states[job.id], standings, sign)))
    if len(shown) < len(jobs):
        grid.add_row("", Text(_count(states), "dim"))
    return grid


def _line(job: Job, state: JobState, standings: Mapping[str, str], sign: str) -> list[tuple[str, str]]:
    style = views.STATUS_STYLES[state.status]
    return [
        (f"{_SIGNS.get(state.status, sign)} {job.id}", style),
        (f"{views.status_text(state)}{_attempt(state)}", style),
        (views.duration_text(state), ""),
        ("; ".join(filter(None, (standings.get(job.id), _message(state)))), "dim"),
    ]


def _message(state: JobState) -> str:
    return printable(telling_line(state.message))


def _attempt(state: JobState) -> str:
    return f", attempt {state.attempt}" if state.attempt > 1 else ""


def _most_telling(jobs: Sequence[Job], states: dict[str, JobState]) -> list[Job]:
    """Return what fits: all, else the unfinished and the failed before the rest, in the order given."""
    if len(jobs) <= _MOST_LINES:
        return list(jobs)
    first = [job for job in jobs if states[job.id].status is not JobStatus.SUCCEEDED]
    rest = [job for job in jobs if states[job.id].status is JobStatus.SUCCEEDED]
    chosen = {job.id for job in (first + rest)[:_MOST_LINES]}
    return [job for job in jobs if job.id in chosen]


def _count(states: dict[str, JobState]) -> str:
    counts = Counter(state.status for state in states.values())
    return f"{len(states)} jobs: " + ", ".join(f"{counts[status]} {status}" for status in JobStatus if counts[status])
