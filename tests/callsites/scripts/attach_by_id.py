"""One process submits and goes; another, which knows the id alone, follows the job and fetches its model."""

import subprocess
import sys

import lyftlearn

TRAIN = "echo training; echo 0.93 > $LYFTLEARN_MODEL_DIR/score; echo done"


def submit() -> None:
    job = lyftlearn.train("eta", command=TRAIN, labels={"team": "eta"})
    print(job.kind, job.name, dict(job.labels))
    subprocess.run([sys.executable, __file__, job.id], check=True)


def attach(job_id: str) -> None:
    job = lyftlearn.job(job_id)
    print(job.kind, job.name, dict(job.labels), type(job).__name__)
    for line in job.logs(follow=True):
        print("   ", line)
    state = job.wait()
    print(state.status, state.exit_code, state.started_at is not None, state.finished_at is not None)
    print(sorted(job.outputs))
    print(job.download("fetched", output="model"))


sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
attach(sys.argv[1]) if len(sys.argv) > 1 else submit()
