"""What was put into the checkpoints is there again when the command starts anew."""

import lyftlearn

TRAIN = """
import os, pathlib, sys
checkpoint = pathlib.Path(os.environ["LYFTLEARN_CHECKPOINTS_DIR"], "epoch.txt")
epoch = int(checkpoint.read_text()) if checkpoint.exists() else 0
print("from epoch", epoch)
while epoch < 6:
    epoch += 1
    checkpoint.write_text(str(epoch))
    if epoch % 3 == 1 and epoch > 1:
        sys.exit(f"power cut in epoch {epoch}")
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.txt").write_text(f"{epoch} epochs\\n")
"""

job = lyftlearn.train("eta", command=["python3", "-c", TRAIN], retries=3)
state = job.wait()
print(state.status, "at attempt", state.attempt)
print("\n".join(job.logs()))
print(sorted(job.outputs))
job.download("resumed")
