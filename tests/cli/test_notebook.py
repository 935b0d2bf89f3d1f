"""`lyftlearn notebook`: opened in a real browser, and what is said where nothing can be opened."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lyftlearn._client import Client
from lyftlearn.backend import NotebookAddress
from lyftlearn.cli import main
from lyftlearn.cli._exit_codes import ExitCode
from tests.parity import screenshots

PATIENCE = 600.0
CELL = """
import json, os, pathlib, lyftlearn
parameters = json.load(open(os.environ["LYFTLEARN_HYPERPARAMETERS"]))
client = lyftlearn.Client(config=%r)
job = client.train("eta", command="echo trained > $LYFTLEARN_MODEL_DIR/model.txt")
pathlib.Path("kept.txt").write_text(job.wait(progress=False).status)
print(parameters, len(os.environ["PASSWORD"]), pathlib.Path("kept.txt").read_text())
"""


def configure(home: Path) -> Path:
    (home / "secrets" / "db").mkdir(parents=True, exist_ok=True)
    (home / "secrets" / "db" / "PASSWORD").write_text("hunter2-hunter2")
    path = home / "lyftlearn.toml"
    path.write_text(f'home = "{home}"\nbackend = "local"\n')
    return path


def run(config: Path, *words: str) -> str:
    command = [sys.executable, "-m", "lyftlearn", "notebook", *words, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
def test_a_notebook_in_a_browser(tmp_path: Path) -> None:
    """Opened from a shell; a cell typed by hand reads its contract and submits a job; stopped, started, files kept."""
    path = screenshots.chromium()
    if path is None:
        pytest.skip("the notebook is opened in a real browser: apt-get install chromium")
    home = tmp_path / "home"
    config = configure(home)
    cell = CELL % {"home": str(home), "backend": "local"}
    source: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": cell,
        "id": "one",
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    page_of_cells = {"cells": [source], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    url = run(config, "explore", "--secret", "db", "--no-browser").strip()
    (files,) = (home / "local" / "notebooks").iterdir()
    (files / "eta.ipynb").write_text(json.dumps(page_of_cells))
    with screenshots.launched(path) as browser:
        view = browser.new_page(viewport=screenshots.SIZE)
        view.goto(url.replace("/lab?", "/lab/tree/eta.ipynb?"), timeout=1000 * PATIENCE)
        view.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click(timeout=1000 * PATIENCE)
        view.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=1000 * PATIENCE)  # else the cell is not run
        view.keyboard.press("Shift+Enter")
        view.get_by_text("{} 15 succeeded").wait_for(timeout=1000 * PATIENCE)
        view.screenshot(path=os.environ.get("LYFTLEARN_SCREENSHOT") or tmp_path / "notebook.png")
    assert run(config, "stop", "explore") == ""
    assert run(config, "start", "explore").startswith("explore-n")
    again = json.loads(run(config, "open", "explore", "--json"))
    assert again["url"] != url
    assert again["status"] == "running"
    assert (files / "kept.txt").read_text() == "succeeded"
    run(config, "stop", "explore")


@pytest.mark.parametrize(
    "words", [["start"], ["open", "a", "b"], ["begin", "explore"], ["stop", "explore", "--cpu", "2"]]
)
def test_words_that_mean_nothing(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever forgot the name, or gave the action options that it has no use for, is told the right words."""
    assert main(["notebook", *words, "--config", str(configure(tmp_path / "home"))]) == ExitCode.USAGE
    complaint = capsys.readouterr().err
    assert "lyftlearn notebook NAME" in complaint or "leave it out" in complaint


@pytest.mark.parametrize("action", ["start", "stop"])
def test_a_notebook_that_there_is_not(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error in a name makes no notebook."""
    assert main(["notebook", action, "explroe", "--config", str(configure(tmp_path / "home"))]) == ExitCode.NOT_FOUND
    assert "you have no notebook 'explroe'" in capsys.readouterr().err


FORWARD = """
import socket, sys, time
if sys.argv[1] == "refused":
    sys.exit(4)
time.sleep(0.3)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    listener.accept()
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Give a notebook, which is there already, an address that a command must be run for; return its URL."""
    program = tmp_path / "forward.py"
    program.write_text(FORWARD)

    def give(*words: str, port: int) -> str:
        url = f"http://127.0.0.1:{port}/lab?token=t0"
        command = shlex.join([sys.executable, str(program), *words])
        made = SimpleNamespace(id="explore-nk", _address=lambda: NotebookAddress(url, command))
        monkeypatch.setattr(Client, "notebook", lambda *_, **__: made)
        return url

    return give


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def open_it(tmp_path: Path) -> int:
    return main(["notebook", "explore", "--no-browser", "--config", str(configure(tmp_path / "home"))])


def test_a_port_is_forwarded_for_as_long_as_its_command_runs(
    address: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The URL is shown when something answers there, and not before; the end of the command is the end of this one."""
    port = free_port()
    url = address(str(port), "0.5", port=port)
    assert open_it(tmp_path) == ExitCode.DONE
    output = capsys.readouterr()
    assert output.out == f"{url}\n"
    assert "the port is forwarded until you press Ctrl-C" in output.err


def test_a_forwarding_that_cannot_be(
    address: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that ends says with what; a port in use is never opened, since its owner would get the token."""
    url = address("refused", port=free_port())
    assert open_it(tmp_path) == ExitCode.UNAVAILABLE
    refused = capsys.readouterr()
    assert "this ended with 4" in refused.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = address("refused", port=taken.getsockname()[1])
        assert open_it(tmp_path) == ExitCode.UNAVAILABLE
    in_use = capsys.readouterr()
    assert "something listens on 127.0.0.1:" in in_use.err
    assert url not in refused.out + refused.err + in_use.out + in_use.err
