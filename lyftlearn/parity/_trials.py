"""The jobs of a comparison: what each is called with, and what it is looked at for.

Each costs minutes and money on a real platform. So what one job can tell honestly is one job: everything that a program
observes, its lines and its artifacts. An exit code, a stop and a timeout are the end of a job, and need one each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.parity import _collectors, probe, redaction, scenes
from lyftlearn.parity._collectors import Collector, Facts, ProbeContext
from lyftlearn.types import Choice, JobKind, JobStatus, Objective, Resources

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job

SUBJECTS: Mapping[str, str] = {
    "arguments": "what a command's words become, odd quoting included",
    "environment": "every variable",
    "files": "every file of the contract: mode, owner, content",
    "process": "user, groups, working directory, umask, locale, time zone, capabilities",
    "limits": "the kernel's limits",
    "signals": "what is blocked and ignored at the start",
    "descriptors": "what is open at the start",
    "machine": "CPU, memory, disk and /dev/shm, as a program sees them",
    "tree": "the processes above and beside",
    "names": "what host names resolve to",
    "secrets": "the shape of each secret, as variable and as file",
    "image": "Python, system and packages of the image",
    "host": "name and kernel of the machine, links in the contract's paths",
    "statsd": "whether metrics go out, and arrive",
    "hyperparameters": "what every type of hyperparameter arrives as",
    "inputs": "what is in each channel",
    "artifacts": "what is kept of every kind of file",
    "output": "what becomes of every kind of line",
    "exit": "what the handle says of each way to end",
    "stop": "what a stop does, and a command that ignores it",
    "timeout": "what a timeout does",
    "retries": "attempts, and what they leave each other",
    "nodes": "what several nodes know of each other",
    "command": "your own command: its end, lines and artifacts",
    "search": "what a search tries, what its trials find, and what is said of them",
    "notebook": "what the handle of a notebook says, while it is open and when it is stopped",
}
OBSERVED = tuple(SUBJECTS)[:16]
EXIT_CODES = (0, 1, 2, 3, 37, 64, 70, 78, 124, 126, 127, 128, 129, 130, 137, 143, 255)
SIGNALS = ("HUP", "INT", "KILL", "SEGV", "TERM")
KIT, FILE, DIRECTORY, TRAP = "parity", "parity-file", "parity-directory", "parity-trap"
TRAP_KEY, TRAP_FILES = "parity/inputs", {"train/wanted.csv": b"1,2\n", "train-old/unwanted.csv": b"3,4\n"}
ODD_WORDS = (
    *("", " ", "two words", "it's", '"', "\\", "$HOME", "$(LYFTLEARN_JOB_NAME)", "$$(NAME)", "$(NOBODY)", "$$", "*"),
    *("~", "caf\u00e9", "line\nbreak", "tab\t", "-x", "--", "--name=value", ";", "|", "`id`", "{}", "%s", "x" * 5000),
)
ODD_VARIABLES = {
    "PARITY_EMPTY": "",
    "PARITY_EXPANDED": "hello $(LYFTLEARN_JOB_NAME) and $(PARITY_EMPTY)$(NOBODY) $$(HOME)",
    "PARITY_QUOTES": 'it\'s "quoted" \\ $HOME `id` %s {}',
    "PARITY_LINES": "one\ntwo\n",
    "PARITY_SPACES": "  both sides  ",
    "PARITY_UNICODE": "caf\u00e9 \u65e5\u672c\u8a9e",
    "PARITY_LONG": "0123456789" * 5000,
}
TORTURE: Mapping[str, Any] = {
    "text": "plain",
    "text of a number": "1.10",
    "text with zeros": "007",
    "text of a truth": "true",
    "text of nothing": "null",
    "empty": "",
    "quotes": 'it\'s "quoted" \\ $HOME',
    "newlines": "one\ntwo\r\n\tthree",
    "unicode": "caf\u00e9 \u65e5\u672c\u8a9e \U0001f697",
    "caf\u00e9": "a name",
    "name with spaces": 1,
    "dotted.name": 1,
    "number": 1.10,
    "whole": 1,
    "whole as real": 1.0,
    "negative": -1,
    "minus zero": -0.0,
    "third": 1 / 3,
    "exponent": 1e-7,
    "smallest": 5e-324,
    "large": 1e308,
    "beyond doubles": 2**53 + 1,
    "very long number": 10**40,
    "true": True,
    "false": False,
    "null": None,
    "list": [1, "1", 1.0, True, None, [], {}],
    "empty list": [],
    "empty object": {},
    "nested": {"a": {"b": [{"c": "\n\"'"}, [[]]]}},
    "long": "0123456789" * 10_000,
}
COUNTER = "parity.$(LYFTLEARN_JOB_ID)"
_LEAST = Resources(cpu=1, memory="512Mi", disk="1Gi")
_NOTEBOOK = Resources(cpu=1, memory="2Gi", disk="1Gi")
_TIMEOUT = "15m"
_QUICK_TIMEOUT = "10s"


@dataclass(frozen=True, kw_only=True)
class TrialSelection:
    """What is compared.

    only: beginnings of paths, whole words: a subject, or more, as `exit 37`. job: the user's options, arguments of
    `Client.train`. kit: a directory of `lay_kit`. trap: the URI of an input whose name is another's beginning. key: of
    the fingerprints.
    """

    only: frozenset[str]
    job: Mapping[str, Any]
    kit: Path
    trap: str
    python: str
    key: str

    def includes(self, *paths: str) -> bool:
        """Whether anything under one of `paths` is asked for."""
        return any(is_under(path, one) or is_under(one, path) for path in paths for one in self.only)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One job. covers: beginnings of paths. collector: what reads its facts. kind: the function that submits it.

    act: what is done to it while it runs, and what that tells.
    """

    name: str
    covers: tuple[str, ...]
    arguments: Mapping[str, Any]
    collector: Collector
    act: Callable[[Job], Facts] | None = None
    kind: JobKind = JobKind.TRAIN

    def name_in(self, backend: str, run: int) -> str:
        """Return what the job is called. Two runs of one notebook would be one job, and it stays on its backend."""
        name = f"parity-{self.name}"
        return f"{name}-{backend}-{run}" if self.kind is JobKind.NOTEBOOK else name


