"""A plan in a file: what somebody has read is sent, or nothing is."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import Resources, ops
from lyftlearn.errors import InvalidJob
from lyftlearn.ops import plan_files
from tests.containers import require_containers

S3 = {"storage": {"url": "s3://bucket/lyftlearn"}}
ROLE = "arn:aws:iam::123456789012:role/jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/eta:1"
PLATFORMS: dict[str, dict[str, Any]] = {
    "local": {},
    "local-sagemaker": {},
    "kubernetes": {**S3, "kubernetes": {"namespace": "jobs"}},
    "sagemaker": {**S3, "sagemaker": {"role": ROLE, "region": "us-east-1"}},
}
Keep = Callable[..., Path]


def client_of(tmp_path: Path, **config: Any) -> lyftlearn.Client:
    return lyftlearn.Client(config={"home": str(tmp_path / "home"), "project": "rides", "owner": "alice", **config})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text("print('trained')")
    return tmp_path / "code"


@pytest.fixture
def keep(tmp_path: Path, source: Path) -> Keep:
    """Plan a job for alice's local backend, and keep the plan beside its code."""

    def keep(client: lyftlearn.Client | None = None, /, *, expires: str = "1h", owners: Any = (), **call: Any) -> Path:
        client = client or client_of(tmp_path)
        given = {"model": "eta", "command": f"{sys.executable} train.py", "source": source, **call}
        planned = ops.plan("train", client=client, **given)
        ops.write_plan(source / "plan.json", ops.plan_document(planned, client=client, expires=expires, owners=owners))
        return source / "plan.json"

    return keep


def edit(path: Path, **changes: Any) -> Path:
    """Change a plan as somebody who knows how it is sealed."""
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**document, "seal": plan_files._seal(document)}, indent=2))
    return path


def test_what_was_planned_is_sent_once(keep: Keep, tmp_path: Path) -> None:
    """The same id, the same arguments; and whoever applies it again is given the job that there is."""
    path = keep(hyperparameters={"depth": 8}, resources=Resources(memory="512Mi"), env={"TOKEN": "x"}, timeout="10m")
    document = json.loads(path.read_text())
    job = ops.apply_plan(path, client=client_of(tmp_path))
    assert job.id == document["id"]
    assert job.wait().status == "succeeded"
    assert next(job.logs()) == "trained"
    assert ops.apply_plan(path, client=client_of(tmp_path)) == job
    assert len(list(client_of(tmp_path).jobs())) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "the variables of the job are in it"
    assert {entry.name for entry in path.parent.iterdir()} == {"train.py", "plan.json"}


@pytest.mark.parametrize(("backend", "key"), list(zip(PLATFORMS, [None, "tonight"] * 2, strict=True)))
def test_a_plan_is_the_same_wherever_it_is_made_again(
    backend: str, key: str | None, keep: Keep, tmp_path: Path
) -> None:
    """What changes from one process to the next by itself would make every plan stale."""
    if backend == "local-sagemaker":
        require_containers()
    config = {**PLATFORMS[backend], "backend": backend}
    call = {"image": IMAGE, "inputs": {"rides": "s3://bucket/rides/"}, "secrets": ["db"], "labels": {"team": "eta"}}
    path = keep(client_of(tmp_path, **config), key=key, retries=1, nodes=1, **call)
    program = (
        "import json, sys, lyftlearn; from lyftlearn.ops import plan_files\n"
        "client = lyftlearn.Client(config=json.loads(sys.argv[1]))\n"
        "document = plan_files._read(__import__('pathlib').Path(sys.argv[2]))\n"
        "print(list(plan_files._differences(document, plan_files._plan_again(document, client._session))))"
    )
    given = json.dumps({"home": str(tmp_path / "home"), "project": "rides", "owner": "alice", **config})
    command = [sys.executable, "-c", program, given, str(path)]
    ran = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=600)
    assert ran.stdout == "[]\n", ran.stderr


