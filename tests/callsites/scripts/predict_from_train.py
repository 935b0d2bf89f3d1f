"""Train a model, then predict with it: the train job itself is the artifact, or the address of its model."""

import lyftlearn

PREDICT = """
import os, pathlib
model = float(pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "weights", "minutes.txt").read_text())
print(os.environ["LYFTLEARN_JOB_KIND"], os.environ["LYFTLEARN_MODEL"], "with", model)
for path in sorted(pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"], "flights").iterdir()):
    rows = path.read_text().splitlines()[1:]
    made = pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "predictions", path.name)
    made.write_text("".join(f"{row.split(',')[0]},{model}\\n" for row in rows))
    print(path.name, len(rows), "rows")
"""

TRAIN = "cd $LYFTLEARN_MODEL_DIR; mkdir weights; echo 33.5 > weights/minutes.txt"

trained = lyftlearn.train("eta", command=TRAIN)
trained.wait()
for artifact in (trained, trained.outputs["model"]):
    job = lyftlearn.predict("eta", artifact=artifact, command=["python3", "-c", PREDICT], inputs={"flights": "flights"})
    print(job.kind, job.name, job.wait().status, sorted(job.outputs))
    print("\n".join(job.logs()))
    job.download(f"from-{type(artifact).__name__}")
