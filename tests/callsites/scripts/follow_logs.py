"""Follow a job's output while it runs; read it again afterwards, whole or in parts."""

import lyftlearn

TRAIN = """
import sys, time
print("epoch 1", flush=True)
time.sleep(2)
print("a warning beside it", file=sys.stderr)
print("epoch 2")
print()
print("  indented, with a tab\\there and an umlaut: ü")
print("progress 10%\\rprogress 100%")
print("the end, without a newline", end="")
"""

job = lyftlearn.train("eta", command=["python3", "-c", TRAIN])
for number, line in enumerate(job.logs(follow=True)):
    if number == 0:
        print("at the first line the job is", job.refresh().status)
    print(repr(line))
print("after the last line it is", job.refresh().status)

print("again:", len(list(job.logs())), "lines")
print("the last two:", list(job.logs(tail=2)))
print("of node 0:", list(job.logs(node=0, tail=1)))
print("of the last hour:", len(list(job.logs(since="1h"))))
for line in job.logs(tail=1, timestamps=True):
    print(line)
