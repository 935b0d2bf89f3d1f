"""Counts rides that lie on a shared file system, leaves the count there, and reads it in a second job."""

import sys

import lyftlearn

COUNT = """
import os, pathlib
rides = pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"]) / "rides"
count = sum(len(path.read_text().splitlines()) for path in sorted(rides.iterdir()))
counts = pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]) / "counts"
(counts / "rides.txt").write_text(f"{count} rides\\n")
"""
READ = 'cat "$LYFTLEARN_INPUTS_DIR/counts/rides.txt" "$LYFTLEARN_INPUTS_DIR/one/jan.txt"'

counts = f"file:///data/counts/{sys.argv[1]}/"
counting = lyftlearn.process(
    "count", command=["python3", "-c", COUNT], inputs={"rides": "file:///data/rides/"}, outputs={"counts": counts}
)
print(counting.wait().status, counting.outputs["counts"])

reading = lyftlearn.process("read", command=READ, inputs={"counts": counts, "one": "/data/rides/jan.txt"})
print(reading.wait().status)
for line in reading.logs():
    print(line)
