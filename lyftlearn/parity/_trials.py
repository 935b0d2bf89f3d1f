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

from lyftlearn.parity import _facts, probe, scenes
from lyftlearn.parity._facts import Facts, Look, Looker
from lyftlearn.types import JobStatus, Resources

if TYPE_CHECKING:
    from lyftlearn._job import Job

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
_TIMEOUT = "15m"
_QUICK_TIMEOUT = "10s"


@dataclass(frozen=True, kw_only=True)
class Asked:
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

    def wants(self, *paths: str) -> bool:
        """Whether anything under one of `paths` is asked for."""
        return any(is_under(path, one) or is_under(one, path) for path in paths for one in self.only)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One job. tells: beginnings of paths. look: what is made of its end. act: what is done to it while it runs."""

    name: str
    tells: tuple[str, ...]
    arguments: Mapping[str, Any]
    look: Looker
    act: Callable[[Job], None] | None = None


def trials(asked: Asked) -> list[Trial]:
    """Return the jobs that tell what is asked for, the most telling first."""
    makers = (_program, _command, _retries, _nodes, _stops, _timeouts, _exits)
    return [trial for make in makers for trial in make(asked) if asked.wants(*trial.tells)]


def is_under(path: str, start: str) -> bool:
    """Whether a path begins with the words of `start`."""
    return path == start or path.startswith(f"{start} ")


def lay_kit(directory: Path) -> None:
    """Put what the jobs bring along into `directory`."""
    for module in (probe, scenes):
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


def _program(asked: Asked) -> Iterator[Trial]:
    """Yield the job that observes, leaves artifacts and prints, as much of it as is asked for.

    It gets the user's image, variables, secrets, resources, source and inputs, and torture beside them.
    """
    hides = ("command",) if asked.job.get("secrets") else ()
    looks = {"observed": _facts.observed, "artifacts": _facts.artifacts, "output": _facts.output}
    tells = {"observed": (*OBSERVED, *hides), "artifacts": ("artifacts",), "output": ("output",)}
    acts = [name for name, paths in tells.items() if asked.wants(*paths)]
    given = {name: value for name, value in asked.job.items() if name in ("image", "secrets", "resources", "labels")}
    arguments = {
        "command": _scene(asked, "+".join(acts), *ODD_WORDS),
        "source": asked.job.get("source", asked.kit / "source"),
        "hyperparameters": TORTURE,
        "inputs": {**asked.job.get("inputs", {}), **_inputs(asked)},
        "env": {**asked.job.get("env", {}), **ODD_VARIABLES, probe.KEY: asked.key, scenes.COUNTER: COUNTER},
        "timeout": _TIMEOUT,
        **given,
    }
    told = tuple(path for name in acts for path in tells[name])
    yield Trial(name="program", tells=told, arguments=arguments, look=partial(_all, [looks[name] for name in acts]))


def _all(looks: Sequence[Looker], job: Job, look: Look) -> Facts:
    found: Facts = {}
    for one in looks:
        found |= one(job, look)
    return found


def _inputs(asked: Asked) -> dict[str, str | Path]:
    return {
        KIT: asked.kit / KIT,
        FILE: asked.kit / FILE / "one.csv",
        DIRECTORY: asked.kit / DIRECTORY,
        TRAP: asked.trap,
    }


def _scene(asked: Asked, scene: str, *words: str) -> list[str]:
    return [asked.python, f"$(LYFTLEARN_INPUTS_DIR)/{KIT}/scenes.py", scene, *words]


def _command(asked: Asked) -> Iterator[Trial]:
    if "command" in asked.job:
        yield Trial(name="command", tells=("command",), arguments=asked.job, look=_facts.command)


def _small(asked: Asked, command: str | list[str], **others: Any) -> dict[str, Any]:
    """Return the arguments of a job that needs next to nothing."""
    given = {name: value for name, value in asked.job.items() if name in ("image", "labels")}
    return {"command": command, "resources": _LEAST, "timeout": _TIMEOUT, **given, **others}


def _acting(asked: Asked, scene: str, **others: Any) -> dict[str, Any]:
    return _small(asked, _scene(asked, scene), inputs={KIT: asked.kit / KIT}, **others)


def _retries(asked: Asked) -> Iterator[Trial]:
    yield Trial(name="retries", tells=("retries",), arguments=_acting(asked, "retried", retries=2), look=_facts.retried)


def _nodes(asked: Asked) -> Iterator[Trial]:
    count = max(2, asked.job.get("nodes", 1))
    yield Trial(name="nodes", tells=("nodes",), arguments=_acting(asked, "nodes", nodes=count), look=_facts.several)


def _stops(asked: Asked) -> Iterator[Trial]:
    for name, scene in (("asked", "waiting"), ("stubborn", "stubborn")):
        yield Trial(
            name=f"stop-{name}",
            tells=(f"stop {name}",),
            arguments=_acting(asked, scene),
            look=_facts.stopped("stop", name),
            act=_stop_once_up,
        )


def _stop_once_up(job: Job) -> None:
    for line in job.logs(follow=True):
        if line == scenes.UP:
            job.stop()
            return


def _timeouts(asked: Asked) -> Iterator[Trial]:
    arguments = _acting(asked, "waiting", timeout=_QUICK_TIMEOUT)
    yield Trial(name="timeout", tells=("timeout",), arguments=arguments, look=_facts.stopped("timeout"))


def _exits(asked: Asked) -> Iterator[Trial]:
    ways: dict[str, str | list[str]] = {str(code): _leaving(f"exit {code}") for code in EXIT_CODES}
    ways |= {f"signal {name}": _leaving(f"kill -{name} $$$$; sleep 60") for name in SIGNALS}
    ways["no such command"] = ["/no/such/command"]
    for way, command in ways.items():
        name = f"exit-{way.replace(' ', '-')}"
        tells, arguments = (f"exit {way}",), _small(asked, command)
        yield Trial(name=name, tells=tells, arguments=arguments, look=_facts.ended("exit", way))


def _leaving(end: str) -> str:
    return f"echo started; echo 'last words before {end}' >&2; {end}"


def is_running(job: Job, until: float) -> bool:
    """Wait until a job's command may run; False if that has not come at `until`, a time of the monotonic clock."""
    while job.status in (JobStatus.PENDING, JobStatus.STARTING):
        if time.monotonic() > until:
            return False
    return True
