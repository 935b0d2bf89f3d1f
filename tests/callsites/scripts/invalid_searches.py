"""A search or a notebook that cannot be right is refused before anything is sent, every fault at once."""

import lyftlearn
from lyftlearn import Choice, IntUniform, Objective, Uniform


def refused(call: str, **arguments: object) -> None:
    try:
        getattr(lyftlearn, call)(**arguments)
    except lyftlearn.InvalidJob as invalid:
        print(invalid)


LOSS = Objective(name="loss", goal="minimize", pattern=r"loss=([0-9.]+)")
SEARCH = {"model": "eta-invalid", "command": "true", "objective": LOSS, "trials": 2}
refused(
    "tune",
    model="eta-invalid",
    command="",
    space={
        "rate": Uniform(low=0.3, high=0.1),
        "decay": Uniform(low=0.0, high=1.0, log=True),
        "depth": IntUniform(low=8, high=2),
        "kind": Choice([]),
        "wide": Uniform(low=float("-inf"), high=1.0),
    },
    objective=Objective(name="loss", goal="least", pattern="loss="),  # type: ignore[arg-type]
    trials=0,
    parallel=0,
    strategy="guess",
    nodes=0,
)
refused("tune", **SEARCH, space={}, strategy="random")
refused("tune", **SEARCH, space={"depth": IntUniform(low=1, high=9)}, strategy="grid")
refused("tune", **SEARCH, space={"rate": Uniform(low=0, high=1)}, strategy="grid")
refused("tune", **SEARCH, space={"depth": IntUniform(low=1, high=2)}, hyperparameters={"depth": 1})
refused(
    "tune", **SEARCH | {"objective": Objective(name="l", goal="minimize", pattern="(a)(b)")}, space={"k": Choice([1])}
)
refused("notebook", name="of sfo", env={"2FAST": "1"}, secrets="db", idle_timeout="soon", labels={"team": "a b"})
print("nothing was sent:", list(lyftlearn.jobs(name="eta-invalid")))
