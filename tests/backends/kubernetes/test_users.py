"""Pods with a user of their own, and whose the files of a shared storage are, on nodes that hold every pod to it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Verdict
from lyftlearn.testing import Harness
from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.backends.kubernetes.conftest import real
from tests.doubles.cluster.cluster import Cluster

pytestmark = [
    pytest.mark.skipif(bool(real("KUBECONFIG")), reason="a real cluster's directories are not ours to give away"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root runs pods as other users"),
]
USER, GROUP, SUBMITTER = 1000, 2000, 4001
WRITING = """
import os, pathlib, tempfile
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "weights").write_text("x")
pathlib.Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "report", "a.txt").write_text("a")
tempfile.NamedTemporaryFile().close()
print(os.getuid(), os.getgid(), os.access(os.environ["HOME"], os.W_OK))
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory that the submitter and every node have, of a team as its administrator makes it."""
    place = Path(tempfile.mkdtemp())
    os.chown(place, 0, GROUP)
    place.chmod(0o2770)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def storage_url(data: Path) -> str:
    return (data / "lyftlearn").as_uri()


@pytest.fixture
def table(cluster: Cluster, data: Path) -> dict[str, Any]:
    volume = {"hostPath": str(data), "mountPath": str(data)}
    return {"kubeconfig": str(cluster.kubeconfig()), "volumes": [volume], "starting": "3s"}


def test_a_pods_user_shares_a_teams_storage(new_harness: Callable[..., Harness], data: Path, tmp_path: Path) -> None:
    """Many clusters admit nothing but such a user; its group is all that it has in common with submitters."""
    harness = new_harness(user=f"{USER}:{GROUP}")
    source = harness.put_source({"train.py": WRITING.encode()})
    outputs = {"report": f"{data.as_uri()}/reports/one/"}
    spec = harness.succeed(harness.spec(command=("python3", "train.py"), source=source, outputs=outputs))
    assert harness.lines(spec.id) == [f"{USER} {GROUP} True"]
    assert harness.fetch(spec.id, "model", tmp_path) == {"weights": b"x"}
    left = [data / "reports/one/a.txt", *(data / "lyftlearn/jobs").rglob("*")]
    assert {path.stat().st_gid for path in left} == {GROUP}
    assert {path.stat().st_mode & 0o777 for path in left if path.is_file()} == {0o660}
    assert {path.stat().st_mode & 0o777 for path in left if path.is_dir()} == {0o770}


def test_a_storage_that_shuts_the_pods_user_out(new_harness: Callable[..., Harness], data: Path) -> None:
    """Told before the command starts and by doctor, with whose the directory is: a model must not be lost for it."""
    harness = new_harness(user=f"{USER}:{GROUP}")
    (data / "lyftlearn").mkdir()
    (data / "lyftlearn").chmod(0o700)
    state = harness.run(spec := harness.spec("print('ran')"))
    assert (state.status, state.reason) == (JobStatus.FAILED, FailureReason.CONFIGURATION)
    assert f"{data}/lyftlearn may not be written to by user {USER} of group {GROUP}" in state.message
    assert "it belongs to user 0 and group 2000, mode 0700" in state.message
    assert "ran" not in harness.lines(spec.id)


def test_doctor_looks_at_the_storages_directory(new_backend: Callable[..., KubernetesBackend], data: Path) -> None:
    """What can be seen from here need not be found out by a job."""
    backend = new_backend(user=f"{USER}:{GROUP}")
    verdicts = []
    for mode in (0o2770, 0o700, 0o750):
        (data / "lyftlearn").mkdir(exist_ok=True)
        (data / "lyftlearn").chmod(mode)
        found = {check.name: check for check in backend.diagnose()}
        verdicts.append(found["volumes"].verdict)
    assert verdicts == [Verdict.OK, Verdict.FAILED, Verdict.FAILED]
    assert f"chgrp {GROUP} {data}/lyftlearn" in found["volumes"].detail


def test_a_submitter_owns_what_pods_write_as_root(new_harness: Callable[..., Harness], data: Path) -> None:
    """Pods without `user` are root, and submitters seldom are: these could neither read their model nor remove it."""
    data.chmod(0o755)
    (data / "lyftlearn").mkdir(mode=0o700)
    os.chown(data / "lyftlearn", SUBMITTER, SUBMITTER)
    harness = new_harness()
    harness.succeed(harness.spec())
    left = list((data / "lyftlearn/jobs").rglob("*"))
    assert left
    assert {(path.stat().st_uid, path.stat().st_gid) for path in left} == {(SUBMITTER, SUBMITTER)}


def test_what_a_volumes_group_is_to_the_command(new_harness: Callable[..., Harness]) -> None:
    """A pod's volumes are its fsGroup's, and setgid; a command sees no more of that than the contract says."""
    code = """
        import json, os
        modes = {name: oct(os.stat(f"/lyftlearn/{name}").st_mode & 0o6000) for name in ("model", "tmp", "outputs")}
        print(json.dumps([sorted({os.getgid(), *os.getgroups()}), sorted(set(modes.values()))]))
    """
    for user, groups in (("1000:2000", [2000]), (None, [0, 65534])):
        harness = new_harness(**({"user": user} if user else {}))
        spec = harness.succeed(harness.spec(code))
        assert json.loads(harness.lines(spec.id)[0]) == [groups, ["0o0"]], user


def test_a_pods_user_reads_its_secrets_and_nobody_elses_files(
    new_harness: Callable[..., Harness], cluster: Cluster, data: Path
) -> None:
    """Secret volumes reach the pod's user by fsGroup alone. No value lies in the storage, which a team shares."""
    cluster.create_secret("db", {"PASSWORD": "hunter2-canary"})
    code = """
        import os, pathlib
        path = pathlib.Path("/lyftlearn/secrets/db/PASSWORD")
        print(path.read_text() == os.environ["PASSWORD"], oct(path.stat().st_mode & 0o777), path.stat().st_uid)
    """
    harness = new_harness(user=f"{USER}:{GROUP}")
    spec = harness.succeed(harness.spec(code, secrets=("db",)))
    assert harness.lines(spec.id) == [f"True 0o400 {USER}"]
    stored = [path for path in data.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"hunter2-canary" in path.read_bytes()]
