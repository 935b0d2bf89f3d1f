"""What cannot be right is refused before anything is sent, every fault at once; the rest has an error of its own."""

from collections.abc import Callable

import lyftlearn

try:
    lyftlearn.train(
        "eta of sfo",
        command=[],
        source="no/such/directory",
        hyperparameters={"rate": float("nan"), "tags": {"a", "b"}},  # type: ignore[dict-item]
        inputs={"flights": "no/such/file.csv"},
        env={"2FAST": "1", "LYFTLEARN_MODEL_DIR": "/tmp"},
        secrets="db",
        resources=lyftlearn.Resources(cpu=-1, memory="lots"),
        nodes=0,
        timeout="soon",
        labels={"team": "a b"},
    )
except lyftlearn.InvalidJob as invalid:
    print(invalid)
    print(len(invalid.faults), "faults,", isinstance(invalid, ValueError))

try:
    lyftlearn.job("eta-of-nobody")
except lyftlearn.JobNotFound as unknown:
    print(unknown, isinstance(unknown, LookupError))

done = lyftlearn.process("clean", command="true")
done.wait()
calls: dict[str, Callable[[], object]] = {
    "nothing to wait for": lambda: lyftlearn.wait([]),
    "no such status": lambda: list(lyftlearn.jobs(status="done")),
    "no limit": lambda: list(lyftlearn.jobs(limit=0)),
    "no such output": lambda: done.download("out", output="output2"),
    "a negative tail": lambda: done.logs(tail=-1),
    "no duration": lambda: done.wait("soon"),
}
for what, call in calls.items():
    try:
        print(f"{what}: {call()}")
    except (lyftlearn.LyftLearnError, TypeError) as error:
        print(f"{what}: {type(error).__name__}: {error}")
