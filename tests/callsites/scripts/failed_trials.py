"""A trial that fails counts, and does not end the search; a search of which nothing succeeded has failed."""

import lyftlearn

TRAIN = """
import json, os, sys
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    kind = json.load(file)["kind"]
if kind == "broken":
    raise SystemExit("no rides on that day")
print("epoch 1")
print({"good": "auc=0.93", "silent": "no score", "nan": "auc=nan"}[kind])
"""


def search(*kinds: lyftlearn.JSON) -> lyftlearn.TuningJob:
    return lyftlearn.tune(
        "eta",
        command=["python3", "-c", TRAIN],
        space={"kind": lyftlearn.Choice(kinds)},
        objective=lyftlearn.Objective(name="auc", goal="maximize", pattern=r"auc=(\S+)"),
        trials=len(kinds),
        strategy="grid",
    )


def show(job: lyftlearn.TuningJob) -> None:
    for trial in job.trials():
        print("   ", trial.number, dict(trial.hyperparameters), trial.objective, trial.job.status, trial.message)


job = search("silent", "good", "broken")
print(job.wait().status, job.best().number, job.best().objective)
show(job)

job = search("broken", "nan")
try:
    job.wait()
except lyftlearn.JobFailed as failed:
    print("JobFailed:", failed)
    print(failed.state.status, failed.state.reason, failed.state.exit_code)
show(job)
try:
    job.best()
except lyftlearn.JobFailed as failed:
    print("JobFailed:", failed)
print(dict(job.outputs))
