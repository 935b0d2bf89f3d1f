"""Submit machine-learning jobs. User code says what to run; a flag, which no call site mentions, says where.

    import lyftlearn

    job = lyftlearn.train("eta", command="python train.py", source=".", hyperparameters={"origin": "EWR"})
    job.wait()
    job.download("out")

Everything here is frozen: a name, a parameter, a default or a meaning does not change; what is new is added.
"""

from lyftlearn._client import Client, default_client
from lyftlearn._jobs.job import Job, Notebook
from lyftlearn._jobs.tuning import Trial, TuningJob
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
from lyftlearn.types import (
    JSON,
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

for _public in (Client, Job, Notebook, Trial, TuningJob):
    _public.__module__ = "lyftlearn"
del _public
