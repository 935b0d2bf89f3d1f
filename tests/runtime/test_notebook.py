"""What counts as activity of a notebook, and where its token must not stand: JupyterLab's API on a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.bundle import Bundle
from lyftlearn.runtime.layout import Layout
from lyftlearn.runtime.notebook import Jupyter

RESTING = {"execution_state": "idle", "last_activity": "2026-01-31T08:00:00.000000Z"}
RESTED_AT = 1769846400.0


class Answers(BaseHTTPRequestHandler):
    """Says of kernels and terminals what the test wants; None is an error."""

    said: dict[str, Any] = {}  # noqa: RUF012 - each test makes a class of its own

    def do_GET(self) -> None:
        answer = self.said[self.path.removeprefix("/api/")]
        self.send_response(500 if answer is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the class names it
        """Say nothing."""


@pytest.fixture
def answers() -> Iterator[tuple[type[Answers], int]]:
    class Own(Answers):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Own, server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.contract("C-NOTEBOOK-3")
@pytest.mark.parametrize(
    ("kernels", "terminals", "rested_at"),
    [
        ([RESTING], [], RESTED_AT),
        ([RESTING, {**RESTING, "execution_state": "dead"}], [], RESTED_AT),
        ([], [], 0.0),
        ([RESTING], [{"name": "1"}], None),
        ([], [{"name": "1"}], None),
        ([RESTING, {**RESTING, "execution_state": "busy"}], [], None),
        ([{**RESTING, "execution_state": "starting"}], [], None),
        ([{**RESTING, "execution_state": "restarting"}], [], None),
        (None, [], None),
    ],
)
def test_what_is_activity(
    answers: tuple[type[Answers], int], tmp_path: Path, kernels: Any, terminals: Any, rested_at: float | None
) -> None:
    """A shell in which somebody works, a kernel that comes, and a server too busy to answer must not be ended."""
    said, port = answers
    said.said = {"kernels": kernels, "terminals": terminals}
    layout = Layout(str(tmp_path), str(tmp_path / "ml"))
    jupyter = Jupyter(Bundle({"notebook": {"idle_timeout": 1, "token": None}, "user": None}, ""), layout)
    servers = tmp_path / "tmp/.jupyter-runtime"
    servers.mkdir(parents=True)
    (servers / "jpserver-7.json").write_text(json.dumps({"port": port, "base_url": "/"}))
    assert jupyter._last_activity() == rested_at


@pytest.mark.contract("C-NOTEBOOK-4")
@pytest.mark.parametrize("substrate", ["local", "kubernetes", "sagemaker"])
def test_a_server_that_prints_its_token(containers: Any, tmp_path: Path, substrate: str) -> None:
    """Its last words become the report's: what opens the notebook must not stand there, whoever said it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    script = '#!/bin/sh\necho "http://localhost:8888/lab?token=$(cat $JUPYTER_TOKEN_FILE)" >&2\nexit 3\n'
    for name in ("jupyter", "jupyter-lab"):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    container = containers.make(substrate, ["jupyter", "lab"])
    container.binds += (str(programs),)
    container.variables["PATH"] = f"{programs}:/usr/bin:/bin"
    container.document["notebook"] = {"idle_timeout": None, "token": "generate", "options": []}
    result = container.run()
    assert result.exit_code == 3, result.output
    assert result.last_words.strip() == "http://localhost:8888/lab?token=[secret]"
