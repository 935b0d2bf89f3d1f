"""Runs a call site as its user would, and writes down everything that came of it."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import lyftlearn
from lyftlearn import ops
from lyftlearn.backend import Capability
from lyftlearn.config import load
from tests.callsites.masks import ID, NOTES, masked
from tests.doubles.platforms import IN_IMAGE, Platforms
from tests.doubles.platforms.accidents import OnLine, full, full_queue, impatient, preempting, queued

HERE = Path(__file__).parent
SCRIPTS = sorted((HERE / "scripts").glob("*.py"))
NAMES = [path.stem for path in SCRIPTS]
ARGUMENTS = {
    "find_jobs": ("{run}",),
    "missing_things": ("{address}",),
    "mounted_files": ("{run}",),
    "nightly_cron": ("{run}",),
    "notebook_by_name": ("{run}",),
    "notebook_files": ("{run}",),
    "notebook_idle": ("{run}",),
    "predict_with_everything": ("{run}",),
    "process_outputs": ("{address}",),
    "process_with_everything": ("{run}",),
    "search_by_samples": ("{run}",),
    "search_with_everything": ("{run}",),
}
"""run: a word of this run's own. address: a place of its own in the platform's storage, with nothing there."""
EXCEPTIONS = {
    ("out_of_memory", "sagemaker"): (
        "an instance is all the job's: the command gets the memory that the instance has, and never less than was "
        "asked for, so it is not ended where it takes more"
    ),
}
"""What is not run on a backend that offers what it needs, and why."""
NEEDS = {name: Capability.NOTEBOOK for name in NAMES if name.startswith("notebook_")} | {
    "preempted": Capability.REPLACEMENT
}
"""What a backend must offer for a call site; where it does not, its reason stands in the matrix."""
ACCIDENTS = {
    "wait_for_a_machine": full,
    "no_machine_in_time": full,
    "held_in_a_queue": full_queue,
    "preempted": preempting,
}
"""What befalls the platform meanwhile."""
CHANGES: Mapping[str, Callable[[Platforms], Platforms]] = {"no_machine_in_time": impatient, "held_in_a_queue": queued}
"""What the operator has configured otherwise."""
PATIENCE = 600
SHORT = 400
"""Bytes up to which a text file stands whole in a transcript."""
METRICS_WITHIN = 5.0


@dataclass(frozen=True)
class CallSite:
    """One script, on one backend."""

    name: str
    platforms: Platforms
    backend: str

    def why_not(self) -> str | None:
        """Return why it is not run on this backend; None where it is."""
        if self.name in ACCIDENTS and self.platforms.cluster is None:
            return "nobody can take the machines of a real platform"
        capability, name = NEEDS.get(self.name), "local" if self.backend == IN_IMAGE else self.backend
        if capability is not None:
            for installed in ops.backends(lyftlearn.Client(config=self.platforms.config)):
                if installed.name == name and capability in installed.lacks:
                    return f"lacks {capability}: {installed.lacks[capability]}"
        return EXCEPTIONS.get((self.name, self.backend))

    def transcript(self, directory: Path) -> str:
        """Run the script in a fresh copy of the workspace under `directory`."""
        run = f"run-{secrets.token_hex(4)}"
        here = directory / run
        shutil.copytree(HERE / "workspace", here)
        storage = self._storage()
        given = {"run": run, "address": f"{storage}/callsites/{run}"}
        accident = ACCIDENTS.get(self.name, _nothing)
        with accident(self.platforms, self.backend) as on_line:
            done = self._run(here, self._arguments(given), on_line)
        output, errors = done.stdout.decode(), NOTES.sub("", done.stderr.decode())
        metrics = "".join(f"{packet}\n" for packet in self._metrics(output))
        sections = {"standard output": output, "standard error": errors, "metrics": metrics, "files": kept(here)}
        parts = [f"$ python {self.name}.py\n", *(_section(title, text) for title, text in sections.items())]
        words = {given["address"]: "<address>", run: "<run>", storage: "<storage>", str(here): "<here>"}
        return masked("".join(parts) + f"== exit code {done.returncode}\n", words)

    def _run(self, here: Path, arguments: list[str], on_line: OnLine) -> subprocess.CompletedProcess[bytes]:
        change = CHANGES.get(self.name)
        platforms = change(self.platforms) if change else self.platforms
        command = [sys.executable, str(HERE / "scripts" / f"{self.name}.py"), *arguments]
        with TemporaryFile() as errors:
            process = subprocess.Popen(
                command, cwd=here, env=platforms.variables(self.backend), stdout=subprocess.PIPE, stderr=errors
            )
            output = b"".join(_lines(process, on_line))
            errors.seek(0)
            return subprocess.CompletedProcess(command, process.wait(), output, errors.read())

    def _arguments(self, given: dict[str, str]) -> list[str]:
        return [argument.format(**given) for argument in ARGUMENTS.get(self.name, ())]

    def _storage(self) -> str:
        url: str = load(self.platforms.config).tables["storage"]["url"]
        return url.rstrip("/")

    def _metrics(self, output: str) -> list[str]:
        """The packets of this script's jobs, which name their job in a tag; in the order in which they came."""
        gateway, ids = self.platforms.gateway, set(ID.findall(output))
        if gateway is None or "rides." not in (HERE / "scripts" / f"{self.name}.py").read_text():
            return []
        deadline = time.monotonic() + METRICS_WITHIN
        while True:
            packets = [packet.decode() for packet in list(gateway.packets)]
            own = [packet for packet in packets if any(job_id in packet for job_id in ids)]
            if len(own) >= 4 or time.monotonic() > deadline:
                return own
            time.sleep(0.05)


def _lines(process: subprocess.Popen[bytes], on_line: OnLine) -> Iterator[bytes]:
    """Yield what a program prints, for as long as anybody has patience."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            on_line(line.decode().rstrip("\n"))
            yield line
    process.wait()
    timer.cancel()


@contextmanager
def _nothing(platforms: Platforms, backend: str) -> Iterator[OnLine]:
    del platforms, backend
    yield lambda _: None


def kept(here: Path) -> str:
    """Every file that was not there before, or is no longer what it was: mode, size, content."""
    lines = []
    for path in sorted(here.rglob("*")):
        relative = path.relative_to(here)
        if _is_new(path, HERE / "workspace" / relative):
            lines += _described(path, str(relative))
    return "".join(f"{line}\n" for line in lines)


def _is_new(path: Path, before: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        return not any(path.iterdir()) and not before.is_dir()
    return path.is_symlink() or not before.is_file() or before.read_bytes() != path.read_bytes()


def _described(path: Path, name: str) -> list[str]:
    if path.is_symlink():
        return [f"{name} -> {path.readlink()}"]
    mode = stat.filemode(path.stat().st_mode)
    if path.is_dir():
        return [f"{mode} {name}/ (empty)"]
    content = path.read_bytes()
    return [f"{mode} {name} ({len(content)} bytes)", *_content(content)]


def _content(content: bytes) -> list[str]:
    if len(content) <= SHORT:
        try:
            return [f"    {line}" for line in content.decode().splitlines()]
        except UnicodeDecodeError:
            pass
    return [f"    sha256 {hashlib.sha256(content).hexdigest()}"]


def _section(title: str, text: str) -> str:
    ending = "" if text.endswith("\n") else "\n== without a newline\n"
    return f"== {title}\n{text}{ending}" if text else ""
