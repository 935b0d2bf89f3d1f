"""A job whose machine is taken away starts anew, with its checkpoints; it is one attempt, one log, and began once."""

import lyftlearn

TRAIN = """
import os, pathlib, time
kept = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "epoch.txt")
epoch = int(kept.read_text()) if kept.exists() else 0
print("from epoch", epoch, "in attempt", os.environ["LYFTLEARN_ATTEMPT"], flush=True)
if epoch < 3:
    kept.write_text(str(epoch + 1))
    print("saved", flush=True)
    time.sleep(600)
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.txt").write_text(f"{epoch} epochs\\n")
"""

job = lyftlearn.train("eta", command=["python3", "-c", TRAIN])
began = None
for line in job.logs(follow=True):
    began = began or job.refresh().started_at
    print(job.id, line, flush=True)
state = job.wait()
print(state.status, state.reason, state.exit_code, state.attempt, repr(state.message))
print(list(job.logs()))
print("began once:", state.started_at == began, lyftlearn.job(job.id).state.started_at == began)
job.download("resumed")
