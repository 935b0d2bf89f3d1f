"""Train one travel-time model for each airport of New York City, in parallel jobs, and show what came out.

Nothing here says where the jobs run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

import lyftlearn

HERE = Path(__file__).resolve().parent
TITLE = "Minutes in the air: mean absolute error on two held-out months"
COLOURS = {"EWR": "magenta", "JFK": "cyan", "LGA": "yellow"}


def main() -> None:
    results = arguments().results
    console = Console(highlight=False, soft_wrap=True)
    jobs = {origin: submit(origin) for origin in COLOURS}
    for origin, job in jobs.items():
        console.print(Text.assemble((f"{origin} ", COLOURS[origin]), "submitted as ", (job.id, "bold")))
    with ThreadPoolExecutor(len(jobs)) as pool:
        followers = [pool.submit(follow, console, origin, job) for origin, job in jobs.items()]
        lyftlearn.wait(list(jobs.values()), progress=False)
    for follower in followers:
        follower.result()
    for origin, job in jobs.items():
        job.download(results / origin, output="output")
    console.print(table(jobs, results))
    console.print(artifacts(jobs))
    console.print(hints(jobs["EWR"], results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("eta-results"), help="where the metrics and plots go")
    return parser.parse_args()


def submit(origin: str) -> lyftlearn.Job:
    return lyftlearn.train(
        f"eta-{origin.lower()}",
        command=["python", "train.py"],
        source=HERE,
        hyperparameters={"origin": origin},
        resources=lyftlearn.Resources(cpu=1, memory="2Gi"),
        timeout="10m",
        labels={"example": "eta", "origin": origin},
    )


def follow(console: Console, origin: str, job: lyftlearn.Job) -> None:
    """Print what a job says, as it says it."""
    for line in job.logs(follow=True):
        console.print(Text.assemble((f"{origin} ", COLOURS[origin]), ("│ ", "dim"), line))


def table(jobs: dict[str, lyftlearn.Job], results: Path) -> Table:
    """Show for each job how long it took, and how far its model is off beside a guess."""
    shown = Table(title=TITLE, title_justify="left")
    shown.add_column("job", no_wrap=True)
    for heading in ("duration", "median of the route", "model", "better by"):
        shown.add_column(heading, justify="right")
    for origin, job in jobs.items():
        metrics = json.loads((results / origin / "output" / "metrics.json").read_text())
        error, guess = metrics["mae"], metrics["mae_route_median"]
        shown.add_row(job.id, duration(job.state), f"{guess:.2f}", f"{error:.2f}", f"{1 - error / guess:.0%}")
    return shown


def duration(state: lyftlearn.JobState) -> str:
    if state.started_at is None or state.finished_at is None:
        return "unknown"
    return f"{(state.finished_at - state.started_at).total_seconds():.1f} s"


def artifacts(jobs: dict[str, lyftlearn.Job]) -> str:
    uris = {origin: job.outputs["model"].replace(f"file://{Path.home()}", "~") for origin, job in jobs.items()}
    return "\n".join(["", "Artifacts", *(f"  {origin}  {uri}" for origin, uri in uris.items())])


def hints(job: lyftlearn.Job, results: Path) -> str:
    python, command = beside_python("python"), beside_python("lyftlearn")
    script = os.path.relpath(HERE / "submit_prediction.py")
    return f"""
Errors as pictures
  {results}/*/output/errors.png

What to try next
  Use a model:                  {python} {script} {job.id}
  See what a job said:          {command} logs {job.id}
  See where a job would run:    {command} explain train eta-ewr
  Move the flag, not the code:  LYFTLEARN_BACKEND=local-sagemaker {python} {os.path.relpath(HERE / "submit.py")}
"""


def beside_python(name: str) -> str:
    """Return how to call a program of the environment that runs this script, from the working directory."""
    return os.path.relpath(Path(sys.executable).parent / name)


if __name__ == "__main__":
    try:
        main()
    except lyftlearn.LyftLearnError as error:
        sys.exit(str(error))
