"""Which node this is, and who the others are."""

from __future__ import annotations

import os

from .detect import TRAINING
from .faults import PLATFORM, RuntimeFailure, configuration_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = "29500"
HOSTS = "LYFTLEARN_SUBSTRATE_HOSTS"
RANK = "LYFTLEARN_SUBSTRATE_RANK"
PORT = "LYFTLEARN_SUBSTRATE_PORT"
WAIT_FOR_HOSTS = 900.0
"""Seconds until a node that cannot be found by name fails the job: the others may still be scheduled or pulling."""


class Nodes:
    """The nodes of a job, seen from one of them."""

    def __init__(self, rank: int, hosts: list[str], port: str = DEFAULT_PORT) -> None:
        self.rank = rank
        self.hosts = hosts
        self.port = port

    def variables(self, gpus: int) -> dict[str, str]:
        """LYFTLEARN_*, and with more than one node what torch.distributed and torchrun read."""
        count, rank = str(len(self.hosts)), str(self.rank)
        own = {"LYFTLEARN_NODE_RANK": rank, "LYFTLEARN_NODES": count, "LYFTLEARN_HOSTS": ",".join(self.hosts)}
        if len(self.hosts) == 1:
            return own
        meeting = {"MASTER_ADDR": self.hosts[0], "MASTER_PORT": self.port, "NODE_RANK": rank}
        torchrun = {
            "PET_NNODES": count,
            "PET_NODE_RANK": rank,
            "PET_MASTER_ADDR": self.hosts[0],
            "PET_MASTER_PORT": self.port,
            "PET_NPROC_PER_NODE": str(max(1, gpus)),
        }
        return {**own, **meeting, **torchrun}


def find(count: int, environ: Mapping[str, str], substrate: str, ml: str) -> Nodes:
    """This node's rank and everyone's host, from what the substrate gives."""
    if count == 1:
        return Nodes(0, ["localhost"], environ.get(PORT, DEFAULT_PORT))
    if substrate == TRAINING and HOSTS not in environ:
        path = os.path.join(ml, "input", "config", "resourceconfig.json")
        return _from_sagemaker(count, path, environ.get(PORT, DEFAULT_PORT))
    hosts = [host for host in environ.get(HOSTS, "").split(",") if host]
    rank = environ.get(RANK) or environ.get("JOB_COMPLETION_INDEX") or ""
    if len(hosts) != count or not rank.isdigit() or int(rank) >= count:
        raise configuration_failure(
            f"nodes: the job has {count}, the substrate names {len(hosts)} hosts and rank {rank or 'none'}"
        )
    return Nodes(int(rank), hosts, environ.get(PORT, DEFAULT_PORT))


def _from_sagemaker(count: int, path: str, port: str) -> Nodes:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        hosts = sorted(config["hosts"], key=_by_number)
        rank = hosts.index(config["current_host"])
    except (OSError, ValueError, KeyError) as error:
        raise RuntimeFailure(PLATFORM, f"{path} does not tell the nodes: {type(error).__name__}") from error
    if len(hosts) != count:
        raise RuntimeFailure(PLATFORM, f"nodes: the job has {count}, {path} names {len(hosts)}")
    return Nodes(rank, hosts, port)


def _by_number(host: str) -> tuple[int, str]:
    """`algo-10` comes after `algo-9`."""
    return len(host), host


def wait_for(nodes: Nodes, seconds: float = WAIT_FOR_HOSTS) -> None:
    """Until every host has an address: programs that meet at MASTER_ADDR rarely wait for its name."""
    if len(nodes.hosts) == 1:
        return
    import time

    deadline, pause = time.monotonic() + seconds, 0.1
    missing = nodes.hosts
    while True:
        missing = [host for host in missing if not _has_address(host)]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise RuntimeFailure(PLATFORM, f"nodes: no address after {seconds:.0f} s for {', '.join(missing)}")
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


def _has_address(host: str) -> bool:
    import socket

    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
