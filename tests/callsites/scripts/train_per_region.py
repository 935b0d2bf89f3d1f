"""A model for each region, trained in parallel; the states come back in the order of the jobs."""

import lyftlearn

REGIONS = ["sfo", "nyc", "atx"]

jobs = [
    lyftlearn.train(
        f"eta-{region}",
        command=["python3", "train.py", "--region", region],
        source="rides",
        inputs={"flights": "flights"},
        hyperparameters={"region": region, "depth": 4},
        resources=lyftlearn.Resources(cpu=1, memory="512Mi"),
        labels={"team": "eta", "region": region},
    )
    for region in REGIONS
]

for job, state in zip(jobs, lyftlearn.wait(jobs), strict=True):
    print(job.kind, job.name, dict(job.labels), state.status, state.exit_code, state.attempt, repr(state.message))
    for line in job.logs():
        print("   ", line)
    job.download(f"models/{job.name}")
