"""Where the runtime keeps a notebook's files in a training container."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.layout import Layout
from lyftlearn.runtime.notebook import Jupyter
from lyftlearn.runtime.sagemaker_paths import link


@pytest.mark.parametrize("checkpoints", [{"mode": "mounted"}, None])
def test_the_files_are_where_sagemaker_copies_them(tmp_path: Path, checkpoints: Any) -> None:
    """A run that comes later finds what is there; where nobody copies checkpoints, the directory stays as it is."""
    ml, layout = tmp_path / "ml", Layout(str(tmp_path / "root"), str(tmp_path / "ml"))
    (ml / "checkpoints/files").mkdir(parents=True)
    (ml / "checkpoints/files/kept.txt").write_text("kept")
    (tmp_path / "root").mkdir()
    bundle: Any = {"notebook": {"idle_timeout": None}, "checkpoints": checkpoints, "inputs": {}, "pack": "substrate"}
    link(layout, bundle)
    assert (tmp_path / "root/notebook/kept.txt").exists() is (checkpoints is not None)


class Answering(BaseHTTPRequestHandler):
    """JupyterLab's REST API of a server in which nothing runs."""

    def do_GET(self) -> None:
        body = b"{}" if self.path.endswith("/api") else b"[]"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def test_a_full_disk_keeps_neither_the_address_nor_the_idle_stop(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """That is said once; the address follows when there is room, and an idle notebook ends as ever."""
    layout = Layout(str(tmp_path / "root"), str(tmp_path / "ml"))
    servers = Path(layout.at("tmp", ".jupyter-runtime"))
    servers.mkdir(parents=True)
    (servers / "jpserver-1.json").write_text(json.dumps({"port": port, "base_url": "/"}))
    state, is_stopped = tmp_path / "volume" / "address.json", threading.Event()
    state.parent.mkdir()
    replace, tries = os.replace, []

    def replace_if_room(source: str, target: str) -> None:
        tries.append(source)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device", source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_if_room)
    settings = {"idle_timeout": 3.0, "state": str(state)}
    bundle: Any = {"notebook": settings, "user": None}
    reasons: list[str] = []

    def stop(reason: str) -> None:
        reasons.append(reason)
        is_stopped.set()

    end = Jupyter(bundle, layout).follow(stop)
    assert is_stopped.wait(600)
    end()
    assert reasons[0].startswith("idle for 3s")
    assert json.loads(state.read_text())["port"] == port
    assert [path.name for path in state.parent.iterdir()] == ["address.json"]
    assert capfd.readouterr().err.count("nobody can be told yet where this notebook is") == 1