def test_code_that_changed_is_not_sent(keep: Keep, source: Path, tmp_path: Path) -> None:
    """The point of a review; and a plan beside the code is no change of it."""
    path = keep()
    (source / "copy.json").write_bytes(path.read_bytes())
    (source / "train.py").write_text("print('something else')")
    with pytest.raises(InvalidJob, match=r"the code, or a local input, has changed since, requests\[0\]"):
        ops.apply_plan(path, client=client_of(tmp_path))
    (source / "train.py").write_text("print('trained')")
    ops.apply_plan(path, client=client_of(tmp_path))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"jobs": {"grace": "5m"}}, "is not what would be sent now: requests["),
        ({"project": "other"}, "is for project 'rides', and here is 'other'"),
        ({"owner": "bob"}, "is for alice, carol, and the owner here is bob"),
        ({"backend": "local-sagemaker"}, "is for local, and the job would go to local-sagemaker now"),
    ],
)
def test_a_configuration_that_changed_sends_nothing(
    config: dict[str, Any], said: str, keep: Keep, tmp_path: Path
) -> None:
    """Whoever applies it, wherever: what was read is sent, or nothing."""
    path, client = keep(owners=["alice", "carol"]), client_of(tmp_path, **config)
    with pytest.raises(InvalidJob) as refused:
        ops.apply_plan(path, client=client)
    assert said in str(refused.value)
    assert list(client_of(tmp_path).jobs()) == []


@pytest.mark.containers
def test_a_backend_that_was_named_stays(keep: Keep, tmp_path: Path, source: Path) -> None:
    """A plan for a backend that somebody named is not asked where its job would go by itself."""
    client = client_of(tmp_path)
    planned = ops.plan("process", client=client, backend="local-sagemaker", name="clean", command="true")
    ops.write_plan(source / "p.json", ops.plan_document(planned, client=client))
    assert ops.apply_plan(source / "p.json", client=client).id == planned.spec.id


def test_a_key_is_claimed(keep: Keep, tmp_path: Path) -> None:
    """A plan with a key is that key's call: before it, the job is found; after it, too."""
    path, client = keep(key="tonight"), client_of(tmp_path)
    job = ops.apply_plan(path, client=client)
    arguments = json.loads(path.read_text())["arguments"]
    again = client.train(**{**arguments, "resources": Resources()})
    assert again == job


def test_it_expires(keep: Keep, tmp_path: Path) -> None:
    """A review of last month says nothing about today."""
    with pytest.raises(InvalidJob, match=r"expired at .*; it was made by \S+@\S+"):
        ops.apply_plan(keep(expires="0s"), client=client_of(tmp_path))


def test_a_version_that_changed_is_named(keep: Keep, tmp_path: Path) -> None:
    """Of a plan that an upgrade made stale, the reason is the upgrade."""
    path = edit(keep(), lyftlearn="0.9", requests=[])
    with pytest.raises(InvalidJob, match=r"made by lyftlearn 0\.9, and this is"):
        ops.apply_plan(path, client=client_of(tmp_path))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace("train.py", "evil.py"), "was edited since it was made"),
        (lambda text: text[:-40], "is none: name a file of"),
        (lambda _: "", "is none"),
        (lambda _: "[]", "is none"),
        (lambda _: '{"lyftlearn-plan": 1}', "is none"),
        (lambda _: "[" * 100_000, "is none"),
        (lambda _: "\udcff", "is none"),
    ],
)
def test_what_is_no_plan_says_so(damage: Callable[[str], str], said: str, keep: Keep, tmp_path: Path) -> None:
    """Files are cut, edited and mixed up."""
    path = keep()
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(InvalidJob, match=said):
        ops.apply_plan(path, client=client_of(tmp_path))
    with pytest.raises(InvalidJob, match="has format 2, which this version does not know"):
        ops.apply_plan(edit(keep(), **{"lyftlearn-plan": 2}), client=client_of(tmp_path))
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InvalidJob, match="cannot be read"):
            ops.apply_plan(place, client=client_of(tmp_path))


def test_what_cannot_be_kept_says_so(tmp_path: Path) -> None:
    """A plan with faults would be refused by every backend; a wrong duration is one fault among them."""
    client = client_of(tmp_path)
    planned = ops.plan("train", client=client, model="eta", command="true", secrets=["no-such"], nodes=2, retries=1)
    assert planned.plan.faults
    with pytest.raises(InvalidJob) as refused:
        ops.plan_document(planned, client=client, expires="soon")
    assert {"expires"} < {path for path, _ in refused.value.faults}
    with pytest.raises(InvalidJob, match=r"write a name that ends in \.json"):
        ops.write_plan(tmp_path / "plan.yaml", {})
