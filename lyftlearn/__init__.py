"""Submit machine-learning jobs. User code says what to run; a flag, which no call site mentions, says where.

    import lyftlearn

    job = lyftlearn.train("eta", command="python train.py", source=".", hyperparameters={"origin": "EWR"})
    job.wait()
    job.download("out")

Everything here is frozen: a name, a parameter, a default or a meaning does not change; what is new is added.
"""

from lyftlearn._client import Client, default_client
from lyftlearn._json import JSON
from lyftlearn.errors import (
    AccessDenied,
    BackendUnavailable,
    Conflict,
    InvalidJob,
    JobFailed,
    JobNotFound,
    JobStopped,
    LyftLearnError,
    QuotaExceeded,
    WaitTimeout,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn._jobs.job import Job, Notebook
    from lyftlearn._jobs.tuning import Trial, TuningJob
    from lyftlearn.types import (
        Choice,
        Duration,
        FailureReason,
        IntUniform,
        JobKind,
        JobState,
        JobStatus,
        Objective,
        Resources,
        Uniform,
    )

train = default_client.train
process = default_client.process
predict = default_client.predict
tune = default_client.tune
notebook = default_client.notebook
job = default_client.job
jobs = default_client.jobs
wait = default_client.wait

_HOMES = ("lyftlearn.types", "lyftlearn._jobs.tuning", "lyftlearn._jobs.job")

__all__ = [
    "JSON",
    "AccessDenied",
    "BackendUnavailable",
    "Choice",
    "Client",
    "Conflict",
    "Duration",
    "FailureReason",
    "IntUniform",
    "InvalidJob",
    "Job",
    "JobFailed",
    "JobKind",
    "JobNotFound",
    "JobState",
    "JobStatus",
    "JobStopped",
    "LyftLearnError",
    "Notebook",
    "Objective",
    "QuotaExceeded",
    "Resources",
    "Trial",
    "TuningJob",
    "Uniform",
    "WaitTimeout",
    "job",
    "jobs",
    "notebook",
    "predict",
    "process",
    "train",
    "tune",
    "wait",
]

Client.__module__ = "lyftlearn"


def __getattr__(name: str) -> "Any":
    """Load types and handles where one is asked for: who only imports lyftlearn does not pay for them."""
    from importlib import import_module  # noqa: PLC0415 - as said

    if name == "types":
        return import_module("lyftlearn.types")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=__name__)
    home = next(one for one in map(import_module, _HOMES) if hasattr(one, name))
    return globals().setdefault(name, getattr(home, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
