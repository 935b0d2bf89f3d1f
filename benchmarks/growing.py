"""What is counted over growing sizes: for each operation its sizes, and what prepares the program for one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.history.run import fill
from benchmarks.kubernetes.run import server
from benchmarks.packing import MODEL, SOURCE, make_model, make_source
from benchmarks.sagemaker.servers import BUCKET, servers
from benchmarks.tuning.run import write_study
from lyftlearn._storage import open_storage
from lyftlearn.history.store import History

_PLAN = """
import sys, lyftlearn
client = lyftlearn.Client(config={"backend": "kubernetes", "home": sys.argv[1], "storage": {"url": "s3://bucket/prefix"}})
given = dict.fromkeys(("source", "inputs", "env", "resources", "timeout", "labels", "key"))
given |= {"model": "bench", "command": ["/bin/true"], "image": "a/b:1", "secrets": (), "nodes": 1, "retries": 0}
client._prepare("train", None, **given, hyperparameters={f"name_{n}": n / 7 for n in range(int(sys.argv[2]))})
"""
_READ = """
import sys
from lyftlearn._storage import open_storage
from lyftlearn._studies.ledger import StudyReader
assert len(StudyReader(open_storage(sys.argv[1]), sys.argv[2]).records()) == int(sys.argv[3])
"""
_LOCAL = """
import sys, lyftlearn
home = sys.argv[1]
client = lyftlearn.Client(config={"backend": "local", "home": home, "storage": {"url": f"{home}/storage"}})
client.wait([client.train("bench", command=["/bin/true"]) for _ in range(1 + int(sys.argv[2]))], progress=False)
"""
_KUBERNETES = """
import sys
from pathlib import Path
from benchmarks.kubernetes.contenders import lyftlearn
submit = lyftlearn(Path(sys.argv[1]))
for _ in range(1 + int(sys.argv[2])):
    submit()
"""
_FOLLOWING = """
import sys
from benchmarks.kubernetes import following
sys.argv[1:] = [str(1 + int(sys.argv[2])), sys.argv[1]]
following.main()
"""
_SAGEMAKER = """
import sys
from pathlib import Path
from benchmarks.sagemaker.contenders import lyftlearn
submit = lyftlearn(Path(sys.argv[1]), None)
for _ in range(1 + int(sys.argv[2])):
    submit()
"""
_FETCH = "import sys; from lyftlearn.runtime.transfer import fetch; fetch(sys.argv[1], sys.argv[2])"
_COST = """
import sys, lyftlearn
from lyftlearn import ops
client = lyftlearn.Client(config={"home": sys.argv[1], "history": {"url": sys.argv[2]}})
ops.cost(since=None, client=client)
"""

Prepare = Callable[[Path, int], AbstractContextManager[list[str]]]
"""Gives a program and its arguments, and has what it needs there for so long."""


def _made(program: Callable[[Path, int], list[str]]) -> Prepare:
    @contextmanager
    def prepare(folder: Path, size: int) -> Iterator[list[str]]:
        yield program(folder, size)

    return prepare


def _read(folder: Path, trials: int) -> list[str]:
    document = write_study(open_storage(str(folder / "storage")), trials)
    return [_READ, str(folder / "storage"), document["id"], str(trials)]


def _cost(folder: Path, jobs: int) -> list[str]:
    url = f"sqlite:///{folder}/history.sqlite"
    fill(History(url), jobs)
    return [_COST, str(folder), url]


def _on_kubernetes(program: str) -> Prepare:
    @contextmanager
    def prepare(_: Path, jobs: int) -> Iterator[list[str]]:
        with server() as directory:
            yield [program, str(directory), str(jobs)]

    return prepare


@contextmanager
def _on_sagemaker(folder: Path, jobs: int) -> Iterator[list[str]]:
    with servers():
        yield [_SAGEMAKER, str(folder), str(jobs)]


@contextmanager
def _from_s3(folder: Path, files: int) -> Iterator[list[str]]:
    import boto3

    with servers():
        for number in range(1 + files):
            boto3.client("s3").put_object(Bucket=BUCKET, Key=f"tree/{number}", Body=json.dumps(number))
        yield [_FETCH, f"s3://{BUCKET}/tree/", str(folder / "fetched")]


Operation = tuple[Sequence[int], Prepare]
OPERATIONS: dict[str, Operation] = {
    "packing a source, by files": (
        (200, 400, 800, 1600),
        _made(lambda folder, files: [SOURCE, str(make_source(folder, files))]),
    ),
    "packing a model, by MB": (
        (4, 8, 16, 32),
        _made(lambda folder, size: [MODEL, str(make_model(folder / "model", size)), str(folder / "packed.tar.gz")]),
    ),
    "planning a job, by hyperparameters": (
        (500, 1000, 2000, 4000),
        _made(lambda folder, number: [_PLAN, str(folder), str(number)]),
    ),
    "reading a search, by trials": ((250, 500, 1000, 2000), _made(_read)),
    "local jobs to their end, by jobs": (
        (10, 20, 40, 80),
        _made(lambda folder, jobs: [_LOCAL, str(folder), str(jobs)]),
    ),
    "submitting to Kubernetes, by jobs": ((50, 100, 200, 400), _on_kubernetes(_KUBERNETES)),
    "submitting and following there, by jobs": ((50, 100, 200, 400), _on_kubernetes(_FOLLOWING)),
    "submitting to SageMaker, by jobs": ((10, 20, 40, 80), _on_sagemaker),
    "fetching from S3, by files": ((50, 100, 200, 400), _from_s3),
    "cost of a history, by jobs": ((10_000, 20_000, 40_000, 80_000), _made(_cost)),
}
