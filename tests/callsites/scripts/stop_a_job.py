"""Stop a job that is no longer wanted: it gets SIGTERM, may tidy up, and counts as stopped, not as failed."""

import lyftlearn

TRAIN = """
import signal, sys, time
def tidy(number, frame):
    print("tidying up after signal", number, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, tidy)
print("training", flush=True)
time.sleep(600)
"""

job = lyftlearn.train("eta", command=["python3", "-c", TRAIN])
for line in job.logs(follow=True):
    print(line)
    if line == "training":
        job.stop()

try:
    job.wait()
except lyftlearn.JobStopped as stopped:
    print(type(stopped).__name__, stopped.state.status, stopped.state.reason, stopped.state.exit_code)
    print(stopped)
job.stop(wait=True)
print("stopped once more:", job.state.status)

done = lyftlearn.train("eta", command="echo done")
done.wait()
done.stop()
print("stopped too late:", done.refresh().status is lyftlearn.JobStatus.SUCCEEDED)
