"""A job whose machine is taken away starts anew elsewhere, with its checkpoints; it is one attempt, and one log."""

import lyftlearn

TRAIN = """
import os, pathlib, time
kept = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "epoch.txt")
print("from", kept.read_text() if kept.exists() else "the beginning", flush=True)
if not kept.exists():
    kept.write_text("epoch 7")
    print("saved", flush=True)
    time.sleep(600)
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.txt").write_text("8 epochs\\n")
"""

job = lyftlearn.train("eta", command=["python3", "-c", TRAIN])
for line in job.logs(follow=True):
    print(job.id, line, flush=True)
state = job.wait()
print(state.status, state.reason, state.exit_code, state.attempt, repr(state.message))
print(list(job.logs()))
job.download("resumed")
