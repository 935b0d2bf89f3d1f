"""What `make test-again` makes up for after a `make test` that failed, and what it says where it cannot."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = ("ruff", "mypy", "pyright", "lint-imports", "python")
# A program ends with the exit code in the file `codes/<name>`; the name of a Python is what it is to do.
PROGRAM = """#!/bin/sh
name=$(basename "$0")
case "$*" in
    *--last-failed*) name=again ;;
    *pytest*) name=tests ;;
    *try_wheel*) name=wheel ;;
esac
echo "ran $name"
exit "$(cat "codes/$name" 2> /dev/null || echo 0)"
"""
Make = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return `make` in a checkout whose programs do nothing but end as they are told."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / ".ci/tools").write_text("#!/bin/sh")  # nothing is to be installed
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/test.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (tmp_path / ".venv/ready").touch()
    for name in PROGRAMS:
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)

    def run(target: str, codes: Mapping[str, int]) -> subprocess.CompletedProcess[str]:
        shutil.rmtree(tmp_path / "codes", ignore_errors=True)
        (tmp_path / "codes").mkdir()
        for name, code in codes.items():
            (tmp_path / "codes" / name).write_text(str(code))
        command = ["make", target]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)

    return run


def test_a_test_that_failed_decides_alone(make: Make) -> None:
    """A test that fails beside a thousand others and passes alone has shown what a busy machine does."""
    assert make("test", {"tests": 1}).returncode
    assert make("test-again", {"tests": 1}).returncode == 0
    assert make("test-again", {"again": 1}).returncode


def test_a_wheel_that_failed_is_tried_again(make: Make) -> None:
    """No test is selected then, which is pytest's exit code 5 and says nothing to a reader."""
    assert make("test", {"wheel": 1}).returncode
    passed = make("test-again", {"again": 5})
    assert passed.returncode == 0
    assert "what failed there is the wheel" in passed.stdout
    assert "ran wheel" in passed.stdout
    assert make("test-again", {"again": 5, "wheel": 1}).returncode


@pytest.mark.parametrize("check", ["ruff", "lint-imports"])
def test_a_check_that_failed_fails_again_by_its_name(make: Make, check: str) -> None:
    """Tests that never ran are no tests that passed."""
    assert make("test", {check: 1}).returncode
    failed = make("test-again", {check: 1, "again": 5})
    assert failed.returncode
    assert f"ran {check}\n" in failed.stdout
    assert "ran again" not in failed.stdout


@pytest.mark.parametrize("codes", [{"ruff": 1}, {"tests": 137}])
def test_tests_that_did_not_end_cannot_be_made_up_for(make: Make, codes: Mapping[str, int]) -> None:
    """A check that passes the second time, or a run that was killed, leaves most tests unseen."""
    assert make("test", {}).returncode == 0
    assert make("test", codes).returncode
    failed = make("test-again", {"again": 5})
    assert failed.returncode
    assert "run `make test`" in failed.stderr
    assert "ran again" not in failed.stdout
