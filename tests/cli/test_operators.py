"""`plan`, `explain`, `backends` and `doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from lyftlearn import Client, ops
from lyftlearn.backend import Verdict

from .conftest import CommandLine


def test_plan_shows_the_requests_and_sends_nothing(lyftlearn: CommandLine) -> None:
    """Whoever reviews a job wants to see exactly what would be sent."""
    ran = lyftlearn("plan", "train", "eta", "-p", "depth:=8", "--json", "--", "python", "train.py")
    assert ran.code == 0, ran.err
    assert ran.json["backend"] == "local"
    assert ran.json["faults"] == []
    assert ran.json["requests"]
    assert lyftlearn("jobs", "--json").json == []


def test_plan_for_a_person_names_backend_reason_and_requests(lyftlearn: CommandLine) -> None:
    """The same answer without JSON must hold the same facts."""
    ran = lyftlearn("plan", "train", "eta", "--", "true")
    assert ran.code == 0, ran.err
    for word in ("backend", "local", "because", "request 1"):
        assert word in ran.out


def test_a_plan_for_a_person_is_yaml(lyftlearn: CommandLine) -> None:
    """It is piped into the platform's own tools, so whatever is no request is a comment."""
    args = ("plan", "train", "eta", "-p", "depth:=8")
    documents = list(yaml.safe_load_all(lyftlearn(*args, "--", "true").out))
    requests = lyftlearn(*args, "--json", "--", "true").json["requests"]
    assert len(documents) == len(requests)
    assert documents[0]["hyperparameters"] == requests[0]["body"]["hyperparameters"] == {"depth": 8}


def test_a_plan_with_faults_ends_with_2(lyftlearn: CommandLine) -> None:
    """A pipeline can check its jobs before it needs them."""
    ran = lyftlearn("plan", "train", "eta", "--retries", "-1", "--", "true")
    assert ran.code == 2
    assert "retries" in ran.out + ran.err


def test_a_plan_with_faults_gives_other_tools_nothing(lyftlearn: CommandLine) -> None:
    """What would not be sent must not be created by a pipe either; `--backend` plans where the flag does not lead."""
    ran = lyftlearn("plan", "train", "eta", "--backend", "kubernetes", "--", "true")
    assert ran.code == 2
    assert "# fault in image: " in ran.out
    assert "# kind: Job" in ran.out
    assert all(line.startswith("#") for line in ran.out.splitlines())


def test_a_plan_for_a_backend_that_is_not_there(lyftlearn: CommandLine) -> None:
    """A typing error is told with the names that exist."""
    ran = lyftlearn("plan", "train", "eta", "--backend", "kubernets", "--", "true")
    assert ran.code != 0
    assert "Did you mean 'kubernetes'?" in ran.err


def test_a_plan_names_secrets_only(lyftlearn: CommandLine) -> None:
    """What a plan prints is pasted into reviews: a secret has a name there and no value."""
    ran = lyftlearn("plan", "train", "eta", "--secret", "db", "--json", "--", "true", DB_PASSWORD="hunter2")
    assert "hunter2" not in ran.out + ran.err


def test_explain_names_who_decided_and_who_was_asked(lyftlearn: CommandLine) -> None:
    """The first question after a flag moved is who moved it."""
    ran = lyftlearn("explain", "train", "eta", "--json", LYFTLEARN_BACKEND="local")
    assert ran.code == 0, ran.err
    assert (ran.json["backend"], ran.json["source"]) == ("local", "LYFTLEARN_BACKEND")
    assert "LYFTLEARN_BACKEND" in lyftlearn("explain", "process", "clean").out
    assert lyftlearn("explain", "predict", "eta", "--label", "team=eta").code == 0


def test_backends_say_what_they_lack_and_why(lyftlearn: CommandLine) -> None:
    """A capability that is missing without a reason is a question to somebody."""
    ran = lyftlearn("backends", "--json")
    assert ran.code == 0, ran.err
    [local] = [backend for backend in ran.json if backend["name"] == "local"]
    assert {"train", "process", "predict"} <= set(local["offers"])
    assert all(local["lacks"].values())
    assert "local: train" in lyftlearn("backends").out


def test_doctor_finds_a_healthy_place_healthy(lyftlearn: CommandLine) -> None:
    """The first command on a new machine: everything named, nothing wrong."""
    ran = lyftlearn("doctor", "--json")
    assert ran.code == 0, ran.out
    checks = {check["name"]: check["verdict"] for check in ran.json}
    assert checks["python"] == checks["configuration"] == checks["storage"] == checks["backend local"] == "ok"


def test_doctor_reports_a_broken_configuration(lyftlearn: CommandLine) -> None:
    """Doctor must not die of the illness."""
    (lyftlearn.directory / "lyftlearn.toml").write_text("backend = \n")
    ran = lyftlearn("doctor")
    assert ran.code == 10
    assert "XX  configuration: " in ran.out
    assert "lyftlearn.toml" in ran.out


def test_doctor_reports_a_storage_that_cannot_be_written(tmp_path: Path) -> None:
    """Without storage no source is uploaded and no key holds: this is where it shows first."""
    (tmp_path / "file").write_text("in the way")
    config = {"home": str(tmp_path / "home"), "storage": {"url": f"{tmp_path / 'file'}/store"}}
    checks = {check.name: check for check in ops.doctor(config)}
    assert checks["storage"].verdict is Verdict.FAILED
    assert "file" in checks["storage"].detail


def test_doctor_leaves_one_record_however_often_it_runs(tmp_path: Path) -> None:
    """A check that runs every minute must not fill the store."""
    config = {"home": str(tmp_path / "home"), "storage": {"url": str(tmp_path / "store")}}
    for _ in range(3):
        assert {check.name: check.verdict for check in ops.doctor(config)}["storage"] is Verdict.OK
    assert [path.name for path in (tmp_path / "store" / "doctor").iterdir()] == ["probe"]


def test_operators_ask_from_python_too(tmp_path: Path) -> None:
    """A check before a rollout is a few lines of Python, with the names of the API."""
    client = Client(config={"home": str(tmp_path), "backend": "local"})
    submission = ops.plan("train", client=client, model="eta", command=["true"])
    assert submission.plan.requests
    assert submission.spec.command == ("true",)
    assert ops.explain("train", "eta", client=client).backend == "local"
    assert "local" in [installed.name for installed in ops.backends(client)]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_plan_prints_no_password_of_a_url(lyftlearn: CommandLine, form: tuple[str, ...]) -> None:
    """Wherever it stands: in a variable, in the command, in the document that a Kubernetes Job carries as one text."""
    url = "https://ada:hunter2-hunter2@packages.example/simple"
    (lyftlearn.directory / "lyftlearn.toml").write_text('[storage]\nurl = "s3://bucket/ml"\n')
    words = ("plan", "train", "eta", "--image", "a/b:1", "--env", f"PIP_INDEX_URL={url}", "--env", "DB=db://$(USER)@db")
    for backend in ("local", "kubernetes"):
        ran = lyftlearn(*words, "--backend", backend, *form, "--", "pip", "install", f"--index-url={url}", "x")
        assert "packages.example/simple" in ran.out
        assert "hunter2" not in ran.out + ran.err
        assert "https://[hidden]@packages.example" in ran.out
        assert "db://$(USER)@db" in ran.out
