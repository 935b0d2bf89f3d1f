"""A list is executed as it is: no shell, no quoting, nothing lost."""

import json

import lyftlearn

ODD = [
    "",
    " ",
    "two words",
    "'single' \"double\"",
    "back\\slash",
    "new\nline",
    "tab\there",
    "* ? [a-z] ~ ! #",
    "a;b && c | d > e < f & g",
    "`date` ${HOME} $HOME",
    "$$(REGION)",
    "$(REGION)-$(NOBODY)",
    "--flag=value",
    "--",
    "ünïcode 🚗",
    '{"json": [1, null, "x"]}',
    "x" * 5000,
]

job = lyftlearn.train(
    "eta",
    command=["python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *ODD],
    env={"REGION": "sfo"},
)
print(job.wait().status)
for line in job.logs():
    for word in json.loads(line):
        print(len(word), repr(word[:60]))
