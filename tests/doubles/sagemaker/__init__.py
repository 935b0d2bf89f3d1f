"""SageMaker's training jobs, on a socket, for tests: real boto3 speaks to it as it does to AWS.

It refuses what AWS refuses, checked against botocore's service model, and runs the container contract for real:
channels from S3, `/opt/ml`, variables, SIGTERM and grace, artifacts, the failure file; in bubblewrap's namespaces.
S3, CloudWatch Logs, EventBridge and SQS are moto's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.containers import require_containers

from .batch import Batch
from .faults import Faults
from .jobs import Jobs
from .operations import Operations
from .protocol import handler
from .surroundings import FileSystem, Surroundings


@dataclass
class Conduct:
    """How the service behaves; tests change it.

    containers: whether jobs run for real; else they stay in Training until `Jobs.finish`. step: seconds that each
    secondary status takes. grace: between SIGTERM and SIGKILL. log_delay: seconds by which log lines come late. roles:
    the roles that exist, None for any. quotas: instance type to how many may run. stops_twice: whether a stop of a job
    that is stopping is accepted; no source says what AWS does. scarce: the instance types that have no capacity. hurry:
    how much faster than the clock MaxPendingTimeInSeconds passes, and how its end is told: `Stopped` as AWS's guide has
    it, with or without having been `Stopping`, or `Failed`. block_expires: of reserved capacity, in seconds since 1970.
    lists_of_types: whether the account may name several instance types. batch_queues: the queues of Batch, and for how
    many instances each has room; fair_queues: those with shares; quota_share_queues: those with quota shares.
    batch_words: what Batch writes before SageMaker's words. rejects_repeats: whether a second submission with a client
    token is refused. file_systems: of the account, by id. search_paths: the PATH of images that have another.
    """

    containers: bool = True
    step: float = 0.02
    grace: float = 120.0
    log_delay: float = 0.0
    publish: bool = False
    doubled_events: bool = False
    lost_events: float = 0.0
    shuffled_events: bool = False
    roles: frozenset[str] | None = None
    quotas: dict[str, int] = field(default_factory=dict)
    file_systems: dict[str, FileSystem] = field(default_factory=dict)
    search_paths: dict[str, str] = field(default_factory=dict)
    lists_per_second: float | None = None
    stops_twice: bool = False
    lists_of_types: bool = True
    scarce: set[str] = field(default_factory=set)
    hurry: float = 1.0
    pending_ends: str = "Stopped"
    block_expires: float | None = None
    batch_queues: dict[str, int] = field(default_factory=dict)
    fair_queues: frozenset[str] = frozenset()
    quota_share_queues: frozenset[str] = frozenset()
    batch_words: str = "Received status from SageMaker: "
    rejects_repeats: bool = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a busy machine refuses nobody


class Service:
    """The server. url: where boto3 finds it, in `AWS_ENDPOINT_URL_SAGEMAKER`."""

    def __init__(self, aws: str, directory: Path, port: int = 0) -> None:
        require_containers()
        self.conduct = Conduct()
        self.faults = Faults()
        self.surroundings = Surroundings(aws, self.conduct)
        self.jobs = Jobs(self.conduct, self.surroundings, directory)
        self.operations = Operations(self.jobs, self.conduct)
        self.batch = Batch(self.conduct, self.jobs, self.operations)
        self.http = _Server(("127.0.0.1", port), handler(self.operations, self.batch, self.faults))
        self.url = self.surroundings.sagemaker = f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def requests(self) -> list[tuple[float, str]]:
        """Every request so far: when, and which operation."""
        return self.faults.seen

    def count(self, operation: str) -> int:
        """How often an operation was asked for since the last `reset`."""
        return sum(name == operation for _, name in self.faults.seen)

    def reset(self) -> None:
        """Behave well again, end every job and forget it, and forget what was asked."""
        self.batch.clear()
        self.jobs.clear()
        self.faults.clear()
        vars(self.conduct).update(vars(Conduct()))

    def close(self) -> None:
        """End every job and the server."""
        self.batch.close()
        self.jobs.clear()
        self.http.shutdown()
        self.http.server_close()


@contextmanager
def serving(aws: str, directory: Path, port: int = 0) -> Iterator[Service]:
    """Serve for as long as the block runs."""
    service = Service(aws, directory, port)
    thread = threading.Thread(target=service.http.serve_forever, args=(0.05,), daemon=True, name="sagemaker")
    thread.start()
    try:
        yield service
    finally:
        service.close()
        thread.join()
