"""The page on writing a backend says what is true: its code is the code that is tested, or is run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

from lyftlearn.backend import Backend
from lyftlearn.testing import conformance

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "writing-a-backend.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'```\w+ title="(\S+)"\n(.*?)```', PAGE, re.DOTALL))
QUICK = "test_success or test_stop_before_the_start or test_attaching_by_id or test_a_kind_that_is_lacking"


def test_the_backend_is_the_one_that_passes(plugin: Path) -> None:
    """Code on a page that nobody runs is wrong after the next change."""
    assert BLOCKS["lyftlearn_bare.py"] == (plugin / "lyftlearn_bare.py").read_text(encoding="utf-8")


def test_the_entry_point_is_the_one_that_is_found(plugin: Path) -> None:
    """A line of packaging with a slip in it makes a backend that nobody finds."""
    shown = tomllib.loads(BLOCKS["pyproject.toml"])["project"]["entry-points"]["lyftlearn.backends"]
    installed = ConfigParser()
    installed.read(plugin / "lyftlearn_bare-1.0.dist-info" / "entry_points.txt")
    assert shown == dict(installed["lyftlearn.backends"])


def test_the_test_runs(tmp_path: Path, plugin: Path) -> None:
    """An author copies it first, and must see it pass before anything is changed."""
    (tmp_path / "test_bare.py").write_text(BLOCKS["test_bare.py"])
    answer = _pytest(tmp_path, plugin, QUICK)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert re.search(r"\b8 passed\b", answer.stdout), answer.stdout


def test_a_failure_explains_itself(tmp_path: Path, plugin: Path) -> None:
    """The suite is installed, not collected, so its assertions would say nothing unless pytest is told of them."""
    break_it = "\nBareBackend.logs = lambda self, job_id, query: iter(())\n"
    (tmp_path / "test_bare.py").write_text(BLOCKS["test_bare.py"] + break_it)
    answer = _pytest(tmp_path, plugin, "without_its_newline")
    assert "assert [] == ['first', 'last']" in answer.stdout, answer.stdout


def test_every_method_and_class_is_on_the_page() -> None:
    """What is added to the contract or to the suite is found by those who read about it."""
    for method in Backend.__abstractmethods__:
        assert f"`{method}(" in PAGE, method
    for name in set(conformance.__all__) - {"Harness"}:
        assert f"`{name}`" in PAGE, name


def test_pytest_is_needed_only_for_the_suite() -> None:
    """The base installation has no pytest, and other parts of `lyftlearn.testing` must work there."""
    code = "import sys, lyftlearn, lyftlearn.testing; raise SystemExit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_pytest_the_remedy_is_said(tmp_path: Path) -> None:
    """An author who installed only lyftlearn is told what to type."""
    (tmp_path / "pytest.py").write_text("raise ImportError('no pytest')")
    code = "from lyftlearn.testing import BackendConformance"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "pip install 'lyftlearn[test]'" in answer.stderr


def _pytest(room: Path, plugin: Path, selection: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selection, "test_bare.py"]
    env = os.environ | {"PYTHONPATH": str(plugin)}
    return subprocess.run(command, cwd=room, env=env, capture_output=True, text=True, check=False, timeout=600)
