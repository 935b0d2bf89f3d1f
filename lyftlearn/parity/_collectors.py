"""From a finished job to facts: its state, its lines, its report, its artifacts."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

from lyftlearn._jobs.job import Job
from lyftlearn.errors import JobFailed, JobStopped
from lyftlearn.parity import probe, scenes
from lyftlearn.parity.redaction import Redactor
from lyftlearn.types import JSON, JobState, JobStatus

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Notebook
    from lyftlearn._jobs.tuning import Trial, TuningJob

Facts: TypeAlias = dict[str, JSON]
_GATEWAY_PATIENCE = 3.0
LINES = "command lines"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?")
_BULK = tuple(f"{name}|" for name in ("order", "many"))


class NotObserved(Exception):
    """A job has told nothing, and why."""


@dataclass(frozen=True)
class ProbeContext:
    """What looking at jobs takes.

    redact: under the run's key. grace: seconds between SIGTERM and SIGKILL. counted: says how often a StatsD counter
    has come to the gateway, where somebody can look there.
    """

    redact: Redactor
    grace: float
    counted: Callable[[str], int] | None = None


Collector: TypeAlias = Callable[[Job, ProbeContext], Facts]


def flatten(value: Any, *words: str) -> Facts:
    """Return every leaf of nested mappings by its path."""
    if not isinstance(value, Mapping):
        return {" ".join(words): value}
    found: Facts = {}
    for key, item in value.items():
        found |= flatten(item, *words, json.dumps(key, ensure_ascii=False)[1:-1])
    return found


def state(job: Job, context: ProbeContext) -> dict[str, JSON]:
    """What the handle says of the end."""
    seen = job.state
    return {
        "status": str(seen.status),
        "reason": str(seen.reason) if seen.reason else None,
        "exit_code": seen.exit_code,
        "message": context.redact.text(mask(seen.message, job.id)),
        "attempt": seen.attempt,
    }


def mask(text: str, job_id: str) -> str:
    """Return a text without the id of its job and without points in time."""
    return _TIME.sub("<time>", text.replace(job_id, "<job>"))


def end_collector(*words: str) -> Collector:
    """Return a look at a job's state alone."""
    return lambda job, context: flatten(state(job, context), *words)


def stop_collector(*words: str) -> Collector:
    """Return a look at the state, and at which signals were heard; of two processes in whichever order."""

    def collect(job: Job, context: ProbeContext) -> Facts:
        lines = list(job.logs())
        heard = sorted(line for line in lines if "SIG" in line)
        seen = state(job, context)
        message = sorted(str(seen["message"]).splitlines())
        return flatten(
            {**seen, "message": message, "heard": heard, "went on": _time_after_signal(lines, context.grace)}, *words
        )

    return collect


def _time_after_signal(lines: Sequence[str], grace: float) -> str:
    """How long a command went on that does not end when it is asked to: in classes, since machines are busy."""
    seconds = lines.count("still here")
    if not seconds:
        return "ended at once"
    if seconds < grace / 2:
        return "shorter than the grace"
    return "as long as the grace" if seconds < grace * 1.5 + 10 else "longer than the grace"


def collect_retries(job: Job, context: ProbeContext) -> Facts:
    """Return what the last attempt found, and what is said of all."""
    lines: list[JSON] = list(job.logs())
    return {**read_report(job), **flatten({**state(job, context), "lines": lines}, "retries")}


def collect_nodes(job: Job, _context: ProbeContext) -> Facts:
    """Return what every node saw, and which lines each one has."""
    found = read_report(job)
    for rank in range(sum(1 for path in found if path.endswith(" count"))):
        found[f"nodes {rank} lines"] = list(job.logs(node=rank))
    return found


def collect_report(job: Job, context: ProbeContext) -> Facts:
    """Return what the job observed, and how many of its packets have come to the gateway."""
    found = read_report(job)
    if context.counted is not None:
        found["statsd counted"] = _count_packets(context.counted, f"parity.{job.id}")
    return found


def _count_packets(counted: Callable[[str], int], counter: str) -> int:
    """Ask for a while: what counts packets may be a moment behind."""
    until = time.monotonic() + _GATEWAY_PATIENCE
    while counted(counter) < probe.STATSD_PACKETS and time.monotonic() < until:
        time.sleep(0.05)
    return counted(counter)


def read_report(job: Job) -> Facts:
    """Return what the job left as an output."""
    check_success(job.state)
    with TemporaryDirectory(prefix="lyftlearn-parity-") as directory:
        text = (job.download(directory, output="output") / "output" / scenes.REPORT).read_text(encoding="utf-8")
    return flatten(json.loads(text))


def check_success(seen: JobState) -> None:
    """Raise NotObserved for a job that should have succeeded."""
    if seen.status is not JobStatus.SUCCEEDED:
        why = f" ({seen.reason})" if seen.reason else ""
        raise NotObserved(f"{seen.status}{why}: {seen.message}")


