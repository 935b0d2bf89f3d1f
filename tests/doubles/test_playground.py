"""`make playground`, as somebody who tries it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def advice(tmp_path: Path) -> Iterator[str]:
    """What it says, while it runs."""
    command = [sys.executable, "-m", "tests.doubles.playground", "--directory", str(tmp_path / "play")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not (lines and "parity run" in lines[-1]):
            line = process.stdout.readline()
            assert line, "it ended"
            lines.append(line)
        yield "".join(lines)
        process.send_signal(signal.SIGINT)
        assert "closed" in process.stdout.read()
    assert process.returncode == 0


def test_what_it_says_to_type_works(advice: str, tmp_path: Path) -> None:
    """Whoever tries it copies these lines, and nothing else."""
    commands = [line.partition("#")[0].strip() for line in advice.splitlines() if line.startswith("    ")]
    source, doctor, hello, _, other = commands[:5]
    script = f"set -e; {source}; {hello}; {other}; {commands[5]}; {doctor}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LYFTLEARN_", "AWS_"))}
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False, timeout=500
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("hello\nhello\n")
    assert ran.stderr.count("submitted hello-") == 2