def trials(selection: TrialSelection) -> list[Trial]:
    """Return the jobs that tell what is asked for, the most telling first."""
    makers = (_program, _command, _searches, _notebooks, _retries, _nodes, _stops, _timeouts, _exits)
    return [trial for make in makers for trial in make(selection) if selection.includes(*trial.covers)]


def is_under(path: str, start: str) -> bool:
    """Whether a path begins with the words of `start`."""
    return path == start or path.startswith(f"{start} ")


def lay_kit(directory: Path) -> None:
    """Put what the jobs bring along into `directory`."""
    for module in (probe, redaction, scenes):
        path = Path(str(module.__file__))
        _put(directory / KIT / path.name, path.read_bytes())
    _put(directory / FILE / "one.csv", b"1,2\n")
    for name in ("a.csv", "deep/er/b.csv", "caf\u00e9.csv", "with space.csv"):
        _put(directory / DIRECTORY / name, name.encode())
    _put(directory / DIRECTORY / "empty.csv", b"")
    for name, mode in (("train.py", 0o644), ("run.sh", 0o755), ("pack/age/module.py", 0o644)):
        _put(directory / "source" / name, f"# {name}\n".encode(), mode)


def _put(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _program(selection: TrialSelection) -> Iterator[Trial]:
    """Yield the job that observes, leaves artifacts and prints, as much of it as is asked for.

    It gets the user's image, variables, secrets, resources, source and inputs, and torture beside them.
    """
    hidden = ("command",) if selection.job.get("secrets") else ()
    collectors = {
        "observe": _collectors.collect_report,
        "artifacts": _collectors.collect_artifacts,
        "output": _collectors.collect_output,
    }
    covers = {"observe": (*OBSERVED, *hidden), "artifacts": ("artifacts",), "output": ("output",)}
    scene_names = [name for name, paths in covers.items() if selection.includes(*paths)]
    given = {
        name: value for name, value in selection.job.items() if name in ("image", "secrets", "resources", "labels")
    }
    arguments = {
        "command": _scene(selection, "+".join(scene_names), *ODD_WORDS),
        "source": selection.job.get("source", selection.kit / "source"),
        "hyperparameters": TORTURE,
        "inputs": {**selection.job.get("inputs", {}), **_inputs(selection)},
        "env": {**selection.job.get("env", {}), **ODD_VARIABLES, probe.KEY: selection.key, scenes.COUNTER: COUNTER},
        "timeout": _TIMEOUT,
        **given,
    }
    covered = tuple(path for name in scene_names for path in covers[name])
    yield Trial(
        name="program",
        covers=covered,
        arguments=arguments,
        collector=partial(_collect_all, [collectors[name] for name in scene_names]),
    )


def _collect_all(collectors: Sequence[Collector], job: Job, context: ProbeContext) -> Facts:
    found: Facts = {}
    for one in collectors:
        found |= one(job, context)
    return found


def _inputs(selection: TrialSelection) -> dict[str, str | Path]:
    return {
        KIT: selection.kit / KIT,
        FILE: selection.kit / FILE / "one.csv",
        DIRECTORY: selection.kit / DIRECTORY,
        TRAP: selection.trap,
    }


def _scene(selection: TrialSelection, scene: str, *words: str) -> list[str]:
    return [selection.python, f"$(LYFTLEARN_INPUTS_DIR)/{KIT}/scenes.py", scene, *words]


def _command(selection: TrialSelection) -> Iterator[Trial]:
    if "command" in selection.job:
        yield Trial(name="command", covers=("command",), arguments=selection.job, collector=_collectors.collect_command)


def _small_job(selection: TrialSelection, command: str | list[str], **others: Any) -> dict[str, Any]:
    """Return the arguments of a job that needs next to nothing."""
    given = {name: value for name, value in selection.job.items() if name in ("image", "labels")}
    return {"command": command, "resources": _LEAST, "timeout": _TIMEOUT, **given, **others}


def _scene_job(selection: TrialSelection, scene: str, **others: Any) -> dict[str, Any]:
    return _small_job(selection, _scene(selection, scene), inputs={KIT: selection.kit / KIT}, **others)


def _searches(selection: TrialSelection) -> Iterator[Trial]:
    arguments = _scene_job(
        selection,
        "trial",
        space={"choice": Choice([1, "1", None])},
        objective=Objective(name="loss", goal="minimize", pattern=r"loss=(\S+)"),
        trials=3,
        parallel=3,
        strategy="grid",
    )
    yield Trial(
        name="search",
        covers=("search",),
        arguments=arguments,
        collector=_collectors.collect_search,
        kind=JobKind.TUNE,
    )


def _notebooks(selection: TrialSelection) -> Iterator[Trial]:
    """Yield one that ends by itself, should nobody stop it."""
    given = {name: value for name, value in selection.job.items() if name in ("image", "labels")}
    yield Trial(
        name="notebook",
        covers=("notebook",),
        arguments={"resources": _NOTEBOOK, "idle_timeout": _TIMEOUT, **given},
        collector=_collectors.end_collector("notebook"),
        act=_collectors.visit_notebook,
        kind=JobKind.NOTEBOOK,
    )


def _retries(selection: TrialSelection) -> Iterator[Trial]:
    yield Trial(
        name="retries",
        covers=("retries",),
        arguments=_scene_job(selection, "retry", retries=2),
        collector=_collectors.collect_retries,
    )


def _nodes(selection: TrialSelection) -> Iterator[Trial]:
    count = max(2, selection.job.get("nodes", 1))
    yield Trial(
        name="nodes",
        covers=("nodes",),
        arguments=_scene_job(selection, "nodes", nodes=count),
        collector=_collectors.collect_nodes,
    )


def _stops(selection: TrialSelection) -> Iterator[Trial]:
    for name, scene in (("asked", "waiting"), ("stubborn", "stubborn")):
        yield Trial(
            name=f"stop-{name}",
            covers=(f"stop {name}",),
            arguments=_scene_job(selection, scene),
            collector=_collectors.stop_collector("stop", name),
            act=_stop_once_up,
        )


def _stop_once_up(job: Job) -> Facts:
    for line in job.logs(follow=True):
        if line == scenes.UP:
            job.stop()
            break
    return {}


def _timeouts(selection: TrialSelection) -> Iterator[Trial]:
    arguments = _scene_job(selection, "waiting", timeout=_QUICK_TIMEOUT)
    yield Trial(
        name="timeout", covers=("timeout",), arguments=arguments, collector=_collectors.stop_collector("timeout")
    )


def _exits(selection: TrialSelection) -> Iterator[Trial]:
    ways: dict[str, str | list[str]] = {str(code): _exit_script(f"exit {code}") for code in EXIT_CODES}
    ways |= {f"signal {name}": _exit_script(f"kill -{name} $$$$; sleep 60") for name in SIGNALS}
    ways["no such command"] = ["/no/such/command"]
    for way, command in ways.items():
        name = f"exit-{way.replace(' ', '-')}"
        covers, arguments = (f"exit {way}",), _small_job(selection, command)
        yield Trial(name=name, covers=covers, arguments=arguments, collector=_collectors.end_collector("exit", way))


def _exit_script(end: str) -> str:
    return f"echo started; echo 'last words before {end}' >&2; {end}"


def is_running(job: Job, until: float) -> bool:
    """Wait until a job's command may run; False if that has not come at `until`, a time of the monotonic clock."""
    while job.status in (JobStatus.PENDING, JobStatus.STARTING):
        if time.monotonic() > until:
            return False
    return True
