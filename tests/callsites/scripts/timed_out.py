"""A job that takes too long has failed, with reason `timeout`; it may say good-bye."""

import lyftlearn

POLITE = """
import signal, sys, time
def save(number, frame):
    print("saving what there is")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("training")
time.sleep(600)
"""

job = lyftlearn.train("eta", command=["python3", "-c", POLITE], timeout="3s")
try:
    job.wait()
except lyftlearn.JobFailed as failed:
    print(type(failed).__name__, failed.state.status, failed.state.exit_code)
    print(failed.state.reason is lyftlearn.FailureReason.TIMEOUT)
    print(failed.state.message)
print(list(job.logs()))
print(job.status, job.status == "failed", job.status.finished)
