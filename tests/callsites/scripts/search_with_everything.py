"""Every argument of `tune`: each trial has what a train job has, and its nodes tell the objective together."""

import sys

import lyftlearn
from lyftlearn import Choice, IntUniform, Objective, Uniform

TRAIN = """
import json, os, pathlib
from features import NAMES
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"]) as file:
    hyperparameters = json.load(file)
rank, attempt = os.environ["LYFTLEARN_NODE_RANK"], os.environ["LYFTLEARN_ATTEMPT"]
print("attempt", attempt, "of rank", rank, os.environ["CITY"], os.environ["WAREHOUSE_USER"], NAMES, hyperparameters)
print(sorted(os.listdir(os.path.join(os.environ["LYFTLEARN_INPUTS_DIR"], "flights"))))
if attempt == "1" and os.environ["LYFTLEARN_NODES"] == "1":
    raise SystemExit(3)
if rank == "1" or attempt == "2":
    print("loss", hyperparameters["rate"] * hyperparameters["depth"])
"""


def search(nodes: int, retries: int) -> lyftlearn.TuningJob:
    return lyftlearn.tune(
        "eta",
        command=["python3", "-c", TRAIN],
        space={
            "rate": Uniform(low=0.5, high=1.0),
            "depth": IntUniform(low=1, high=64, log=True),
            "kind": Choice([None]),
        },
        objective=Objective(name="loss", goal="minimize", pattern=r"loss ([0-9.]+)"),
        trials=2,
        parallel=2,
        strategy="bayesian",
        image="example.com/base:1",
        source="rides",
        hyperparameters={"version": "1.10"},
        inputs={"flights": "flights"},
        env={"CITY": "sfo"},
        secrets=["warehouse"],
        resources=lyftlearn.Resources(cpu=1, memory="1Gi", disk="20Gi"),
        nodes=nodes,
        timeout="10m",
        retries=retries,
        labels={"team": "eta"},
        key=f"{nodes}-{sys.argv[1]}",
    )


for nodes, retries in ((2, 0), (1, 1)):
    job = search(nodes, retries)
    print(job.wait("9m").status)
    for trial in job.trials():
        state = trial.job.refresh()
        print(trial.number, trial.objective, state.status, "attempt", state.attempt, trial.job.labels["team"])
        for rank in range(nodes):
            print("\n".join(f"    {line}" for line in trial.job.logs(node=rank)))
    print("best:", job.best().number)
