"""Most scripts catch nothing: the traceback ends with why the job failed, and the exit code is 1."""

import lyftlearn

job = lyftlearn.train("eta", command="echo epoch 1; echo 'ValueError: the loss is nan' >&2; exit 2")
print("submitted", job.id)
job.wait()
print("never printed")
