"""What a command finds where it runs: the same directories, variables and identity everywhere."""

import lyftlearn

LOOK = """
import json, os, pathlib, sys
for name in sorted(os.environ):
    if name.startswith("LYFTLEARN_") or name in ("REGION", "OMP_NUM_THREADS", "PYTHONUNBUFFERED"):
        print(f"{name}={os.environ[name]}")
inputs = pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"])
for path in sorted(inputs.rglob("*")):
    print(path, path.stat().st_size if path.is_file() else "")
print(repr(sys.stdin.read()), sys.getfilesystemencoding(), oct(os.umask(0)), os.access(os.environ["HOME"], os.W_OK))
shared = os.statvfs("/dev/shm")
print("shared memory as asked for:", shared.f_blocks * shared.f_frsize >= 32 << 20)
"""

job = lyftlearn.train(
    "eta.sfo",
    command=["python3", "-c", LOOK],
    inputs={"flights": "flights", "one": "flights/2013-01.csv"},
    env={"REGION": "sfo"},
    resources=lyftlearn.Resources(cpu=1.5, memory="512Mi", shared_memory="32Mi"),
    labels={"example.com/team": "eta"},
)
print(job.wait().status, dict(job.labels))
print("\n".join(job.logs()))
