"""Search the settings of one airport's model, in six short trials, and show the best.

As in `submit.py`, nothing here says where the search and its trials run.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text
from submit import HERE, beside_python

import lyftlearn
from lyftlearn import IntUniform, Objective, Uniform


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n[bold]Six trials search the settings of one model[/bold]")
    job = search("LGA")
    for line in job.logs(follow=True):
        console.print(Text.assemble(("LGA ", "yellow"), ("│ ", "dim"), line))
    job.wait(progress=False)
    best = job.best()
    console.print(f"\nThe best of {len(job.trials())} trials is trial {best.number}: {best.objective:.2f} minutes with")
    for name, value in best.hyperparameters.items():
        console.print(f"  {name:15}{value}")
    console.print(f"\nAll trials:  {beside_python('lyftlearn')} trials {job.id}")


def search(origin: str, *, trials: int = 6, parallel: int = 3) -> lyftlearn.TuningJob:
    return lyftlearn.tune(
        f"eta-{origin.lower()}",
        command=["python", "train.py"],
        source=HERE,
        hyperparameters={"origin": origin},
        space={
            "learning_rate": Uniform(low=0.03, high=0.3, log=True),
            "iterations": IntUniform(low=20, high=60),
        },
        objective=Objective(name="holdout_mae", goal="minimize", pattern=r"holdout_mae=([0-9.]+)"),
        trials=trials,
        parallel=parallel,
        resources=lyftlearn.Resources(cpu=1, memory="2Gi"),
        timeout="10m",
        labels={"example": "eta", "origin": origin},
    )


if __name__ == "__main__":
    try:
        main()
    except lyftlearn.LyftLearnError as error:
        sys.exit(str(error))
