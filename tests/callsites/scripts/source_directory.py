"""Code from this directory is the working directory of the job, without what `.lyftlearnignore` names."""

import lyftlearn

LIST = """
import os, pathlib, stat, sys
import features
print("in", os.getcwd(), os.getcwd() == os.environ["LYFTLEARN_SOURCE_DIR"])
for path in sorted(pathlib.Path(".").rglob("*")):
    print(stat.filemode(path.stat().st_mode), path, path.stat().st_size if path.is_file() else "")
print("imported:", features.NAMES, "- arguments:", sys.argv[1:])
"""

job = lyftlearn.train("eta", command=["python3", "-c", LIST, "here"], source="rides")
print(job.wait().status)
print("\n".join(line for line in job.logs() if "__pycache__" not in line))

script = lyftlearn.train("eta", command=["./run.sh", "a b"], source="rides")
print(script.wait().status, list(script.logs()))
