"""A job for which no machine is free waits, and runs when one is; another that waits is stopped, and never runs."""

import lyftlearn

job = lyftlearn.train("waiting", command="echo ran; echo 7 > $LYFTLEARN_MODEL_DIR/depth")
unwanted = lyftlearn.train("waiting", command="echo ran")
while [job.status, unwanted.status] != ["pending", "pending"]:
    pass
try:
    job.wait("1s")
except lyftlearn.WaitTimeout as timeout:
    print("WaitTimeout:", timeout)
print(job.state.status, job.state.reason, job.state.started_at, list(job.logs()))
waiting = {one.id for one in lyftlearn.jobs(name="waiting", status="pending")}
print("listed:", waiting == {job.id, unwanted.id})

unwanted.stop()
try:
    unwanted.wait()
except lyftlearn.JobStopped as stopped:
    print("JobStopped:", stopped)
    print(stopped.state.status, stopped.state.reason, stopped.state.exit_code, stopped.state.started_at)

print("a machine, please", flush=True)
state = job.wait()
print(state.status, state.reason, state.exit_code, state.attempt, repr(state.message), list(job.logs()))
job.download("later")
print(list(unwanted.logs()), dict(unwanted.outputs))
