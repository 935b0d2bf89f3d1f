"""The same call tries the same values, wherever and whenever it runs; types arrive as they were written."""

import sys

import lyftlearn

RUN = sys.argv[1]
SHOW = 'cat "$LYFTLEARN_HYPERPARAMETERS"; echo; echo "score=$(wc -c < "$LYFTLEARN_HYPERPARAMETERS")"'
SPACE: dict[str, lyftlearn.Uniform | lyftlearn.IntUniform | lyftlearn.Choice] = {
    "rate": lyftlearn.Uniform(low=1e-4, high=0.5, log=True),
    "depth": lyftlearn.IntUniform(low=2, high=64),
    "kind": lyftlearn.Choice([1, "1", True, None, [1, 2]]),
}


def search(key: str, strategy: str) -> lyftlearn.TuningJob:
    return lyftlearn.tune(
        "eta",
        command=SHOW,
        space=SPACE,
        objective=lyftlearn.Objective(name="score", goal="maximize", pattern=r"score=(\d+)"),
        trials=3,
        parallel=2,
        strategy=strategy,  # type: ignore[arg-type]  # a word, as it comes from a file
        key=f"{key}-{RUN}",
    )


def show(trial: lyftlearn.Trial) -> None:
    kind = type(trial.hyperparameters["kind"]).__name__
    print("   ", trial.number, dict(trial.hyperparameters), kind, trial.objective)
    print("   ", next(trial.job.logs()))


for strategy in ("bayesian", "random"):
    job = search(strategy, strategy)
    print(strategy, job.wait().status)
    for trial in job.trials():
        show(trial)
    print("best:", job.best().number)
    again = search(strategy, strategy)
    print("found by its key:", again == job, again.status, len(again.trials()))