def collect_artifacts(job: Job, context: ProbeContext) -> Facts:
    """Return every file, directory and link of every output, as downloaded."""
    return flatten(_outputs(job, context), "artifacts")


def _outputs(job: Job, context: ProbeContext) -> dict[str, dict[str, JSON]]:
    check_success(job.state)
    with TemporaryDirectory(prefix="lyftlearn-parity-") as directory:
        place = job.download(directory)
        return {output: _members(place / output, context) for output in sorted(job.outputs)}


def _members(top: Path, context: ProbeContext) -> dict[str, JSON]:
    paths = sorted(path for path in top.rglob("*") if path.name != scenes.REPORT)
    return {path.relative_to(top).as_posix(): _member(path, context) for path in paths}


def _member(path: Path, context: ProbeContext) -> JSON:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    mode = stat.filemode(path.stat().st_mode)
    if path.is_dir():
        return mode
    return f"{mode} {path.stat().st_size} bytes {context.redact.fingerprint(path.read_bytes())}"


def collect_output(job: Job, context: ProbeContext) -> Facts:
    """Return what became of the lines that `scenes.output` printed. A line that came twice is there twice."""
    check_success(job.state)
    lines = list(job.logs())
    others = [line for line in lines if line.strip("x")]  # without the rests of long lines that were cut
    found: dict[str, Any] = {"count": len(others), "empty": lines.count("")}
    for name in [*(name for name, _ in scenes.SPECIAL), "last"]:
        found[name] = [line.partition("|")[2] for line in lines if line.startswith(f"{name}|")]
    for length in scenes.LENGTHS:
        tag = f"long-{length}|"
        found[f"long {length}"] = [_length(line, tag) for line in lines if line.startswith(tag)]
    found |= {tag[:-1]: _sequence(lines, tag, context) for tag in _BULK}
    return flatten(found, "output")


def _length(line: str, tag: str) -> str:
    """How many of the characters came; another line may be glued to them."""
    rest = line.removeprefix(tag)
    return f"{len(rest)} characters" + ("" if rest.strip("x") == "" else ", others among them")


def _sequence(lines: Sequence[str], tag: str, context: ProbeContext) -> dict[str, JSON]:
    came = [line for line in lines if line.startswith(tag)]
    numbers = [int(line.split("|")[1]) for line in came if re.fullmatch(r"\w+\|\d+(\|\w+)?", line)]
    in_order = numbers == sorted(numbers)
    return {"count": len(came), "in order": in_order, "all": context.redact.fingerprint("\n".join(came).encode())}


def collect_search(job: Job, context: ProbeContext) -> Facts:
    """Return how a search ended, what its handle says of each trial, and its driver's last line.

    The lines before come in the order in which the trials ended.
    """
    search = cast("TuningJob", job)
    trials = search.trials()
    ids = {trial.job.id: f"<trial {trial.number}>" for trial in trials}
    found: dict[str, Any] = {**state(job, context), "best": _best(search), "outputs": sorted(job.outputs)}
    found["trials"] = {str(trial.number): _trial(trial) for trial in trials}
    found["last line"] = [_replace_all(mask(line, job.id), ids) for line in job.logs(tail=1)]
    return flatten(found, "search")


def _best(job: TuningJob) -> int | None:
    try:
        return job.best().number
    except JobFailed:
        return None


def _trial(trial: Trial) -> dict[str, Any]:
    job = trial.job
    return {
        "hyperparameters": json.dumps(dict(trial.hyperparameters), sort_keys=True),
        "objective": trial.objective,
        "message": mask(trial.message, job.id),
        "status": str(job.wait(check=False, progress=False).status),
        "lines": list(job.logs()),
    }


def _replace_all(text: str, words: Mapping[str, str]) -> str:
    for word, name in words.items():
        text = text.replace(word, name)
    return text


def visit_notebook(job: Job) -> Facts:
    """Open a notebook and stop it; return what its handle says meanwhile. An address belongs to one platform."""
    notebook = cast("Notebook", job)
    address = urlsplit(notebook._address().url)  # noqa: SLF001 - without the warning for whoever opens it
    opened = {"scheme": address.scheme.rstrip("s"), "has a token": "token" in parse_qs(address.query)}
    found = flatten({**opened, "status": str(job.status)}, "notebook", "open")
    job.stop(wait=True)
    return {**found, "notebook stopped url": _refusal(notebook)}


def _refusal(notebook: Notebook) -> str:
    try:
        notebook.url()
    except JobStopped as stopped:
        return mask(str(stopped), notebook.id)
    return "given"


def collect_command(job: Job, context: ProbeContext) -> Facts:
    """Return how the user's own command ended, what it left, and its lines in `LINES`, for `lay_out`."""
    found = flatten(state(job, context), "command")
    found[LINES] = [mask(line, job.id) for line in job.logs()]
    if job.state.status is JobStatus.SUCCEEDED:
        found |= flatten(_outputs(job, context), "command", "artifact")
    return found
