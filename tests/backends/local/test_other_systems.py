"""Systems that are not Linux, as far as Linux can play them: without /proc, /sys, /dev/shm and bubblewrap."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REMOVED = """
import ctypes, os, select, shutil, signal, sys
for module, name in ((os, "posix_fallocate"), (os, "sched_getaffinity"), (os, "pidfd_open"), (select, "epoll"),
                     (signal, "sigtimedwait"), (signal, "sigwaitinfo"), (os, "memfd_create")):
    if hasattr(module, name):
        delattr(module, name)
sys.platform = "darwin"
"""
"""What Python itself has on Linux only, for the submitter."""

SUBMIT = """
import json, sys
import lyftlearn
from lyftlearn import ops
job = lyftlearn.train("mac", command=["sh", "-c", sys.argv[1]], secrets=sys.argv[2:], timeout="2m")
state = job.wait(check=False)
print(json.dumps({"status": state.status, "message": state.message, "lines": list(job.logs())}))
long = lyftlearn.process("long", command=["sh", "-c", "echo up; sleep 300 & wait"])
next(iter(long.logs(follow=True)))
long.stop()
print(long.wait(check=False).status)
"""


def _elsewhere(tmp_path: Path, code: str, *arguments: str) -> list[str]:
    """Run `code` where none of that is, and return its lines."""
    empty = tmp_path / "empty"
    empty.mkdir()
    hidden = [word for path in ("/proc", "/sys") for word in ("--ro-bind", str(empty), path)]
    nodes = [f"/dev/{name}" for name in ("null", "zero", "random", "urandom")]
    devices = [word for node in nodes for word in ("--dev-bind", node, node)]
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("sh", "sleep", "cat", "true", "ps"):
        (path / name).symlink_to(shutil.which(name) or name)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{path}",
        "HOME": str(tmp_path),
        "LYFTLEARN_BACKEND": "local",
        "LYFTLEARN_HOME": str(tmp_path / "home"),
    }
    shown = ("--bind", "/", "/", "--tmpfs", "/dev", *devices)
    command = [str(shutil.which("bwrap")), *shown, *hidden, "--chdir", str(tmp_path)]
    done = subprocess.run(
        [*command, sys.executable, "-c", REMOVED + code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not shutil.which("bwrap"), reason="hides what only Linux has by bubblewrap")
def test_a_job_without_anything_of_linux(tmp_path: Path) -> None:
    """On a Mac local jobs run without namespaces, and their model is kept."""
    (tmp_path / "home/secrets/db").mkdir(parents=True)
    (tmp_path / "home/secrets/db/PASSWORD").write_text("hunter22")
    command = (
        'test "$PASSWORD" = hunter22 && cat "$LYFTLEARN_SECRETS_DIR/db/PASSWORD"; echo w > "$LYFTLEARN_MODEL_DIR/w"'
    )
    first, stopped = _elsewhere(tmp_path, SUBMIT, command, "db")
    seen = json.loads(first)
    assert seen["status"] == "succeeded", "\n".join(seen["lines"])
    assert seen["lines"] == ["hunter22"]
    assert stopped == "stopped"
