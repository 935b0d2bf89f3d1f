"""A processing job with several outputs, one of them at a place of its own."""

import sys

import lyftlearn

REPORTS = sys.argv[1]
PROCESS = """
import os, pathlib
outputs = pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"])
print(sorted(path.name for path in outputs.iterdir()))
for path in pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"], "flights").glob("*.csv"):
    (outputs / "clean" / path.name).write_text(path.read_text().replace("NA", ""))
(outputs / "clean" / "by day").mkdir()
(outputs / "clean" / "by day" / "1 & 2.csv").write_text("day,minutes\\n1,33\\n")
(outputs / "clean" / "run.sh").write_text("#!/bin/sh\\necho ran\\n")
(outputs / "clean" / "run.sh").chmod(0o755)
(outputs / "clean" / "latest.csv").symlink_to("by day/1 & 2.csv")
(outputs / "report" / "index.html").write_text("<h1>Flights</h1>\\n")
(outputs / "report" / "deep").mkdir()
(outputs / "report" / "deep" / "data.bin").write_bytes(bytes(range(256)))
"""

job = lyftlearn.process(
    "clean",
    command=["python3", "-c", PROCESS],
    inputs={"flights": "flights"},
    outputs={"clean": None, "report": f"{REPORTS}/report", "empty": None},
)
print(job.kind, job.wait().status, list(job.logs()))
print("where it was asked for:", job.outputs["report"] == f"{REPORTS}/report")
print(sorted(job.outputs))
job.download("one", output="clean")
job.download("all")
