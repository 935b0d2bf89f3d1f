"""The wheel as a tool of its own: `uv tool install` and `pipx install` give the command line, and it runs a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wheel.test_reproducible import build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
UV = [sys.executable, "-m", "uv"]
INSTALLERS = {
    "uv": [*UV, "tool", "install", "--python", sys.executable],
    "pipx": [*UV, "tool", "run", "pipx", "install", "--python", sys.executable],
}


@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_tool_of_its_own_runs_a_job(installer: str, tmp_path: Path) -> None:
    """Nothing of the checkout is there, and no environment is active."""
    [name] = build(tmp_path / "wheel", 0o022)
    own = {
        "HOME": str(tmp_path),
        "LYFTLEARN_HOME": str(tmp_path / "home"),
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_TOOL_DIR": str(tmp_path / "tools"),
    }
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_", "SSL_")) or key == "PATH"}
    subprocess.run([*INSTALLERS[installer], str(tmp_path / "wheel" / name)], env=kept | own, cwd=tmp_path, check=True)
    command = [str(tmp_path / "bin" / "lyftlearn"), "train", "tool", "--follow", "--", "echo", "from a tool"]
    done = subprocess.run(command, env=kept | own, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "from a tool" in done.stdout
