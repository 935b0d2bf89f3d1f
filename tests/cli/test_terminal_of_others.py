"""What servers and plugins say is shown, and obeyed by no terminal: messages, warnings, notes, logs and tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lyftlearn._contract.ids import default_letter
from tests.doubles.old_and_new import plugins

__all__ = ["plugins"]
EVIL = "\x1b]0;evil\x07 bad \u202e\x9b31m line\nsecond \x1b[2J"
PLUGIN = """
import logging
from dataclasses import replace
from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, LyftLearnError
from stores import FileBackend

EVIL = {evil!r}

class Evil(FileBackend):
    def list(self, query):
        raise BackendUnavailable(EVIL)

    def describe(self, *_):
        raise {error}

    def submit(self, plan):
        raise AccessDenied(EVIL)

    stop = logs = diagnose = describe

    def plan(self, spec):
        logging.getLogger("lyftlearn").warning("the server says: %s", EVIL)
        return replace(super().plan(spec), notes=(EVIL,))

def create(settings):
    return Evil(settings)
"""
JOB = f"eta-t{default_letter('evil')}aaaaaaaaaaa"
COMMANDS = [
    "jobs", "train eta -- true", f"status {JOB}", f"stop {JOB}", f"logs {JOB}", f"wait {JOB}", f"download {JOB} out",
    "plan train eta -- true", "doctor",
]  # fmt: skip


@pytest.mark.parametrize("error", ["BackendUnavailable(EVIL)", "RuntimeError(EVIL)", "InvalidJob([(EVIL, EVIL)])"])
def test_a_terminal_obeys_nobody_but_lyftlearn(plugins: Path, tmp_path: Path, error: str) -> None:
    """A message can hold what an attacker made an API server quote: a label, a webhook's refusal, a page."""
    site = tmp_path / "site"
    (site / "evil.py").write_text(PLUGIN.format(evil=EVIL, error=error))
    (site / "evil-1.dist-info").mkdir()
    (site / "evil-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (site / "evil-1.dist-info" / "entry_points.txt").write_text("[lyftlearn.backends]\nevil = evil:create\n")
    (tmp_path / "lyftlearn.toml").write_text(f'home = "{plugins}"\nproject = "p"\nbackend = "evil"\n')
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "lyftlearn", *command.split()],
            cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        shown = done.stdout + done.stderr
        assert "bad" in shown, command
        assert [sign for sign in ("\x1b", "\x07", "\u202e", "\x9b") if sign in shown] == [], (command, shown)
