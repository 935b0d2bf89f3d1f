"""Fork and exec of the user's command, in a session and with a state of its own."""

from __future__ import annotations

import os
import signal
import warnings

from .faults import IMAGE, Fault, configuration
from .signals import WATCHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
E2BIG = 7
EXEC_FAILED = 127
UMASK = 0o022


class Program:
    """What is to be executed, and as whom."""

    def __init__(
        self, command: list[str], variables: Mapping[str, str], directory: str, user: dict[str, int] | None
    ) -> None:
        self.command = command
        self.variables = variables
        self.directory = directory
        self.user = user if os.geteuid() == 0 else None


def spawn(program: Program, output: int) -> int:
    """Start the command with `output` as stdout and stderr; its pid, which is also its process group and session."""
    _let_open_again(output, program.user)
    libc = None if os.getpid() == 1 else _libc()
    reading, writing = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # a signal for the child is not to run our handlers in it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads run; the child only executes
        pid = os.fork()
    if pid == 0:
        _become(program, output, mask, writing, libc)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(writing)
    with os.fdopen(reading, "rb") as failures:
        failure = failures.read()
    if failure:
        os.waitpid(pid, 0)
        raise _explain(program, failure.decode())
    return pid


def _let_open_again(output: int, user: dict[str, int] | None) -> None:
    """So that `echo > /dev/stderr` works for the user that the command runs as."""
    if user:
        os.fchown(output, user["uid"], user["gid"])


def _become(program: Program, output: int, mask: set[Any], failures: int, libc: Any) -> NoReturn:
    step = "prepare"
    try:
        _detach(output)
        _restore_signals(mask)
        step = "user"
        _change_user(program.user)
        if libc:
            libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        step = "directory"
        os.chdir(program.directory)
        step = "command"
        os.execvpe(program.command[0], program.command, program.variables)  # noqa: S606 - nothing of a shell is wanted
    except BaseException as error:  # noqa: BLE001 - the parent tells it
        number = getattr(error, "errno", None)
        os.write(failures, f"{step} {number or 0} {getattr(error, 'strerror', None) or error}".encode())
    finally:
        os._exit(EXEC_FAILED)


def _detach(output: int) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and _is_open(int(name)):
            os.set_inheritable(int(name), False)
    os.umask(UMASK)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _restore_signals(mask: set[Any]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *WATCHED):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _change_user(user: dict[str, int] | None) -> None:
    if user:
        os.setgroups([user["gid"]])
        os.setgid(user["gid"])
        os.setuid(user["uid"])


def _explain(program: Program, failure: str) -> Fault:
    step, number, text = failure.split(" ", 2)
    if step == "directory":
        return configuration(f"the working directory {program.directory} cannot be entered: {text}")
    if int(number) == E2BIG:
        return configuration(
            "command and env together, or one variable, are longer than the kernel passes to a program"
        )
    if step != "command":
        return configuration(f"the command cannot be started ({step}): {text}")
    return Fault(
        IMAGE, f"the command {program.command[0]!r} cannot be executed: {text}. Is it in the image, and on its PATH?"
    )


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, as PID 1 is anyway."""
    libc = None if os.getpid() == 1 else _libc()
    if libc:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _libc() -> Any:
    try:
        import ctypes

        return ctypes.CDLL(None)
    except (ImportError, OSError):
        return None
