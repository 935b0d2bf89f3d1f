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

pytestmark = [
    pytest.mark.slow,
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
        process.communicate(timeout=120)


def test_the_page_works(environment: Path, tmp_path: Path) -> None:
    """Somebody without a cluster types this to find out whether lyftlearn is for them."""
    assert COMMANDS[0] == ". build/playground/environment"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LYFTLEARN_", "AWS_"))}
    script = "\n".join(["set -e", f". {environment}", *COMMANDS[1:]])
    ran = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False, timeout=500
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("hello\nhello\n")
    ids = re.findall(r"^hello-p([a-z])", ran.stdout, re.MULTILINE)
    assert (ids[-2], ids[-1]) == ("k", "s"), "the rehearsal runs on Kubernetes, the live job on SageMaker"
    assert "parity holds" in ran.stdout


def test_the_page_has_commands() -> None:
    """If the page's form changes, the test above must not silently type nothing."""
    assert sum("lyftlearn process" in command for command in COMMANDS) == 4
