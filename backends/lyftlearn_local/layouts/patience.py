"""Programs that work for a job before its command begins or after it has ended, unless the job is to end."""

from __future__ import annotations

import subprocess

from lyftlearn_local.layouts.layout import LaunchStopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LOOK, _LEAVE = 0.1, 5.0  # seconds between looks for a stop, and to leave after one


def await_end(
    command: Sequence[str], environment: Mapping[str, str], is_ending: Callable[[], bool]
) -> tuple[int, bytes]:
    """Return a program's exit code and its errors. On a stop it may remove what it had half written: LaunchStopped."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while True:
        try:
            errors = process.communicate(timeout=_LOOK)[1]
        except subprocess.TimeoutExpired:
            if not is_ending():
                continue
        else:
            return process.returncode, errors
        _end(process)
        raise LaunchStopped


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_LEAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
