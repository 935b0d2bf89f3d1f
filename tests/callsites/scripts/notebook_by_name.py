"""A notebook is found by its name, from every process; once it is stopped, its address is no more."""

import subprocess
import sys

import lyftlearn


def find(name: str) -> None:
    notebook = lyftlearn.notebook(name)
    print("found:", notebook.id, notebook.status)
    (job,) = lyftlearn.jobs(kind="notebook", name=name, status="running")
    print("listed:", job.id == notebook.id, type(job).__name__, dict(job.labels))
    assert isinstance(job, lyftlearn.Notebook)
    print("one address:", job.url() == notebook.url())


def open_first(name: str) -> None:
    notebook = lyftlearn.notebook(name, idle_timeout="2h", labels={"team": "eta"})
    print("opened:", notebook.id, notebook.url().startswith("http"), notebook.status)
    subprocess.run([sys.executable, __file__, name, "find"], check=True)
    lyftlearn.notebook(name, env={"CITY": "sfo"})
    notebook.stop(wait=True)
    try:
        notebook.url()
    except lyftlearn.JobStopped as stopped:
        print("JobStopped:", stopped)
    print("of its runs:", [str(job.status) for job in lyftlearn.jobs(kind="notebook", name=name)])


sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
find(sys.argv[1]) if len(sys.argv) > 2 else open_first(f"rides-{sys.argv[1]}")
