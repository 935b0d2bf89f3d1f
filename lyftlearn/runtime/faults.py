"""What stops a job before or beside its command, each with the exit code and the reason it is reported under."""

CONFIGURATION = "configuration"
PLATFORM = "platform"
IMAGE = "image"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out-of-memory"
USER_ERROR = "user-error"
PREEMPTED = "preempted"

EXIT_CODES = {CONFIGURATION: 78, PLATFORM: 70, IMAGE: 127, USER_ERROR: 1}
"""EX_CONFIG and EX_SOFTWARE of sysexits(3); 127 is what a shell answers for a command it cannot find."""
EXIT_TIMEOUT = 124
"""As timeout(1)."""
EXIT_STOPPED = 143
"""128 + SIGTERM."""
ENDED_BY_PLATFORM = (137, EXIT_STOPPED)
"""What a container exits with that a platform ends: 128 + SIGKILL, 128 + SIGTERM."""


class RuntimeFailure(Exception):
    """The job cannot go on, through no doing of its command."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def exit_code(self) -> int:
        """What the runtime exits with."""
        return EXIT_CODES[self.reason]


class StopRequested(BaseException):
    """Someone asked for the job to stop. Not an Exception, so that no retry loop swallows it."""


class DeadlinePassed(BaseException):
    """The job's time is over. Not an Exception, for the same reason."""


def no_such_secret(name: str) -> str:
    """The message about a missing secret, wherever secrets are kept; backends say the same (`words.no_such_secret`)."""
    return f"secrets: {name}: there is no such secret"


def configuration_failure(*faults: str) -> RuntimeFailure:
    """One fault, or a list of them in one message."""
    return RuntimeFailure(
        CONFIGURATION, faults[0] if len(faults) == 1 else "\n".join(["several things are wrong:", *faults])
    )


Fault = RuntimeFailure
"""Its name in 1.0: what moves the files of a local job asks the runtime of that job for it."""
