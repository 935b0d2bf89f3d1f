"""A job for which no machine is free within the time that it may wait ends by itself, and says why."""

import lyftlearn

big = lyftlearn.Resources(cpu=1, memory="1Gi", gpu=1, gpu_type="A10G")
job = lyftlearn.train("impossible", command="echo ran", resources=big)
while not job.status.finished:
    pass
try:
    job.wait()
except lyftlearn.JobFailed as error:
    end = error.state
    print(type(error).__name__, end.status, end.reason, end.exit_code, end.started_at, end.attempt)
    print(end.message.partition(" within ")[0])
print(list(job.logs(follow=True)), dict(job.outputs))
failed = [one.state.reason for one in lyftlearn.jobs(name="impossible", status="failed") if one == job]
print("listed:", failed)
