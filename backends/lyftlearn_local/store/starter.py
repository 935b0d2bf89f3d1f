"""Supervisors as they are started: detached from whoever starts them, and watched until they have begun."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from lyftlearn_local.store import start_mark

if TYPE_CHECKING:
    from lyftlearn_local.store.files import JobFiles

_REAP_SECONDS = 0.5
_DETACH = """
trap '' USR1
job=$1
shift
run() {
    tries=0
    until "$@" 2>> "$job/supervisor.log"; do
        code=$?
        if ! [ -s "$job/events.jsonl" ]; then
            if [ $code -gt 128 ]; then rm -f "$job/not-started"; else echo $code > "$job/not-started"; fi
            return
        fi
        [ $((tries += 1)) -lt 100 ] || return
    done
}
(exec > /dev/null 2>&1; run "$@") &
echo $!
"""
"""Runs a supervisor. If it dies after its job has begun, it is run again: to say so, and to hand its slot on.

If the job has not begun, an exit code goes into the mark and is its end; after a signal the job is started anew later.
"""


def start(job: JobFiles, command: list[str]) -> None:
    """Start `command` for `job` in the background, as a child of nobody here. Raises OSError.

    The mark says that it is being started; a supervisor that begins removes it.
    """
    start_mark.write(job)
    try:
        pid = _start_detached(job, command)
    except OSError:
        start_mark.remove(job)
        raise
    if pid is None:
        start_mark.remove(job)
    else:
        _reaper.follow(pid)


def _start_detached(job: JobFiles, command: list[str]) -> int | None:
    words = ["/bin/sh", "-c", _DETACH, "sh", str(job.path), *command]
    shell = subprocess.run(
        words,
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        check=False,
        umask=0o077,
    )
    return int(shell.stdout) if shell.stdout.strip().isdigit() else None


class Reaper:
    """Awaits the end of supervisors that became children of this process, as all orphans do where it is process 1."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked process must: it has other children, and no thread."""
        self._lock = threading.Lock()
        self._pids: set[int] = set()
        self._thread: threading.Thread | None = None

    def follow(self, pid: int) -> None:
        """Await `pid` if it is a child of this process. Where no thread can be had, the next call awaits it."""
        with self._lock:
            self._pids.add(pid)
            self._reap()
            if self._pids and self._thread is None:
                with contextlib.suppress(RuntimeError):
                    thread = threading.Thread(target=self._run, name="lyftlearn-reaper", daemon=True)
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while True:
            time.sleep(_REAP_SECONDS)
            with self._lock:
                self._reap()
                if not self._pids:
                    self._thread = None
                    return

    def _reap(self) -> None:
        self._pids = {pid for pid in self._pids if _is_living_child(pid)}


def _is_living_child(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


_reaper = Reaper()
os.register_at_fork(after_in_child=_reaper.forget)
