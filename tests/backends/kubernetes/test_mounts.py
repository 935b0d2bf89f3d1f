"""File systems that pods mount, on the cluster of the tests: claims, exports, directories of the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings, Mount
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobKind, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.backends.kubernetes.conftest import image, patience, real
from tests.doubles.cluster.cluster import Cluster

pytestmark = pytest.mark.skipif(bool(real("KUBECONFIG")), reason="a real cluster has no file systems of ours")
COPY = """
import os, pathlib
text = (pathlib.Path(os.environ["LYFTLEARN_INPUTS_DIR"]) / "rides" / "jan.txt").read_text()
(pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]) / "copy" / "jan.txt").write_text(text * 2)
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The directory behind the file system."""
    (tmp_path / "files" / "deep" / "rides").mkdir(parents=True)
    (tmp_path / "files" / "deep" / "rides" / "jan.txt").write_text("1")
    return tmp_path / "files"


@pytest.fixture
def new_harness(cluster: Cluster, table: dict[str, Any], storage_url: str, tmp_path: Path) -> Callable[..., Harness]:
    """Make a harness over a backend whose mount `data` has the keys that are given."""

    def make(**mount: Any) -> Harness:
        mounts = (Mount(name="data", path="/data", table=mount),)
        settings = BackendSettings(
            name="kubernetes", table=table, home=tmp_path / "home", storage_url=storage_url, mounts=mounts
        )
        harness = Harness(KubernetesBackend(settings), storage_url, ("python3",), patience())
        harness.defaults = {"image": image(), "kind": JobKind.PROCESS}
        return harness

    return make


@pytest.mark.parametrize("source", ["claim", "nfs", "hostPath"])
def test_jobs_read_and_write_what_is_mounted(
    cluster: Cluster, new_harness: Callable[..., Harness], files: Path, source: str
) -> None:
    """Each kind of volume, with a directory of it, read-only for what is read; outputs lie there under their names."""
    cluster.node.claims["shared"], cluster.node.exports["nfs", "/x"] = files, files
    mounts: dict[str, dict[str, Any]] = {
        "claim": {"persistentVolumeClaim": "shared"},
        "nfs": {"nfs": {"server": "nfs", "path": "/x"}},
        "hostPath": {"hostPath": str(files)},
    }
    harness = new_harness(**mounts[source], subPath="deep")
    inputs, outputs = {"rides": "file:///data/rides/"}, {"copy": "file:///data/copies/one/"}
    harness.succeed(harness.spec(COPY, inputs=inputs, outputs=outputs))
    harness.close()
    assert (files / "deep" / "copies" / "one" / "jan.txt").read_text() == "11"
    assert (files / "deep" / "rides" / "jan.txt").read_text() == "1"


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"persistentVolumeClaim": "gone"}, "no PersistentVolumeClaim gone"),
        pytest.param({"hostPath": "/"}, "nothing is at file:///data/no/such/", marks=pytest.mark.slow),
    ],
)
def test_what_is_not_there_fails_the_job(new_harness: Callable[..., Harness], mount: Any, words: str) -> None:
    """A claim that is missing does not wait for a day, and a name that is missing is called as the caller did."""
    harness = new_harness(**mount)
    state = harness.run(harness.spec("print('ran')", inputs={"rides": "file:///data/no/such/"}))
    harness.close()
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert words in state.message
