"""The page about the playground is followed as it is printed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .site import DOCS

PAGE = (DOCS / "how-to" / "playground.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    \$ (.+)$", PAGE, re.MULTILINE)

# What `lyftlearn doctor` does, with as much time as a busy machine needs.
PATIENT_DOCTOR = """python -c 'from lyftlearn import ops
for check in ops.doctor(seconds=300):
    print(check.verdict, check.name)'
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Path]:
    """The file that the page has its reader load, while the playground runs."""
    command = [sys.executable, "-m", "tests.doubles.playground", "--directory", str(tmp_path / "playground")]
    with subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "until Ctrl-C" in process.stdout.readline()
        yield tmp_path / "playground" / "environment"
        process.send_signal(signal.SIGINT)
        assert "closed" in process.communicate(timeout=600)[0]
    assert process.returncode == 0


def type_commands(environment: Path, directory: Path, *commands: str) -> str:
    """Type commands into a shell that has loaded `environment`; return what they printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LYFTLEARN_", "AWS_"))}
    script = "\n".join(["set -e", f". {environment}", *commands])
    ran = subprocess.run(
        ["sh", "-c", script], cwd=directory, env=clean, capture_output=True, text=True, check=False, timeout=600
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_doctor_finds_nothing_wrong_in_the_playground(environment: Path, tmp_path: Path) -> None:
    """The first command on the page after the start: a failure there would end the visit."""
    assert COMMANDS[:2] == [". build/playground/environment", "lyftlearn doctor"]
    printed = type_commands(environment, tmp_path, PATIENT_DOCTOR)
    checks = dict(line.split(" ", 1)[::-1] for line in printed.splitlines())
    assert {"history", "storage", "kubernetes: cluster", "sagemaker: configuration"} <= checks.keys()
    assert "failed" not in checks.values(), printed


@pytest.mark.slow
def test_the_page_works(environment: Path, tmp_path: Path) -> None:
    """Somebody without a cluster types this to find out whether lyftlearn is for them."""
    printed = type_commands(environment, tmp_path, *COMMANDS[2:])
    assert re.findall(r"^hello$", printed, re.MULTILINE)[:2] == ["hello", "hello"]
    ids = re.findall(r"^hello-p([a-z])", printed, re.MULTILINE)
    assert (ids[-2], ids[-1]) == ("k", "s"), "the rehearsal runs on Kubernetes, the live job on SageMaker"
    assert "parity holds" in printed


def test_the_page_has_commands() -> None:
    """If the page's form changes, the test above must not silently type nothing."""
    assert sum("lyftlearn process" in command for command in COMMANDS) == 4
