"""Fork and exec of the user's command, in a session and with a state of its own."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found,unused-ignore] # without enumerations
import os
import warnings

from .faults import IMAGE, RuntimeFailure, configuration_failure
from .signals import WATCHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
E2BIG = 7
MOST_DESCRIPTORS = 4096
EXEC_FAILED = 127
UMASK = 0o022


class Command:
    """An argument list with its variables, working directory and user; `name` is its first word as it was written."""

    def __init__(
        self,
        arguments: list[str],
        name: str,
        variables: Mapping[str, str],
        directory: str,
        user: dict[str, int] | None,
    ) -> None:
        self.arguments = arguments
        self.name = name
        self.variables = variables
        self.directory = directory
        self.user = user if os.geteuid() == 0 else None


def spawn(command: Command, output: int) -> int:
    """Start the command with `output` as stdout and stderr; its pid, which is also its process group and session."""
    _let_open_again(output, command.user)
    prctl = None if os.getpid() == 1 else _prctl()
    reading, writing = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # a signal for the child is not to run our handlers in it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads run; the child only executes
        pid = os.fork()
    if pid == 0:
        _become(command, output, mask, writing, prctl)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(writing)
    with os.fdopen(reading, "rb") as failures:
        failure = failures.read()
    if failure:
        os.waitpid(pid, 0)
        raise _explain(command, failure.decode())
    return pid


def _let_open_again(output: int, user: dict[str, int] | None) -> None:
    """So that `echo > /dev/stderr` works for the user that the command runs as."""
    if user:
        os.fchown(output, user["uid"], user["gid"])


def _become(
    command: Command, output: int, mask: set[Any], failures: int, prctl: Callable[[int, int], object] | None
) -> NoReturn:
    step = "prepare"
    try:
        _detach(output)
        _restore_signals(mask)
        step = "user"
        change_user(command.user)
        if prctl:
            prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        step = "directory"
        os.chdir(command.directory)
        step = "command"
        os.execvpe(command.arguments[0], command.arguments, command.variables)  # noqa: S606 - nothing of a shell is wanted
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
    for descriptor in _descriptors():
        if descriptor > 2 and _is_open(descriptor):
            os.set_inheritable(descriptor, False)
    os.umask(UMASK)


def _descriptors() -> list[int]:
    """Return the descriptors that are open; on a system that is not Linux, all that could be open."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            return [int(name) for name in os.listdir(directory)]
        except OSError:
            continue
    return list(range(min(os.sysconf("SC_OPEN_MAX"), MOST_DESCRIPTORS)))


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


def change_user(user: dict[str, int] | None) -> None:
    """Become the user, for good; nothing where there is none."""
    if user:
        os.setgroups([user["gid"]])
        os.setgid(user["gid"])
        os.setuid(user["uid"])


def _explain(command: Command, failure: str) -> RuntimeFailure:
    step, number, text = failure.split(" ", 2)
    if step == "directory":
        return configuration_failure(f"the working directory {command.directory} cannot be entered: {text}")
    if int(number) == E2BIG:
        return configuration_failure(
            "command and env together, or one variable, are longer than the kernel passes to a program"
        )
    if step != "command":
        return configuration_failure(f"the command cannot be started ({step}): {text}")
    return RuntimeFailure(
        IMAGE, f"the command {command.name!r} cannot be executed: {text}. Is it in the image, and on its PATH?"
    )


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, as PID 1 is anyway."""
    prctl = None if os.getpid() == 1 else _prctl()
    if prctl:
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl() -> Callable[[int, int], object] | None:
    """Return the system call, or None on a system, or a Python, without it."""
    try:
        import _ctypes  # of which `ctypes` is made: that alone would be a tenth of what a start takes

        address = _ctypes.dlsym(_ctypes.dlopen(None), "prctl")  # type: ignore[arg-type] # this program itself
        call = _ctypes.call_function
    except (ImportError, AttributeError, OSError):
        return None
    return lambda option, value: call(address, (option, value, 0, 0, 0))
