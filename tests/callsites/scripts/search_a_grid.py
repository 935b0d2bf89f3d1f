"""Every point of a grid is tried, one trial after the other; the best one's model is what is downloaded."""

import lyftlearn

TRAIN = """
import json, os, pathlib
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    given = json.load(file)
print("given", json.dumps(given, sort_keys=True), "in", os.environ["CITY"])
print("loss=9.5")
print(f"loss={abs(given['depth'] - 4) + len(given['loss']) / 16}")
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.json").write_text(json.dumps(given, sort_keys=True))
"""

job: lyftlearn.TuningJob = lyftlearn.tune(
    "eta",
    command=["python3", "-c", TRAIN],
    space={"depth": lyftlearn.IntUniform(low=3, high=4), "loss": lyftlearn.Choice(["huber", "log"])},
    objective=lyftlearn.Objective(name="loss", goal="minimize", pattern=r"loss=([0-9.]+)"),
    trials=4,
    strategy="grid",
    hyperparameters={"version": "1.10"},
    env={"CITY": "sfo"},
    labels={"team": "eta"},
)
print(job.kind, job.name, job.wait().status)
for line in job.logs():
    print("   ", line)
for trial in job.trials():
    print(trial.number, dict(trial.hyperparameters), trial.objective, trial.job.kind, trial.job.status)

best = job.best()
print("best:", best.number, best.objective, dict(best.job.labels) == {"team": "eta", "lyftlearn/tuning": job.id})
for line in best.job.logs():
    print("   ", line)
print(sorted(job.outputs), dict(job.outputs) == dict(best.job.outputs))
print(job.download("best", output="model"))
