"""Every argument of `process`: what each of its nodes finds, and what is kept of them."""

import sys

import lyftlearn

PROCESS = """
import json, os, pathlib
from features import NAMES
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"]) as file:
    hyperparameters = json.load(file)
flights = sorted(path.name for path in pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"], "flights").iterdir())
rank, attempt = os.environ["LYFTLEARN_NODE_RANK"], os.environ["LYFTLEARN_ATTEMPT"]
print(os.environ["LYFTLEARN_JOB_KIND"], "attempt", attempt, "of rank", rank, "of", os.environ["LYFTLEARN_NODES"])
print(NAMES, flights, hyperparameters, os.environ["CITY"], os.environ["WAREHOUSE_USER"])
print("cpu", os.environ["OMP_NUM_THREADS"], "MOON" in os.environ)
if attempt == "1" and os.environ["LYFTLEARN_NODES"] == "1":
    raise SystemExit(3)
if rank == "0":
    pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "clean", "names.txt").write_text(" ".join(NAMES))
"""


def clean(nodes: int, retries: int) -> lyftlearn.Job:
    return lyftlearn.process(
        "clean",
        command=["python3", "-c", PROCESS],
        outputs=["clean"],
        image="example.com/base:1",
        source="rides",
        hyperparameters={"version": "1.10", "deep": [1, None, True]},
        inputs={"flights": "flights"},
        env={"CITY": "sfo"},
        secrets=["warehouse"],
        resources=lyftlearn.Resources(cpu=2, memory="1Gi", gpu=0, gpu_type=None, disk="20Gi", shared_memory="32Mi"),
        nodes=nodes,
        timeout="10m",
        retries=retries,
        labels={"team": "eta"},
        key=f"{nodes}-{sys.argv[1]}",
    )


for nodes, retries in ((2, 0), (1, 1)):
    job = clean(nodes, retries)
    state = job.wait("9m")
    print(state.status, state.exit_code, "attempt", state.attempt, dict(job.labels))
    for rank in range(nodes):
        print("\n".join(job.logs(node=rank)))
    print("found by its key:", clean(nodes, retries) == job)
    job.download(f"of-{nodes}-nodes", overwrite=True)
