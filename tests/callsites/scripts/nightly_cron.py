"""A cron that may be started twice, or again after it died: one job a night, whatever happens."""

import sys
from pathlib import Path

import lyftlearn

NIGHT = sys.argv[1]


def train(depth: int) -> lyftlearn.Job:
    return lyftlearn.train(
        "eta-nightly",
        command="echo trained on $(ls $LYFTLEARN_INPUTS_DIR/flights | wc -l) months > $LYFTLEARN_MODEL_DIR/model.txt",
        inputs={"flights": "flights"},
        hyperparameters={"depth": depth},
        key=NIGHT,
    )


first, again = train(depth=4), train(depth=4)
print("one job:", first == again, first.id == again.id)
print(first.wait().status, train(depth=4).status)

try:
    train(depth=5)
except lyftlearn.Conflict as conflict:
    print("Conflict:", conflict)
    print("held by the first:", conflict.job_id == first.id)

Path("flights/2013-03.csv").write_text("day,minutes\n1,33\n")
try:
    train(depth=4)
except lyftlearn.Conflict as conflict:
    print("Conflict:", conflict)

first.download("night")
