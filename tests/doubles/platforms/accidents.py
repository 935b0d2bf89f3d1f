"""What befalls a platform while a program runs on it: no machine is free, or the one of a job is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lyftlearn.config import load
from lyftlearn_local.options import OPTIONS
from lyftlearn_local.store.files import Lock, Store
from tests.doubles.platforms import IN_IMAGE, Platforms

OnLine = Callable[[str], None]
"""Is told of each line that the program prints."""
PENDING = {"local": "2s", "local-kubernetes": "2s", "local-sagemaker": "2s", "kubernetes": "2s", "sagemaker": "30m"}
"""How long a job may wait that is to wait in vain: SageMaker takes no less."""
HURRY = 6000.0
"""How much faster than the clock those 30 minutes pass."""
_PARALLEL = next(option.default for option in OPTIONS if option.key == "parallel")


class _EveryType(set[str]):
    """Every instance type there is."""

    def __contains__(self, name: object) -> bool:
        return True


def impatient(platforms: Platforms) -> Platforms:
    """Return the same platforms, configured so that no job waits for a machine for long."""
    text = platforms.config.read_text()
    for backend, pending in PENDING.items():
        text = text.replace(f"[{backend}]\n", f'[{backend}]\npending = "{pending}"\n')
    path = platforms.config.with_name("impatient.toml")
    path.write_text(text)
    return replace(platforms, config=path)


@contextmanager
def full(platforms: Platforms, backend: str) -> Iterator[OnLine]:
    """No job finds a machine until the program ends, or says that it needs one."""
    with ExitStack() as taken:
        taken.enter_context(_taken(platforms, backend))
        yield lambda line: taken.close() if line == "a machine, please" else None


def _taken(platforms: Platforms, backend: str) -> AbstractContextManager[None]:
    if backend == "kubernetes":
        return _full_cluster(platforms)
    if backend == "sagemaker":
        return _no_capacity(platforms)
    return _no_slots(Path(load(platforms.config).tables["home"], "local" if backend == IN_IMAGE else backend))


@contextmanager
def _full_cluster(platforms: Platforms) -> Iterator[None]:
    assert platforms.cluster
    platforms.cluster.node.room = 0
    try:
        yield
    finally:
        platforms.cluster.node.room = None


@contextmanager
def _no_capacity(platforms: Platforms) -> Iterator[None]:
    assert platforms.service
    conduct = platforms.service.conduct
    conduct.scarce, conduct.hurry = _EveryType(), HURRY
    try:
        yield
    finally:
        conduct.scarce, conduct.hurry = set(), 1.0


@contextmanager
def _no_slots(root: Path) -> Iterator[None]:
    store = Store(root)
    store.slots.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        for number in range(_PARALLEL):
            while (lock := Lock.take(store.slots / str(number))) is None:
                pass  # the supervisor of a job that has ended has it for a moment longer
            locks.callback(lock.release)
        yield


@contextmanager
def preempting(platforms: Platforms, backend: str) -> Iterator[OnLine]:
    """Whoever says that it has saved its work is preempted: `<job> saved`."""

    def on_line(line: str) -> None:
        job_id, _, rest = line.partition(" ")
        if rest == "saved":
            _preempt(platforms, backend, job_id)

    yield on_line


def _preempt(platforms: Platforms, backend: str, job_id: str) -> None:
    if backend == "kubernetes":
        assert platforms.cluster
        (pod,) = platforms.cluster.pods(job_id)
        name = pod["metadata"]["name"]
        platforms.cluster.disrupt(name, "PreemptionByScheduler", "default-scheduler: preempting")
        return
    assert platforms.service
    job = platforms.service.jobs.find(job_id)
    assert job
    job.break_off("Restarting")
