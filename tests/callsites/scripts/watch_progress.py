"""`on_update` is told whenever a job's state changes; the first failure is raised when all have ended."""

import lyftlearn

seen: dict[str, list[str]] = {}


def note(job: lyftlearn.Job, state: lyftlearn.JobState) -> None:
    told = seen.setdefault(job.name, [])
    if state.status in ("running", "succeeded", "failed", "stopped") and state.status not in told:
        told.append(state.status)


jobs = [
    lyftlearn.train("eta-slow", command="sleep 6; echo slow"),
    lyftlearn.train("eta-broken", command="sleep 6; echo broken; exit 5"),
    lyftlearn.process("clean", command="sleep 6"),
]
try:
    lyftlearn.wait(jobs, on_update=note, progress=False)
except lyftlearn.JobFailed as failed:
    print("raised for", failed.job.name, "- exit code", failed.state.exit_code)
for name, told in sorted(seen.items()):
    print(f"{name}: {' -> '.join(told)}")
states = lyftlearn.wait(jobs, check=False, progress=False)
print([(str(state.status), state.exit_code) for state in states])
