"""A PostgreSQL of one test, on a socket of its own, which can be killed and started again."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_INSTALLED = Path("/usr/lib/postgresql")  # Debian's package keeps its programs apart by version


class Postgres:
    """A server, and its SQLAlchemy URL."""

    def __init__(self, home: Path, programs: Path) -> None:
        self._home = home
        self._programs = programs
        self._user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        self.url = f"postgresql+psycopg://lyftlearn@/postgres?host={home}"

    def create(self) -> None:
        """Make the files of the server."""
        if self._user:  # it refuses to run as root
            subprocess.run(["chown", "postgres", self._home], check=True)
        self._run("initdb", "-U", "lyftlearn", "-A", "trust", "--no-sync", "--wal-segsize=1")

    def start(self) -> None:
        """Start it, also after it was killed."""
        options = f"-k {self._home} -c listen_addresses= -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self._home / "log"), "start")

    def kill(self) -> None:
        """End it at once, as a power failure does."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def end(self) -> None:
        """End it, if it has not ended by itself."""
        if (self._home / "data" / "postmaster.pid").exists():
            self.kill()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._user, str(self._programs / program), "-D", str(self._home / "data"), *arguments]
        subprocess.run(command, cwd=self._home, stdout=subprocess.DEVNULL, timeout=120, check=True)

    def log(self) -> str:
        """Return what the server has said."""
        return (self._home / "log").read_text(errors="replace")


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Give a file system of its own, which is soon full. Skips the test where none can be mounted."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory]
        if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no file system can be mounted here: that needs root")
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def running_postgres(parent: Path = Path("/tmp")) -> Iterator[Postgres]:
    """Give a server that runs, with its files below `parent`.

    Skips the test where PostgreSQL or its driver is not installed.
    """
    pytest.importorskip("psycopg")
    found = sorted(_INSTALLED.glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        server = Postgres(Path(directory), found[-1].parent)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.end()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server of this test alone."""
    with running_postgres() as server:
        yield server
