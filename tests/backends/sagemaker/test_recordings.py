"""What real accounts answered, held against the test service; and that a recording keeps no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lyftlearn._contract.recording import mask
from lyftlearn.backend import JobQuery
from lyftlearn.errors import JobNotFound
from tests.doubles.replay import RECORDINGS, differences, exchanges
from tests.doubles.sagemaker import Service

from .conftest import Make
from .specs import spec

CANARY = "canary-4a1f0c-of-a-user"
REAL = sorted(RECORDINGS.glob("sagemaker-*.jsonl"))


def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send a recorded request to the test service, or to moto."""
    client: Any = boto3.client(request["service"])
    try:
        answer = getattr(client, request["operation"])(**request["request"])
    except ClientError as error:
        return {"error": error.response["Error"]}
    plain: Mapping[str, Any] = json.loads(json.dumps({"answer": answer}, default=str))
    return plain


@pytest.fixture
def recording(service: Service, make: Make, storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a job's life becomes as a recording."""
    monkeypatch.setenv("LYFTLEARN_RECORD", str(tmp_path / "recorded"))
    backend = make()
    made = spec(storage_url, env={"API_PASSWORD": CANARY}, labels={"team": "eta"})
    for _ in range(2):
        backend.submit(backend.plan(made))
    backend.describe(made.id)
    list(backend.list(JobQuery(name="eta")))
    backend.stop(made.id)
    with pytest.raises(JobNotFound):
        backend.describe("eta-tsaaaaaaaaaaa")
    monkeypatch.delenv("LYFTLEARN_RECORD")
    (path,) = (tmp_path / "recorded").iterdir()
    return path


def test_a_recording_holds_what_was_asked_and_no_secret(recording: Path) -> None:
    """Whoever has an account must be able to give the file away."""
    asked = {request["operation"] for request, _ in exchanges(recording)}
    assert {"create_training_job", "describe_training_job", "stop_training_job"} <= asked
    text = recording.read_text()
    assert CANARY not in text
    assert "123456789012" not in text, "the account's number says whose it is"
    assert "arn:aws:iam::000000000000:role/lyftlearn-jobs" in text


def test_the_service_is_held_to_a_recording(recording: Path, service: Service) -> None:
    """A double that answers what was recorded passes; one that does not is named by exchange and field."""
    service.reset()
    assert "\n".join(differences(recording, ask)) == ""
    head, *lines = recording.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "create_training_job" in line)
    exchange = json.loads(lines[at])
    exchange["answer"] = {"error": {"Code": "ResourceLimitExceeded", "Message": "no more"}}
    recording.write_text("\n".join([head, *lines[:at], json.dumps(exchange)]))
    service.reset()
    (missing, extra) = sorted(text.partition(": ")[2] for text in differences(recording, ask))
    assert (missing, extra) == (".answer is there, and was not", ".error is missing")


@pytest.mark.skipif(not REAL, reason="nobody has recorded a real account yet")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_what_a_real_account_answered(path: Path, service: Service) -> None:
    """The double answers like the accounts that were recorded."""
    assert "\n".join(differences(path, ask)) == ""


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("events", [{"timestamp": 1, "message": "a user's line"}], [{"timestamp": 1, "message": "[hidden]"}]),
        ("AuthorizedUrl", "https://x/?X-Amz-Signature=abc", "[hidden]"),
        ("Environment", {"LYFTLEARN_JOB_ID": "x", "DB": "secret"}, {"LYFTLEARN_JOB_ID": "x", "DB": "[hidden]"}),
        ("RoleArn", "arn:aws:iam::123456789012:role/x", "arn:aws:iam::000000000000:role/x"),
        (
            "TrainingImage",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x",
            "000000000000.dkr.ecr.eu-west-1.amazonaws.com/x",
        ),
        ("command", "run --password hunter2hunter", "run --password [hidden]"),
        ("Value", '{"env": {"A": "b"}, "message": "last words"}', '{"env": {"A": "[hidden]"}, "message": "[hidden]"}'),
        ("secrets", ["db"], ["db"]),
        ("created", "2026-11-26T21:00:00+00:00", "2026-11-26T21:00:00+00:00"),
    ],
)
def test_what_is_masked(name: str, given: Any, kept: Any) -> None:
    """What users wrote goes, and what the platform wrote stays."""
    assert mask({name: given}) == {name: kept}
