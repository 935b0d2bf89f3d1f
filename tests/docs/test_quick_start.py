"""The quick start is run as it is printed: its files are written, its commands typed, its answers compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial" / "quick-start.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```python title="(\S+)"\n(.*?)```', PAGE, re.DOTALL))
SESSIONS = re.findall(r"^    \$ python (\S+)\n((?:    .*\n)+)", PAGE, re.MULTILINE)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize(("script", "printed"), SESSIONS, ids=[script for script, _ in SESSIONS])
def test_prints_what_the_page_says(room: Path, script: str, printed: str) -> None:
    """A newcomer types what the page shows; a page that is wrong costs their first five minutes."""
    home = {"LYFTLEARN_HOME": str(room / "home"), "LYFTLEARN_PLATFORM_CONFIG": os.devnull}
    answer = subprocess.run(
        [sys.executable, script],
        cwd=room,
        env=os.environ | home,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    expected = re.escape(re.sub("^    ", "", printed, flags=re.MULTILINE)).replace(r"\.\.\.", ".+")
    assert re.fullmatch(expected, answer.stdout), answer.stdout


def test_the_page_has_sessions() -> None:
    """If the page's form changes, the test above must not silently run nothing."""
    scripts = {"submit.py", "fails.py", "refused.py", "nightly.py", "search.py", "explore.py"}
    assert {script for script, _ in SESSIONS} == scripts
