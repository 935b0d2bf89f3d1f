"""Every argument of `predict`: the model, the data, the code and the settings meet in one container."""

import sys

import lyftlearn

PREDICT = """
import json, os, pathlib
from features import NAMES
model, outputs = os.environ["LYFTLEARN_MODEL_DIR"], os.environ["LYFTLEARN_OUTPUTS_DIR"]
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"]) as file:
    factor = json.load(file)["factor"]
minutes = factor * float(pathlib.Path(model, "minutes.txt").read_text())
rank, attempt = os.environ["LYFTLEARN_NODE_RANK"], os.environ["LYFTLEARN_ATTEMPT"]
print(os.environ["LYFTLEARN_MODEL"], "attempt", attempt, "of rank", rank, os.environ["CITY"], NAMES)
print(minutes, len(os.environ["MAPS_TOKEN"]), sorted(os.listdir(os.environ["LYFTLEARN_INPUTS_DIR"])))
if attempt == "1" and os.environ["LYFTLEARN_NODES"] == "1":
    raise SystemExit(3)
if rank == "0":
    pathlib.Path(outputs, "minutes", "predicted.txt").write_text(f"{minutes}")
"""

trained = lyftlearn.train("eta", command="echo 33.5 > $LYFTLEARN_MODEL_DIR/minutes.txt", image="example.com/base:1")
trained.wait()


def predict(nodes: int, retries: int) -> lyftlearn.Job:
    return lyftlearn.predict(
        "eta",
        artifact=trained,
        command=["python3", "-c", PREDICT],
        inputs={"flights": "flights"},
        outputs=("minutes",),
        image="example.com/base:1",
        source="rides",
        hyperparameters={"factor": 2},
        env={"CITY": "sfo"},
        secrets=["maps"],
        resources=lyftlearn.Resources(cpu=1, memory="1Gi", disk="20Gi"),
        nodes=nodes,
        timeout="10m",
        retries=retries,
        labels={"team": "eta"},
        key=f"{nodes}-{sys.argv[1]}",
    )


for nodes, retries in ((2, 0), (1, 1)):
    job = predict(nodes, retries)
    state = job.wait("9m")
    print(state.status, state.exit_code, "attempt", state.attempt, dict(job.labels))
    for rank in range(nodes):
        print("\n".join(job.logs(node=rank)))
    print("found by its key:", predict(nodes, retries) == job)
    job.download(f"of-{nodes}-nodes", overwrite=True)
