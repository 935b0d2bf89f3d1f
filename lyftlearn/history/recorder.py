"""What a client tells the history: each submission and each end that it sees. It cannot fail or delay either.

The caller's thread appends a line to a file. A few seconds later a thread has another process write what waits into the
history, or writes it itself where SQLAlchemy is loaded anyway. A process that ends before leaves its lines to the next
one that has time: it loads no database for a single submission.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lyftlearn.history import lines
from lyftlearn.history.background import at_exit, holding_forks_up
from lyftlearn.history.spool import Spool

if TYPE_CHECKING:
    import subprocess

    from lyftlearn._registry import Registry
    from lyftlearn._submission.submitter import AcceptedJob
    from lyftlearn.backend import JobRecord
    from lyftlearn.config import Config
    from lyftlearn.history.rows import Row, SubmissionRow
    from lyftlearn.history.spool import Line
    from lyftlearn.history.store import History
    from lyftlearn.types import JobState

_SECONDS_TO_WAIT = 3.0
"""Between a line and the history: a script that submits and ends is gone by then, and pays for no database."""
_SECONDS_IDLE = 60.0
_LONGEST_PAUSE = 600.0
_MOST_REMEMBERED = 10_000
_MOST_ENDED = 20  # whose timings are asked for in the background
_log = logging.getLogger("lyftlearn")


class HistoryRecorder:
    """Records for one client."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._opening = threading.RLock()
        self._opened: History | None = None
        self._spool: Spool | None = None
        self._seen: set[str] = set()
        self._said = ""
        self._ended: deque[str] = deque(maxlen=_MOST_ENDED)
        _recorders.add(self)

    def record_submission(self, accepted: AcceptedJob) -> None:
        """Take note of an accepted job. Returns at once and raises nothing."""
        if self._config.records_history and accepted.kept:
            try:
                self._note(self._line(accepted))
            except Exception as exc:  # noqa: BLE001 - the history's trouble is nobody's failed submission
                self._complain(exc)

    def record_end(self, record: JobRecord, state: JobState) -> None:
        """Take note of how a job ended, once. Returns at once and raises nothing."""
        if not self._config.records_history or record.id in self._seen:
            return
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen.add(record.id)
        try:
            self._note(lines.end_line(record, state, self._registry.named_in(record.id) or "unknown"))
            self._ended.append(record.id)
        except Exception as exc:  # noqa: BLE001 - as above
            self._complain(exc)

    def record(self, *rows: Row) -> None:
        """Take note of rows. Returns at once."""
        from lyftlearn.history import row_lines  # noqa: PLC0415 - who has rows has loaded it

        for row in rows:
            self._note(row_lines.row_line(row))

    def submission_row(self, accepted: AcceptedJob) -> SubmissionRow:
        """Return the row of a job, for whoever writes it at once."""
        from lyftlearn.history import row_lines  # noqa: PLC0415 - as above

        return row_lines.submission_row(lines.header(self._config), self._line(accepted))

    def history(self) -> History:
        """Return the history, for whoever reads it, with all that waits on this machine and what old journals hold.

        Raises what a database raises.
        """
        from lyftlearn.history.journals import carry_over  # noqa: PLC0415 - brings SQLAlchemy

        with holding_forks_up():
            history = self.open()
            self._take_up(history)
            carry_over(history, self._config)
        return history

    def open(self) -> History:
        """Return the history as it is. Its library is loaded only here, by whoever reads it or in the background."""
        with self._opening:
            if self._opened is None:
                from lyftlearn.history.store import open_history  # noqa: PLC0415 - brings SQLAlchemy

                self._opened = open_history(self._config)
            return self._opened

    def flush(self) -> bool:
        """Write what waits into the history. Return whether that went well; an error is logged, once while it lasts."""
        try:
            self._note_timings()
            if not self._is_written_elsewhere():
                with holding_forks_up():
                    self._take_up(self.open())
        except Exception as exc:  # noqa: BLE001 - as above
            self._complain(exc)
            return False
        self._said = ""
        return True

    @property
    def exists(self) -> bool:
        """Whether there can be anything to read."""
        return self.is_shared or self.waits or self._files_exist()

    @property
    def is_shared(self) -> bool:
        """Whether others than this user's commands read the history, so that it must not wait for one of them."""
        return not self._config.history_url.startswith("sqlite")

    @property
    def waits(self) -> bool:
        """Whether this client has told what is not in the history yet."""
        return self._spool is not None and not self._spool.is_empty

    def flush_elsewhere(self) -> None:
        """Let a process of its own write what waits: this one ends, and does not wait for a database."""
        self._start_writer(is_heard=False)

    def begin_anew(self) -> None:
        """Leave everything to the parent of this forked process."""
        self._opening = threading.RLock()
        self._opened = None
        self._ended.clear()
        if self._spool is not None:
            self._spool.begin_anew()

    def _files_exist(self) -> bool:
        home = self._config.home
        is_here = self._config.history_url == self._config.file_url("history.sqlite")
        return not is_here or any((home / name).exists() for name in ("history.sqlite", "journal.sqlite", "spool"))

    def _line(self, accepted: AcceptedJob) -> Line:
        backend = self._registry.named_in(accepted.record.id) or accepted.decision.backend
        return lines.submission_line(accepted, backend, self._config)

    def _note(self, line: Line) -> None:
        if self._spool is None:
            self._spool = Spool(self._config.home, self._config.history_url, lambda: lines.header(self._config))
        self._spool.append(line)
        _writer.soon(self)

    def _is_written_elsewhere(self) -> bool:
        """Let a process of its own write what waits, and wait for it. Return whether it has written all.

        SQLAlchemy would be a third of the memory of a process that follows jobs, which has no other use for it.
        """
        if "sqlalchemy" in sys.modules or self._spool is None or not self._spool.release():
            return False
        with holding_forks_up():
            writer = self._start_writer(is_heard=True)
        if writer is None:
            return False
        told = writer.communicate()[1].decode(errors="replace").strip()
        if told and writer.returncode == 0:
            _log.warning("%s", told)
        return writer.returncode == 0

    def _start_writer(self, *, is_heard: bool) -> subprocess.Popen[bytes] | None:
        """Start a process that writes what waits in the home. None where none can be started."""
        import subprocess  # noqa: PLC0415 - a single submission does not pay for it

        if not Path(sys.executable or "").name.startswith("python"):
            return None  # an application that has Python inside
        command = [sys.executable, "-m", "lyftlearn.history", str(self._config.home)]
        environment = os.environ | {"LYFTLEARN_HISTORY_URL": self._config.history_url}
        nothing, told = subprocess.DEVNULL, subprocess.PIPE if is_heard else subprocess.DEVNULL
        with suppress(OSError):
            return subprocess.Popen(command, env=environment, start_new_session=True, cwd="/",
                stdin=nothing, stdout=nothing, stderr=told)  # fmt: skip
        return None

    def _take_up(self, history: History) -> None:
        from lyftlearn.history import row_lines  # noqa: PLC0415 - a submission does without

        spool = self._spool or Spool(self._config.home, self._config.history_url, lambda: lines.header(self._config))
        spool.take_up(lambda entries: history.record_all(row_lines.rows_of(entries)))

    def _note_timings(self) -> None:
        """Take note of where the time of jobs went that this process saw ending."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        if self._spool is not None and ended:
            from lyftlearn.history import row_lines  # noqa: PLC0415 - as above
            from lyftlearn.history.timings import timings_rows  # noqa: PLC0415 - as above

            for row in timings_rows(self._registry, ended):
                self._spool.append(row_lines.row_line(row))

    def _complain(self, error: Exception) -> None:
        text = f"beside a submission: {type(error).__name__}: {error}"
        if text != self._said:
            _log.warning("%s", text)
        self._said = text


class _Writer:
    """The one thread of a process that writes what waits, while something does."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        self._waiting: set[HistoryRecorder] = set()
        self._lock = threading.Lock()
        self._runs = False
        self._writing = threading.Lock()

    def soon(self, recorder: HistoryRecorder) -> None:
        """Write what `recorder` has, in a few seconds."""
        with self._lock:
            self._waiting.add(recorder)
            if not self._runs:
                at_exit(_finish)
                with suppress(RuntimeError):  # where no thread can be started, the next submission tries again
                    threading.Thread(target=self._run, name="lyftlearn-history", daemon=True).start()
                    self._runs = True

    def finish(self) -> None:
        """Come to an end with the process: a write that has begun is waited for, and shared histories are seen to."""
        if not self._writing.acquire(timeout=_SECONDS_TO_WAIT):
            return
        for recorder in list(self._waiting):
            if recorder.is_shared and recorder.waits:
                recorder.flush_elsewhere()

    def _run(self) -> None:
        pause, idle_since = _SECONDS_TO_WAIT, time.monotonic()
        while True:
            time.sleep(pause)
            with self._lock:
                waiting, self._waiting = self._waiting, set()
                if not waiting and time.monotonic() - idle_since > _SECONDS_IDLE:
                    self._runs = False
                    return
            if waiting:
                with self._writing:
                    failed = {recorder for recorder in waiting if not recorder.flush()}
                with self._lock:
                    self._waiting |= failed
                idle_since = time.monotonic()
                pause = _next_pause(pause, failed=bool(failed))


def _next_pause(pause: float, *, failed: bool) -> float:
    """Return the seconds until what has come meanwhile is written. To start a process costs more than to write."""
    if failed:
        return min(pause * 2, _LONGEST_PAUSE)
    return _SECONDS_TO_WAIT if "sqlalchemy" in sys.modules else min(pause * 2, _SECONDS_IDLE)


def _finish() -> None:
    _writer.finish()


_recorders: weakref.WeakSet[HistoryRecorder] = weakref.WeakSet()
_writer = _Writer()


def _begin_all() -> None:
    _writer.begin_anew()
    for recorder in list(_recorders):
        recorder.begin_anew()


os.register_at_fork(after_in_child=_begin_all)
