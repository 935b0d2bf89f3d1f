"""A search that is no longer wanted: its driver and the trial that runs are stopped, and none is started after it."""

import time

import lyftlearn

job = lyftlearn.tune(
    "eta",
    command="echo running; sleep 600",
    space={"depth": lyftlearn.IntUniform(low=2, high=4)},
    objective=lyftlearn.Objective(name="loss", goal="minimize", pattern=r"loss=([0-9.]+)"),
    trials=3,
    strategy="grid",
)
while not list(lyftlearn.jobs(labels={"lyftlearn/tuning": job.id}, status="running")):
    time.sleep(0.2)

found = lyftlearn.job(job.id)
assert isinstance(found, lyftlearn.TuningJob)
(trial,) = found.trials()
print("while it runs:", trial.number, dict(trial.hyperparameters), trial.objective)
found.stop(wait=True)
print("stopped:", found.status, [(trial.number, trial.job.refresh().status) for trial in found.trials()])
print("nothing else was started:", len(list(lyftlearn.jobs(labels={"lyftlearn/tuning": job.id}))))
try:
    job.wait()
except lyftlearn.JobStopped as stopped:
    print("JobStopped:", stopped)
job.stop()
print("still", job.refresh().status)
