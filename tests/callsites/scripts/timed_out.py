"""A job that takes too long has failed, with reason `timeout`; it may say good-bye."""

import lyftlearn

POLITE = "trap 'echo saving; exit 0' TERM; echo training; while :; do sleep 0.1; done"

job = lyftlearn.train("eta", command=POLITE, timeout="3s")
try:
    job.wait()
except lyftlearn.JobFailed as failed:
    print(type(failed).__name__, failed.state.status, failed.state.exit_code)
    print(failed.state.reason is lyftlearn.FailureReason.TIMEOUT)
    print(failed.state.message)
print(list(job.logs()))
print(job.status, job.status == "failed", job.status.finished)
