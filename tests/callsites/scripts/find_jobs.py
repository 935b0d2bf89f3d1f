"""Lost the id? Jobs are found by name, label, kind, status and age, newest first."""

import sys

import lyftlearn

RUN = sys.argv[1]

good = lyftlearn.train("eta-find", command="true", labels={"run": RUN, "region": "sfo"})
bad = lyftlearn.train("eta-find", command="exit 3", labels={"run": RUN, "region": "nyc"})
clean = lyftlearn.process("clean-find", command="true", labels={"run": RUN, "region": "nyc"})
lyftlearn.wait([good, bad, clean], check=False)


def show(title: str, **conditions: object) -> None:
    print(title)
    found = lyftlearn.jobs(**{"labels": {"run": RUN}, **conditions})  # type: ignore[arg-type]
    for job in sorted(found, key=lambda job: (job.name, job.labels["region"])):
        print("   ", job.kind, job.name, dict(sorted(job.labels.items())), job.state.status, job.state.exit_code)


show("all")
show("by name", name="eta-find")
show("by label", labels={"run": RUN, "region": "nyc"})
show("by kind", kind="process")
show("failed", status="failed")
show("of the last hour", since="1h")
show("of nobody", name="eta-find", kind="process")
print(len(list(lyftlearn.jobs(labels={"run": RUN}, limit=2))), "with limit=2")
created = [job.state.created_at for job in lyftlearn.jobs(labels={"run": RUN})]
print("newest first:", created == sorted(created, reverse=True))
