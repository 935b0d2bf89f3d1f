"""The real command line in processes of its own, on the local backend, with its state in the test's directory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import schemas

PATIENCE = 600  # seconds; nothing here takes long, but the machine may be busy


@dataclass(frozen=True)
class Ran:
    """A finished command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def id(self) -> str:
        match = re.search(r"[a-z0-9-]+-[a-z2-7]{13}", self.out)
        assert match, f"no job id in {self.out!r}; standard error: {self.err}"
        return match[0]


@dataclass(frozen=True)
class CommandLine:
    """Starts `lyftlearn` in `directory`."""

    directory: Path
    environment: Mapping[str, str]

    def __call__(self, *words: str | Path, **variables: str) -> Ran:
        ran = finished(self.start(*words, **variables))
        schemas.check([*map(str, words)], ran.out, ran.err)
        return ran

    def start(self, *words: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "lyftlearn.cli", *map(str, words)],
            cwd=self.directory,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=as_from_a_terminal,  # noqa: PLW1509 - one call, and no thread of ours holds a lock
        )


def as_from_a_terminal() -> None:
    """Ctrl-C works there, also when these tests run in the background of a script, where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(process: subprocess.Popen[bytes]) -> Ran:
    """Wait for its end; a process that hangs is killed, and the test fails."""
    with process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    # As a shell tells it: where Ctrl-C comes in the middle of an import, Python ends itself by the signal.
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Ran(code, (out or b"").decode("utf-8", "surrogateescape"), err.decode())


@pytest.fixture
def lyftlearn(tmp_path: Path) -> CommandLine:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("LYFTLEARN_", "AWS_"))}
    work = tmp_path / "work"
    work.mkdir()
    return CommandLine(work, {**ours, "LYFTLEARN_HOME": str(tmp_path / "home"), "COLUMNS": "120"})
