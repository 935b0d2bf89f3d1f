"""Paths below `[mounts]`: passed on by name, never uploaded; everything else as before, and the plan says which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn.errors import InvalidJob

KUBERNETES = {"persistentVolumeClaim": "rides"}
SAGEMAKER = {"file_system": "fs-0123456789abcdef0", "directory": "/shared"}
VPC = {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}
REMOTE = ("kubernetes", "sagemaker")


def config(home: Path, **tables: Any) -> dict[str, Any]:
    return {
        "home": str(home),
        "storage": {"url": "s3://bucket/lyftlearn"},
        "jobs": {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/base:1"},
        "sagemaker": {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1", "vpc": VPC},
        "mounts": {"data": {"path": "/data", "kubernetes": KUBERNETES, "sagemaker": SAGEMAKER}},
        **tables,
    }


def plan(client: Client, backend: str, **arguments: Any) -> Any:
    return ops.plan("process", client=client, backend=backend, name="count", command="true", **arguments)


def faults(client: Client, backend: str, **arguments: Any) -> dict[str, str]:
    return dict(plan(client, backend, **arguments).plan.faults)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(config=config(tmp_path))


def test_a_rehearsal_names_a_mount_that_the_other_backend_lacks(tmp_path: Path) -> None:
    """Found while jobs still run where they ran, and not on the day of the move."""
    data = {"path": "/data", "local": {"directory": str(tmp_path)}, "kubernetes": KUBERNETES}
    rehearse = {"stage": "rehearse", "from": "local", "to": "sagemaker"}
    tables = {"storage": {"url": (tmp_path / "storage").as_uri()}, "local": {"containers": "never"}}
    client = Client(config=config(tmp_path / "home", mounts={"data": data}, migration=rehearse, **tables))
    job = client.process("count", command="true", outputs={"counts": "file:///data/counts/"})
    assert client._session.recorder.drain(120)
    job.wait(check=False)
    problems = {reason.path: reason.problem for reason in ops.migration_report(client=client).reasons}
    assert "[mounts.data.sagemaker]" in problems["outputs.counts"]


def bundle_of(submission: Any) -> Any:
    bodies = [request.body for request in submission.plan.requests]
    for body in bodies:
        if "job" in body.get("Body", {}):
            return body["Body"]
        if body.get("kind") == "Job":
            return json.loads(body["spec"]["template"]["metadata"]["annotations"]["lyftlearn/bundle"])
    raise AssertionError("no bundle")


@pytest.mark.parametrize("backend", REMOTE)
@pytest.mark.parametrize("written", ["file:///data/rides/", "/data/rides", Path("/data/rides"), "/data/./x/../rides/"])
def test_no_byte_of_a_mount_travels(client: Client, backend: str, written: Any) -> None:
    """The one call site that reads a shared file system moves as it is, wherever it is submitted from."""
    submission = plan(client, backend, inputs={"rides": written}, outputs={"counts": "file:///data/counts/"})
    assert submission.plan.faults == ()
    assert submission.uploads == ()
    bundle = bundle_of(submission)
    entry = bundle["inputs"]["rides"]
    assert entry["mode"] == "linked"
    assert entry["uri"].rstrip("/") == "file:///data/rides"
    assert entry["path"].startswith(entry["within"])
    counts = bundle["outputs"]["counts"]
    assert counts["uri"] == f"file://{counts['within']}/counts/"


@pytest.mark.parametrize("backend", REMOTE)
def test_a_model_on_a_mount(client: Client, backend: str) -> None:
    """`artifact` is read where it lies, as an archive, as a directory, and as one output of a job."""
    for written in ("file:///data/models/eta/", "/data/models/eta.tar.gz", "file:///data/x/output.tar.gz#best"):
        call = {"model": "eta", "command": "true", "artifact": written, "inputs": {"rides": "/data/rides/"}}
        submission = ops.plan("predict", client=client, backend=backend, **call)
        assert (submission.plan.faults, submission.uploads) == ((), ())
        name = written.rpartition("/")[2]
        assert bundle_of(submission)["artifact"].endswith(name or "lyftlearn-artifact") or backend == "kubernetes"


@pytest.mark.parametrize("backend", REMOTE)
@pytest.mark.parametrize("written", ["/database/rides", "file:///data/../etc/rides", "/dat", "file:///Data/rides"])
def test_names_that_only_look_like_a_mount(client: Client, backend: str, written: str) -> None:
    """`/database` is not in `/data`, and neither is what `..` leads out of it."""
    with pytest.raises(InvalidJob, match="is not there"):
        plan(client, backend, inputs={"rides": written})


@pytest.mark.parametrize("backend", REMOTE)
def test_what_is_under_no_mount_is_uploaded_and_told(client: Client, backend: str, tmp_path: Path) -> None:
    """Whoever pays for the transfer wants to know of it before it begins."""
    (tmp_path / "rides").mkdir()
    (tmp_path / "rides" / "jan.txt").write_text("x" * 1234)
    submission = plan(client, backend, inputs={"here": str(tmp_path / "rides"), "there": "/data/rides/"})
    assert [path for path, _ in submission.uploads] == [tmp_path / "rides"]
    told = [note for note in submission.plan.notes if note.startswith("inputs.")]
    assert told == [f"inputs.here: {tmp_path / 'rides'} goes through the storage: 1,234 bytes in 1 files"]


@pytest.mark.parametrize("backend", REMOTE)
def test_a_mount_that_a_backend_does_not_have(tmp_path: Path, backend: str) -> None:
    """It is told before anything is sent, for every argument at once, even where this machine has the directory."""
    there = tmp_path / "data"
    (there / "rides").mkdir(parents=True)
    (there / "rides" / "jan.txt").write_text("1")
    other = {name: {"x": 1} for name in REMOTE if name != backend}
    client = Client(config=config(tmp_path, mounts={"shared": {"path": str(there), **other}}))
    found = faults(client, backend, inputs={"rides": str(there / "rides")}, outputs={"out": f"file://{there}/out"})
    assert found.keys() == {"inputs.rides", "outputs.out"}
    assert all(f"[mounts.shared.{backend}]" in problem for problem in found.values())


@pytest.mark.parametrize("backend", REMOTE)
@pytest.mark.parametrize("where", ["mount", "backend"])
def test_outputs_do_not_go_to_a_read_only_mount(tmp_path: Path, backend: str, where: str) -> None:
    """A job that ran for a day must not learn only then that it may not write."""
    mount: dict[str, Any] = {"path": "/data", "kubernetes": {**KUBERNETES}, "sagemaker": {**SAGEMAKER}}
    (mount if where == "mount" else mount[backend])["read_only"] = True
    client = Client(config=config(tmp_path, mounts={"data": mount}))
    found = faults(client, backend, inputs={"in": "/data/in"}, outputs={"out": "file:///data/out"})
    assert found.keys() == {"outputs.out"}
    assert "read-only" in found["outputs.out"]


def test_the_nearest_mount_holds_a_path(tmp_path: Path) -> None:
    """One file system may be mounted within another."""
    mounts = {
        "data": {"path": "/data", "kubernetes": {"hostPath": "/mnt/all"}},
        "rides": {"path": "/data/rides", "kubernetes": {"nfs": {"server": "nfs", "path": "/rides"}}},
    }
    submission = plan(
        Client(config=config(tmp_path, mounts=mounts)), "kubernetes", inputs={"a": "/data/rides/jan", "b": "/data/x"}
    )
    job = submission.plan.requests[-1].body["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in job["volumes"] if volume["name"].startswith("mount-")}
    assert volumes["mount-rides"]["nfs"] == {"server": "nfs", "path": "/rides"}
    assert volumes["mount-data"]["hostPath"] == {"path": "/mnt/all", "type": "Directory"}
    assert bundle_of(submission)["inputs"]["a"]["path"].endswith("/mount-rides/jan")


def test_a_key_compares_the_name_of_what_is_mounted(client: Client) -> None:
    """A file system of terabytes is not read to compare keys; what is mounted may change under a job."""
    digests = {
        plan(client, "kubernetes", key="nightly", inputs={"rides": written}).spec.digest
        for written in ("file:///data/rides/", "/data/rides", "/data/x/../rides")
    }
    other = plan(client, "kubernetes", key="nightly", inputs={"rides": "/data/trips"}).spec.digest
    assert len(digests) == 1
    assert other not in digests


def test_volumes_of_every_pod_are_seen_too(tmp_path: Path) -> None:
    """As the page on Kubernetes promises: not uploaded, not copied, and not needed on the machine that submits."""
    volume = {"hostPath": "/mnt/trips", "mountPath": "/trips"}
    tables = {"backend": "kubernetes", "kubernetes": {"volumes": [volume]}}
    client = Client(config=config(tmp_path, **tables))
    submission = plan(client, "kubernetes", inputs={"trips": "file:///trips/2026/"})
    assert (submission.plan.faults, submission.uploads) == ((), ())
    assert bundle_of(submission)["inputs"]["trips"]["path"] == "/trips/2026"
    assert "is not there" in faults(client, "sagemaker", inputs={"trips": "file:///trips/2026/"})["inputs.trips"]


def test_sagemaker_mounts_the_directory_that_an_input_names(client: Client) -> None:
    """A channel mounts a directory: the one that the URI names, or, where that may be a file, the one it is in."""
    inputs = {"whole": "file:///data", "deep": "file:///data/rides/2026/", "one": "/data/rides/jan.csv"}
    submission = plan(client, "sagemaker", inputs=inputs, outputs={"out": "file:///data/out"})
    request = submission.plan.requests[-1].body
    channels = {entry["ChannelName"]: entry["DataSource"] for entry in request["InputDataConfig"]}
    directories = {
        name: (source["FileSystemDataSource"]["DirectoryPath"], source["FileSystemDataSource"]["FileSystemAccessMode"])
        for name, source in channels.items()
        if "FileSystemDataSource" in source
    }
    assert directories == {
        "whole": ("/shared", "ro"),
        "deep": ("/shared/rides/2026", "ro"),
        "one": ("/shared/rides", "ro"),
        "lyftlearn-mount-data": ("/shared", "rw"),
    }
    assert bundle_of(submission)["inputs"]["one"]["path"] == "/opt/ml/input/data/one/jan.csv"
    assert request["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


def test_sagemaker_needs_a_network_and_a_known_file_system(tmp_path: Path) -> None:
    """What AWS would refuse is said by the plan, for all mounts at once, in the words of the configuration."""
    tables: dict[str, Any] = {
        "sagemaker": {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1"},
        "mounts": {
            "data": {"path": "/data", "sagemaker": {"file_system": "efs-1"}},
            "fast": {"path": "/fast", "sagemaker": {"file_system": "fs-01234567", "type": "FSxLustre"}},
            "none": {"path": "/none", "sagemaker": {"type": "NFS"}},
        },
    }
    client = Client(config=config(tmp_path, **tables))
    found = faults(client, "sagemaker", inputs={"rides": "/data/rides/", "fast": "/fast/x/"})
    assert found.keys() == {
        "sagemaker.vpc",
        "mounts.data.sagemaker.file_system",
        "mounts.fast.sagemaker.directory",
        "mounts.none.sagemaker.type",
    }


def test_kubernetes_mounts_one_thing(tmp_path: Path) -> None:
    """Two sources, none, a sub-path that leads out, and a key that is not known: each is said where it is."""
    mounts = {
        "two": {"path": "/two", "kubernetes": {"hostPath": "/x", "persistentVolumeClaim": "x"}},
        "none": {"path": "/none", "kubernetes": {}},
        "out": {"path": "/out", "kubernetes": {"hostPath": "/x", "subPath": "../etc"}},
        "odd": {"path": "/odd", "kubernetes": {"pvc": "x"}},
        "half": {"path": "/half", "kubernetes": {"nfs": {"server": "nfs"}}},
    }
    found = faults(Client(config=config(tmp_path, mounts=mounts)), "kubernetes")
    assert found.keys() == {
        "mounts.two.kubernetes",
        "mounts.none.kubernetes",
        "mounts.out.kubernetes.subPath",
        "mounts.odd.kubernetes.pvc",
        "mounts.half.kubernetes.nfs",
    }


def test_a_stand_in_is_never_made_for_what_cannot_be_seen(tmp_path: Path) -> None:
    """An archive on a mount that this machine lacks may be there: an empty one in its place would be trained on."""
    client = Client(config=config(tmp_path))
    uri = "file:///data/jobs/count-plabcdefghijk/output/output.tar.gz#counts"
    submission = plan(client, "kubernetes", inputs={"counts": uri})
    assert submission.uploads == ()
    assert bundle_of(submission)["inputs"]["counts"]["mode"] == "fetch"
