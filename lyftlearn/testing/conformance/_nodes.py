"""Several nodes that run one command together."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyftlearn.backend import Capability
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import FailureReason, JobStatus

NODES = 3


class NodesConformance(Fixtures):
    """What torchrun and its kin need: ranks, names, and one fate."""

    @pytest.fixture(autouse=True)
    def one_gang_at_a_time(self) -> Iterator[None]:
        """Keep other tests of several nodes waiting, in other processes, too.

        On a platform that is nearly full two such jobs can each hold what the other one waits for.
        """
        if self.room_for_gangs:
            yield
            return
        path = Path(tempfile.gettempdir()) / f"lyftlearn-conformance-{os.getuid()}.lock"
        with path.open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def test_ranks_and_hosts(self, harness: Harness) -> None:
        """Each rank once; all nodes agree on the list of hosts, and the first of it is where they meet."""
        harness.need(Capability.SEVERAL_NODES)
        code = """
            import json, os
            names = ("NODE_RANK", "NODES", "HOSTS")
            print(json.dumps([os.environ["LYFTLEARN_" + name] for name in names]))
            names = ("MASTER_ADDR", "NODE_RANK", "PET_NNODES", "PET_NODE_RANK")
            print(json.dumps([os.environ[name] for name in names]))
        """
        spec = harness.succeed(harness.spec(code, nodes=NODES))
        hosts = set()
        for node in range(NODES):
            own, meeting = (json.loads(line) for line in harness.lines(spec.id, node=node))
            assert own[:2] == [str(node), str(NODES)]
            assert meeting == [own[2].split(",")[0], str(node), str(NODES), str(node)]
            hosts.add(own[2])
        assert len(hosts) == 1
        assert len(set(hosts.pop().split(","))) == NODES

    def test_logs_of_all_nodes(self, harness: Harness) -> None:
        """Lines are in order per node and say which node they are of; `tail` counts for each."""
        harness.need(Capability.SEVERAL_NODES)
        spec = harness.quiet("for number in range(50): print(number, flush=True)", nodes=NODES)
        harness.submit(spec)
        followed = harness.log(spec.id, follow=True)
        for lines in (followed, harness.log(spec.id)):
            assert len(lines) == 50 * NODES
            for node in range(NODES):
                assert [line.text for line in lines if line.node == node] == [str(number) for number in range(50)]
        tail = harness.log(spec.id, tail=2)
        assert sorted((line.node, line.text) for line in tail) == [(n, t) for n in range(NODES) for t in ("48", "49")]

    def test_one_silent_node_does_not_hide_the_others(self, harness: Harness) -> None:
        """A follower sees what is there, and does not wait for every node to speak."""
        harness.need(Capability.SEVERAL_NODES)
        code = """
            import os, time
            if os.environ["LYFTLEARN_NODE_RANK"] == "1":
                print("up", flush=True)
            time.sleep(600)
        """
        spec = harness.spec(code, nodes=2)
        harness.submit(spec)
        harness.until_line(spec.id, "up")
        harness.backend.stop(spec.id)
        assert harness.wait(spec.id).status is JobStatus.STOPPED

    def test_the_first_failure_is_the_jobs(self, harness: Harness) -> None:
        """The others only wait for the node that is gone: they are ended, and how they end is no news."""
        harness.need(Capability.SEVERAL_NODES)
        code = """
            import os, time
            if os.environ["LYFTLEARN_NODE_RANK"] == "1":
                raise SystemExit(37)
            time.sleep(600)
        """
        state = harness.run(harness.spec(code, nodes=NODES))
        assert (state.status, state.reason, state.exit_code) == (JobStatus.FAILED, FailureReason.USER_ERROR, 37)

    def test_inputs_are_whole_on_every_node(self, harness: Harness) -> None:
        """A substrate that shares files out among its nodes would train on a part."""
        harness.need(Capability.SEVERAL_NODES)
        uri = harness.put({f"{number}.csv": b"x" for number in range(4)})
        code = "import os; print(sorted(os.listdir(os.environ['LYFTLEARN_INPUTS_DIR'] + '/flights')))"
        spec = harness.succeed(harness.spec(code, nodes=2, inputs={"flights": uri}))
        for node in range(2):
            assert harness.lines(spec.id, node=node) == [str([f"{number}.csv" for number in range(4)])]
