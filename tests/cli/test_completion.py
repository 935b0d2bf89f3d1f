"""Completion scripts, run by the shells they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lyftlearn.cli import _parser

from .conftest import PATIENCE, CommandLine


def completed(script: Path, *words: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Ask bash what it would offer for the last of `words`."""
    asking = f"""
        source "{script}"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _shtab_lyftlearn lyftlearn "${{@: -1}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(
        ["bash", "-c", asking, "bash", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return ran.stdout.split()


@pytest.fixture
def script(lyftlearn: CommandLine, tmp_path: Path) -> Path:
    ran = lyftlearn("completion", "bash")
    assert ran.code == 0, ran.err
    path = tmp_path / "lyftlearn.bash"
    path.write_text(ran.out)
    return path


def test_bash_completes_commands_and_options(script: Path) -> None:
    """The script must do its work in the shell, not only be printed."""
    assert set(completed(script, "lyftlearn", "")) >= set(_parser.COMMANDS)
    assert completed(script, "lyftlearn", "dow") == ["download"]
    assert completed(script, "lyftlearn", "train", "--shared") == ["--shared-memory"]
    assert set(completed(script, "lyftlearn", "jobs", "--kind", "")) >= {"train", "process", "predict"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_shell_accepts_its_script(lyftlearn: CommandLine, tmp_path: Path, shell: str) -> None:
    """A quote in a help text must not break somebody's login shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    path = tmp_path / "script"
    path.write_text(lyftlearn("completion", shell).out)
    ran = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_bash_completes_ids_and_backends(script: Path, lyftlearn: CommandLine, tmp_path: Path) -> None:
    """Nobody types thirteen random letters twice."""
    job_id = lyftlearn("train", "eta", "--", "true").id
    commands = tmp_path / "bin"
    commands.mkdir()
    # A person waits for three seconds at most; a busy machine needs longer to start.
    patient = "import sys; from lyftlearn.cli import _completion, main; _completion._SECONDS = 100; sys.exit(main())"
    (commands / "lyftlearn").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{patient}' \"$@\"\n")
    (commands / "lyftlearn").chmod(0o755)
    environment = {**lyftlearn.environment, "PATH": f"{commands}:{os.environ['PATH']}"}
    assert completed(script, "lyftlearn", "logs", "eta-", environment=environment) == [job_id]
    assert completed(script, "lyftlearn", "stop", "", environment=environment)[-1] == job_id
    found = completed(script, "lyftlearn", "plan", "train", "--backend", "local-", environment=environment)
    assert found == ["local-kubernetes", "local-sagemaker"]


def test_words_that_cannot_be_found_are_none(lyftlearn: CommandLine) -> None:
    """An error at a prompt would stand in the middle of what is typed."""
    (lyftlearn.directory / "lyftlearn.toml").write_text("not TOML")
    for kind in ("ids", "backends"):
        ran = lyftlearn("completion", kind)
        assert (ran.code, ran.out.strip(), ran.err) == (0, "", "")
