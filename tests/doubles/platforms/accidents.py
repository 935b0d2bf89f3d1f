"""What befalls a platform while a program runs on it: no machine is free, or the one of a job is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from lyftlearn.config import load
from lyftlearn_local.options import OPTIONS
from lyftlearn_local.store.files import Store
from lyftlearn_local.store.locks import Lock
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.cluster.kueue import Kueue
from tests.doubles.cluster.store import Object, wait_until
from tests.doubles.platforms import IN_IMAGE, Platforms
from tests.doubles.sagemaker import Service

OnLine = Callable[[str], None]
"""Is told of each line that the program prints."""
PENDING = {"local": "2s", "local-kubernetes": "2s", "local-sagemaker": "2s", "kubernetes": "2s", "sagemaker": "30m"}
"""How long a job may wait that is to wait in vain: SageMaker takes no less."""
QUEUE = "rides-gpu"
HURRY = 6000.0
"""How much faster than the clock those 30 minutes pass."""
_PARALLEL = next(option.default for option in OPTIONS if option.key == "parallel")


class _EveryType(set[str]):
    """Every instance type there is."""

    def __contains__(self, name: object) -> bool:
        return True


def impatient(platforms: Platforms) -> Platforms:
    """Return the same platforms, configured so that no job waits for a machine for long."""
    return _configured(platforms, {backend: f'pending = "{pending}"' for backend, pending in PENDING.items()})


def queued(platforms: Platforms) -> Platforms:
    """Return the same platforms, whose jobs go through a queue where they have one; this machine is one by itself."""
    return _configured(platforms, dict.fromkeys(("kubernetes", "sagemaker"), f'queue = "{QUEUE}"'))


def _configured(platforms: Platforms, lines: Mapping[str, str]) -> Platforms:
    text = platforms.config.read_text()
    for backend, line in lines.items():
        text = text.replace(f"[{backend}]\n", f"[{backend}]\n{line}\n")
    path = platforms.config.with_name("changed.toml")
    path.write_text(text)
    return replace(platforms, config=path)


@contextmanager
def full(platforms: Platforms, backend: str) -> Iterator[OnLine]:
    """No job finds a machine until the program ends, or says that it needs one."""
    with ExitStack() as taken:
        taken.enter_context(_taken(platforms, backend))
        yield lambda line: taken.close() if line == "a machine, please" else None


@contextmanager
def full_queue(platforms: Platforms, backend: str) -> Iterator[OnLine]:
    """No job is let go by its queue until the program ends, or says that there may be room."""
    with ExitStack() as held:
        make_room = held.enter_context(_queue(platforms, backend))
        yield lambda line: make_room() if line == "room, please" else None


@contextmanager
def _queue(platforms: Platforms, backend: str) -> Iterator[Callable[[], None]]:
    """Yield what makes room in the queue."""
    if backend not in ("kubernetes", "sagemaker"):
        with ExitStack() as taken:
            taken.enter_context(_taken(platforms, backend))
            yield taken.close
        return
    quotas = {QUEUE: 0}
    with ExitStack() as ended:
        if backend == "kubernetes":
            assert platforms.cluster
            ended.callback(Kueue(platforms.cluster.api, quotas).close)
        else:
            assert platforms.service
            platforms.service.conduct.batch_queues = quotas
        yield lambda: quotas.update({QUEUE: 9})


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
    """Whoever says that it has saved its work loses its machine, each time in another way: `<job> saved`."""
    if backend == "kubernetes":
        assert platforms.cluster
        ways = _ways_of_cluster(platforms.cluster)
    else:
        assert platforms.service
        ways = _ways_of_service(platforms.service)

    def on_line(line: str) -> None:
        job_id, _, rest = line.partition(" ")
        if rest == "saved":
            next(ways)(job_id)

    yield on_line


def _ways_of_cluster(cluster: Cluster) -> Iterator[OnLine]:
    def pod_of(job_id: str) -> Object:
        return next(pod for pod in cluster.pods(job_id) if pod["status"]["phase"] == "Running")

    def suspend(job_id: str) -> None:
        cluster.suspend(job_id, wish=True)
        wait_until(lambda: not cluster.pods(job_id))
        cluster.suspend(job_id, wish=False)

    yield lambda job_id: cluster.disrupt(
        pod_of(job_id)["metadata"]["name"], "PreemptionByScheduler", "default-scheduler: preempting"
    )
    yield lambda job_id: cluster.drain(pod_of(job_id))
    yield suspend


def _ways_of_service(service: Service) -> Iterator[OnLine]:
    def break_off(job_id: str, secondary: str) -> None:
        job = service.jobs.find(job_id)
        assert job
        job.break_off(secondary)

    yield partial(break_off, secondary="Restarting")
    while True:
        yield partial(break_off, secondary="Interrupted")
