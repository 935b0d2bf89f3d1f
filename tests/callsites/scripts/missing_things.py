"""What the job asks for is not there: the command never starts, and the reason says whose turn it is."""

import sys

import lyftlearn

NOWHERE = sys.argv[1]

jobs = {
    "a program": lyftlearn.train("eta", command=["trian", "--depth", "4"]),
    "a program that is no program": lyftlearn.train("eta", command=["/etc/passwd"]),
    "a secret": lyftlearn.train("eta", command="echo never", secrets=["no-such-secret"]),
    "an input": lyftlearn.train("eta", command="echo never", inputs={"flights": f"{NOWHERE}/flights"}),
    "a directory": lyftlearn.train("eta", command="echo never", inputs={"flights": f"{NOWHERE}/flights/"}),
    "a model": lyftlearn.predict(
        "eta", artifact=f"{NOWHERE}/model.tar.gz", command="echo never", inputs={"flights": "flights"}
    ),
}

for what, job in jobs.items():
    state = job.wait(check=False)
    print(f"{what}: {state.status} ({state.reason}), exit code {state.exit_code}")
    print("   ", state.message)
    print("    of the command:", [line for line in job.logs() if not line.startswith("lyftlearn: ")])
