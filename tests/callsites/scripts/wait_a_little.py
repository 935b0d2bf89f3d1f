"""A deadline of the caller's ends the waiting, never the job."""

from datetime import timedelta

import lyftlearn

job = lyftlearn.train("eta", command="echo up; sleep 5; echo done; echo 7 > $LYFTLEARN_MODEL_DIR/depth")
for _ in job.logs(follow=True):
    break

try:
    job.wait(timedelta(seconds=0.5))
except lyftlearn.WaitTimeout as timeout:
    print(type(timeout).__name__, isinstance(timeout, TimeoutError), [one == job for one in timeout.jobs])
    print(timeout)

while job.status == "running":
    pass
print(job.state.status, list(job.logs()))
job.download("later")
