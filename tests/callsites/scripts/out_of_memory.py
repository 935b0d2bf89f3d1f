"""A command that needs more memory than it asked for is told the reason, not just an exit code."""

import lyftlearn

GREEDY = "print('loading'); rides = bytearray(300 << 20); print(len(rides) >> 20, 'MiB')"

job = lyftlearn.train(
    "eta",
    command=["python3", "-c", GREEDY],
    resources=lyftlearn.Resources(memory="128Mi"),
    retries=2,
)
state = job.wait(check=False)
print(state.status, state.reason, state.exit_code, "attempt", state.attempt)
print(state.message)
print(list(job.logs()))
