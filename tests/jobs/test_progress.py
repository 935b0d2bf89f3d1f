"""The progress of a wait, on a real terminal and without one."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from lyftlearn import JobStatus
from lyftlearn._jobs import progress, views
from tests.cli.conftest import PATIENCE, CommandLine
from tests.cli.terminal import Terminal

from .observed import job


def test_a_terminal_shows_a_line_that_ends_with_the_result(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """Who waits sees that something happens, and at the end what happened; standard output stays clean."""
    out = tmp_path / "out"
    terminal = Terminal(lyftlearn, out, "train", "eta", "--wait", "--", "sleep", "1")
    seen = terminal.seen()
    assert terminal.process.wait(PATIENCE) == 0
    job_id = out.read_text().strip()
    assert f"✓ {job_id}  succeeded" in seen
    assert "running" in seen
    assert "succeeded after" not in seen


def test_ctrl_c_at_a_terminal_gives_the_cursor_back(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """An interrupted live line must not leave a terminal without its cursor."""
    terminal = Terminal(lyftlearn, tmp_path / "out", "train", "eta", "--wait", "--", "sleep", "300")
    seen = ""
    for piece in terminal.pieces():
        if "running" in piece and "running" not in seen:
            terminal.process.send_signal(signal.SIGINT)
        seen += piece
    assert terminal.process.wait(PATIENCE) == 130
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l")
    assert "attach again with: lyftlearn wait eta-" in seen
    assert lyftlearn("stop", "--wait", (tmp_path / "out").read_text().strip()).code == 0


def test_a_dumb_terminal_gets_nothing_that_moves(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """Editors and old consoles run shells, too."""
    terminal = Terminal(lyftlearn, tmp_path / "out", "train", "eta", "--wait", "--", "true", TERM="dumb")
    seen = "".join(terminal.pieces())
    assert terminal.process.wait(PATIENCE) == 0
    assert "\x1b" not in seen
    assert "succeeded after" in seen


def test_a_narrow_terminal_loses_no_id(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """An id that is cut cannot be copied; a message may be."""
    name = "a-long-name-of-a-model-that-predicts"
    job_id = lyftlearn("train", name, "--wait", "--command", "echo what was wrong; exit 1").out.strip()
    terminal = Terminal(lyftlearn, tmp_path / "err", "jobs", stream="stdout", COLUMNS="80")
    seen = terminal.seen()
    assert terminal.process.wait(PATIENCE) == 0
    assert job_id in seen
    assert "failed" in seen
    assert "user-err" in seen


def test_without_a_terminal_each_change_is_a_line_if_asked_for(lyftlearn: CommandLine) -> None:
    """Logs of pipelines want the changes, and no animation."""
    job_id = lyftlearn("train", "eta", "--", "sleep", "1").id
    lines = lyftlearn("wait", job_id, "--progress").err.splitlines()
    assert lines[-1] == f"{job_id} succeeded"
    assert all(line.startswith(job_id) for line in lines)
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("words", [("--no-progress",), ()])
def test_without_a_terminal_nothing_is_drawn_unasked(lyftlearn: CommandLine, words: tuple[str, ...]) -> None:
    """Scripts that capture standard error see the result only."""
    job_id = lyftlearn("train", "eta", "--", "true").id
    assert re.fullmatch(rf"{job_id} succeeded after \d+s\n", lyftlearn("wait", job_id, *words).err)


def test_the_callers_wish_comes_first() -> None:
    """`progress=False` at a terminal means no line, `progress=True` without one means lines."""
    assert progress.should_display(True) is True
    assert progress.should_display(False) is False


def test_many_jobs_are_counted_and_the_troubled_ones_shown() -> None:
    """Five hundred lines would scroll: what is unfinished or failed comes first, the rest is a number."""
    jobs = [job(JobStatus.SUCCEEDED, id=f"good-{number}") for number in range(20)]
    jobs += [job(JobStatus.FAILED, id="bad"), job(JobStatus.RUNNING, id="busy")]
    text = io.StringIO()
    Console(file=text, width=100).print(progress._renderable(jobs, progress._states(jobs), {}, progress._Spinner()))
    lines = text.getvalue().splitlines()
    assert len(lines) == 11
    assert "bad" in text.getvalue()
    assert "busy" in text.getvalue()
    assert lines[-1].strip() == "22 jobs: 1 running, 20 succeeded, 1 failed"


def test_the_line_of_a_search_says_how_far_it_is() -> None:
    """In a terminal and in a notebook; where there is a message, it comes behind."""
    search = job(JobStatus.FAILED, "no trial has succeeded")
    standings = {search.id: "3 of 3 trials, 3 failed"}
    text = "3 of 3 trials, 3 failed; no trial has succeeded"
    assert progress._line(search, search.state, standings, "x")[-1][0] == text
    assert "3 of 3 trials, 3 failed; user-error: no trial has succeeded" in views.jobs_html([search], standings)


def test_a_notebook_shows_one_output_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook keeps every output for ever: a wait must leave one table, with the end in it."""
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)

    def show(html: str, *, display_id: bool) -> object:
        shown.append(html)
        return handle if display_id else None

    display = SimpleNamespace(HTML=str, display=show)
    shell = SimpleNamespace(has_trait=lambda name: name == "kernel")
    monkeypatch.setitem(sys.modules, "IPython", cast("ModuleType", SimpleNamespace(get_ipython=lambda: shell)))
    monkeypatch.setitem(sys.modules, "IPython.display", cast("ModuleType", display))
    assert progress.should_display(None)
    seen = job()
    with progress.live_display([seen]) as on_update:
        on_update(seen, seen.state)
    assert shown
    assert set(shown) == {views.jobs_html([seen])}


def test_nothing_is_loaded_to_draw_where_nothing_is_drawn(lyftlearn: CommandLine) -> None:
    """A job from a script pays for neither the drawing library nor a vendor's SDK."""
    program = (
        "import sys; from lyftlearn.cli import main; code = main(['train', 'eta', '--wait', '--', 'true']);"
        "print(code, sorted({'rich', 'boto3', 'botocore', 'lightkube', 'shtab', 'html', 'IPython'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=lyftlearn.directory,
        env=dict(lyftlearn.environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "0 []"
