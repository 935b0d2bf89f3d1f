"""A notebook in which nothing was computed for a while stops by itself, and its message says why."""

import sys

import lyftlearn

notebook = lyftlearn.notebook(f"idle-{sys.argv[1]}", idle_timeout="3s")
print(notebook.url().startswith("http"))
try:
    notebook.wait()
except lyftlearn.JobStopped as stopped:
    print("JobStopped:", stopped)
    print(stopped.state.status, stopped.state.reason, stopped.state.message)
