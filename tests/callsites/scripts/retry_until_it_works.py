"""A command that fails is run again, in place, as often as was said; out of luck, the last failure is told."""

import lyftlearn

FLAKY = """
import os, pathlib, sys
attempt = os.environ["LYFTLEARN_ATTEMPT"]
notes = pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "attempts.txt")
with notes.open("a") as file:
    file.write(f"attempt {attempt}\\n")
print("attempt", attempt)
sys.exit(0 if attempt == "3" else 40 + int(attempt))
"""

for retries in (2, 1):
    job = lyftlearn.train("eta", command=["python3", "-c", FLAKY], retries=retries)
    state = job.wait(check=False)
    print(state.status, state.reason, state.exit_code, "attempt", state.attempt, repr(state.message))
    print(list(job.logs()))
    if state.status == "succeeded":
        job.download("model-of-attempts", output="model")
