"""A command that fails: its exit code, and its last words."""

import lyftlearn

COMMANDS = {
    "an exit code": "echo loading; echo 'no flights of 2013-02' >&2; exit 37",
    "the largest one": "exit 255",
    "a signal": "echo before; kill -KILL $$$$",
    "a broken pipe": ["sh", "-c", "kill -PIPE $$$$"],
    "a traceback": ["python3", "-c", "print('epoch 1'); print({}['rides'])"],
    "words in French": ["python3", "-c", "raise SystemExit('le modèle est cassé 🚗')"],
    "no words": ["false"],
    "a signal it would have been killed by": "exit 137",
}

jobs = {what: lyftlearn.train("eta", command=command) for what, command in COMMANDS.items()}
for what, job in jobs.items():
    try:
        job.wait()
        print(f"{what}: no failure at all")
    except lyftlearn.JobFailed as failed:
        state = failed.state
        print(f"{what}: {state.status} ({state.reason}), exit code {state.exit_code}, attempt {state.attempt}")
        print("    message:", repr(state.message))
        print("    same job:", failed.job == job, "- log:", list(job.logs()))
