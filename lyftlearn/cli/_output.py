"""What the command line prints: answers on standard output, everything said beside them on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn._jobs import views
from lyftlearn._text.display import printable, printable_lines, terminal_text
from lyftlearn.cli import _next_steps
from lyftlearn.cli._exit_codes import exit_code
from lyftlearn.errors import BackendUnavailable, Conflict, InvalidJob, JobFailed, JobStopped, WaitTimeout

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.backend import LogLine

NEXT_STEPS = "next_steps"
"""Of each JSON document: commands that a person or a program may run next."""


def say(line: str = "") -> None:
    """Print one line of the answer."""
    print(line)


def note(line: str) -> None:
    """Print a line beside the answer."""
    print("\n".join(printable_lines(line)), file=sys.stderr, flush=True)


def is_watched() -> bool:
    """Whether a person sees what is said beside the answer."""
    return sys.stderr.isatty()


@contextmanager
def transient_line() -> Iterator[Callable[[str], None]]:
    """Give what shows a text beside the answer until the next one; it is seen on a terminal alone."""
    watched = is_watched()

    def show(text: str) -> None:
        if watched:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")


def document(value: Any) -> None:
    """Print the answer as one line of JSON, in which each object, or each of a list, has its next steps."""
    for one in value if isinstance(value, list) else [value]:
        one.setdefault(NEXT_STEPS, [])
    say(json.dumps(value, default=to_plain))


def job_document(job: Job) -> dict[str, Any]:
    """Return a job as plain data, as last observed."""
    identity = {"id": job.id, "kind": job.kind, "name": job.name, "labels": dict(job.labels)}
    from lyftlearn.ops.placement import placement  # noqa: PLC0415 - brings all that operators ask

    where = placement(job)
    placed = {"backend": where.backend, "stage": where.stage, "decision": dataclasses.asdict(where)}
    return {**identity, **dataclasses.asdict(job.state), **placed, NEXT_STEPS: _next_steps.of_job(job)}


def error_document(error: BaseException) -> dict[str, Any]:
    """Return an error as plain data, with what its class carries."""
    document: dict[str, Any] = {"type": type(error).__name__, "message": str(error), "exit_code": int(exit_code(error))}
    document[NEXT_STEPS] = _next_steps.of_error(error)
    if isinstance(error, InvalidJob):
        document["faults"] = fault_documents(error.faults)
    if isinstance(error, Conflict | BackendUnavailable):
        document["job_id"] = error.job_id
    if isinstance(error, JobFailed | JobStopped):
        document["job_id"] = error.job.id
    if isinstance(error, WaitTimeout):
        document["job_ids"] = [job.id for job in error.jobs]
    return {"error": document}


def fault_documents(faults: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Return faults as plain data."""
    return [{"path": path, "problem": problem} for path, problem in faults]


def lines(texts: Iterable[str], *, flush: bool) -> None:
    """Print lines of a job's output: as they are, but for what a terminal would obey. `flush`: show each at once."""
    shown = terminal_text if sys.stdout.isatty() else str
    for text in texts:
        print(shown(text), flush=flush)


def line_documents(lines: Iterable[LogLine], *, flush: bool) -> None:
    """Print lines of a job's output as JSON, an object each, with the node that wrote it and the time in UTC."""
    for line in lines:
        document = {"line": line.text, "node": line.node, "time": line.at.astimezone(UTC).isoformat()}
        print(json.dumps(document), flush=flush)


def facts(pairs: Mapping[str, str]) -> None:
    """Print names and values, aligned, a status in its colour; what is empty is left out."""
    rows = [(name, printable(value)) for name, value in pairs.items() if value]
    for (_, value), line in zip(rows, views.align(rows), strict=True):
        say_styled(line, value, views.STATUS_STYLES.get(value.partition(" ")[0]))


def say_styled(line: str, word: str, style: str | None) -> None:
    """Print a line; a terminal shows `word` in it in a style of rich."""
    if style is None or not sys.stdout.isatty():
        say(line)
        return
    from rich.console import Console  # noqa: PLC0415 - loaded only to draw
    from rich.text import Text  # noqa: PLC0415

    text = Text(line)
    text.highlight_words([word], style)
    Console().print(text, soft_wrap=True)


def quote(text: str) -> None:
    """Print what a job said, indented, after an empty line; nothing if it said nothing."""
    for line in ["", *text.splitlines()] if text else []:
        say(f"  {printable(line)}".rstrip())


def value_text(value: Any) -> str:
    """Return a value as a person reads it: a mapping as `{name: value}`, all else as it is."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {of}" for name, of in value.items()) + "}"
    return str(value)


def to_plain(value: Any) -> Any:
    """Return what JSON does not know as something it knows."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
