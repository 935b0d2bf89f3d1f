"""Secrets of configuration and environment stand in nothing that leaves: a canary in each setting that holds one."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import ops
from lyftlearn._text import redaction
from lyftlearn.errors import AccessDenied, BackendUnavailable, Conflict, InvalidJob, LyftLearnError
from tests.doubles.old_and_new import Make, make, plugins

__all__ = ["make", "plugins"]

CANARY = "c4n4ry-t0-be-hidden"


@pytest.mark.parametrize(
    "text",
    [
        f"cannot connect to https://user:{CANARY}@host:8080/x: refused",
        f"cannot connect to socks5h://{CANARY}@proxy: refused",
        f"ftp+x://a:{CANARY}@b@host/",
        f"Max retries exceeded with url: /ofrep?token={CANARY}&x=1",
        f"https://bucket.s3.amazonaws.com/key?X-Amz-Signature={CANARY}&X-Amz-Security-Token={CANARY}",
        f"'http://h/?api_key={CANARY}'",
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str) -> None:
    """An error of a library repeats the URL that it was given, whoever gave it."""
    errors: list[LyftLearnError] = [
        LyftLearnError(text),
        AccessDenied(text),
        BackendUnavailable(text, "eta-x"),
        Conflict(text, "eta-x"),
        InvalidJob([("[migration] flags", text), ("flags", text)]),
    ]
    for error in errors:
        for shown in (str(error), repr(error), str(error.args), json.dumps(getattr(error, "faults", []))):
            assert CANARY not in shown
        assert CANARY not in str(pickle.loads(pickle.dumps(error)))


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("printed", "secret"),
    [
        (f'{{"SecretAccessKey": "{CANARY}", "Version": 1}}', CANARY),
        (f"{{'session_token': '{CANARY}", CANARY),
        (f"DEBUG PASSWORD={CANARY} user=ci", CANARY),
        (f"+ login --client-secret {CANARY} --region eu", CANARY),
        (f"+ login --token={CANARY}", CANARY),
        (f"> Authorization: Bearer {CANARY}", CANARY),
        (f"refresh_token: {CANARY}", CANARY),
        (f"server said no to {JWT}", JWT),
        (
            "k8s-aws-v1.aHR0cHM6Ly9zdHMuZXUtd2VzdC0xLmFtYXpvbmF3cy5jb20v",
            "aHR0cHM6Ly9zdHMuZXUtd2VzdC0xLmFtYXpvbmF3cy5jb20v",
        ),
        (f"https://sts.example.com/?X-Amz-Signature={CANARY}", CANARY),
    ],
)
def test_what_a_program_for_credentials_prints_is_hidden(printed: str, secret: str) -> None:
    """It may print what it is to keep, when it is asked to be verbose or breaks; nobody else knows its secrets."""
    shown = redaction.redact_output(f"{printed}\nplease log in")
    assert secret not in shown
    assert shown.endswith("please log in")


def test_what_a_program_for_credentials_says_is_bounded_and_still_tells() -> None:
    """Its last words are the only help there is, and a megabyte of them is none."""
    for words in (
        "Unable to locate credentials: run `aws sso login --profile prod` first",
        "the token has expired: open https://login.example.com/device and enter the code ABCD-EFGH",
        "/home/ci/.local/share/google-cloud-sdk/bin/gke-gcloud-auth-plugin: not found",
    ):
        assert redaction.redact_output(words) == words
    assert len(redaction.redact_output("x " * 1_000_000)) <= 300


def test_plain_text_stays() -> None:
    """What is no secret is not touched: a message that hides too much helps nobody."""
    for text in ("s3://bucket/a@b/c", "git@github.com:o/r", "use key=value", "mail x@y.z", "see https://host/path#x"):
        assert redaction.redact(text) == text


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_secrets_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A header that cannot be sent is printed by the library that could not send it."""
    monkeypatch.setenv(name, CANARY)
    assert CANARY not in str(LyftLearnError(f"Invalid header value b'{CANARY}'"))


@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", "socks5://", "socks5h://", ""])
def test_passwords_of_proxies_are_hidden(monkeypatch: pytest.MonkeyPatch, name: str, scheme: str) -> None:
    """Whatever its scheme, and wherever in a text it stands."""
    monkeypatch.setenv(name, f"{scheme}user:{CANARY}@proxy:3128")
    assert CANARY not in str(BackendUnavailable(f"cannot connect: {scheme}user:{CANARY}@proxy:3128, {CANARY}"))


def test_causes_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback in a user's log prints what an error came from, too."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    inner = OSError(f"inner {CANARY}")
    outer = ValueError(f"outer {CANARY}", inner)
    outer.__cause__ = inner
    text = "".join(traceback.format_exception(redaction.redact_causes(outer)))
    assert CANARY not in text
    assert "outer" in text


class Own(Exception):
    """One of a library, whose text is not made of its arguments."""

    def __init__(self, detail: str) -> None:
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot use {self.detail}"


def _with_note() -> Exception:
    error = ValueError("no")
    error.add_note(f"asked with {CANARY}")
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, f"no {CANARY}"),
        OSError(2, "no", f"/run/{CANARY}"),
        ImportError(f"no {CANARY}"),
        Own(CANARY),
        ValueError(("nested", [CANARY], {"key": CANARY})),
        ValueError(CANARY.encode()),
        subprocess.CalledProcessError(1, ["login", CANARY]),
        subprocess.TimeoutExpired(["login", CANARY], 3),
        SyntaxError("no", ("f", 1, 1, f"token = {CANARY}")),
        UnicodeDecodeError("utf-8", b"x", 0, 1, CANARY),
        ExceptionGroup(f"some {CANARY}", [ValueError(CANARY), Own(CANARY)]),
        _with_note(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("as_", ["error", "cause", "context", "argument"])
def test_every_form_of_an_error_is_redacted(monkeypatch: pytest.MonkeyPatch, error: Exception, as_: str) -> None:
    """Not every error says what its arguments are: of those, another stands in the traceback, under the same name."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    outer = error if as_ == "error" else ValueError("outer", *([error] if as_ == "argument" else []))
    if as_ in ("cause", "context"):
        setattr(outer, f"__{as_}__", error)
        error.__context__ = outer  # in a circle
    shown = redaction.redact_causes(outer)
    text = "".join(traceback.format_exception(shown)) + repr(shown)
    assert CANARY not in text
    assert type(error).__name__ in text
    error.__context__ = None


def test_a_plugin_that_breaks_over_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error quotes what it was given; neither a traceback nor the rehearsal of a job may."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    client = lyftlearn.Client(config={"home": str(tmp_path), "backend": "local"})

    class EntryPoint:
        name, owner, value, extras = "local", "plugin", "plugin:make", ()

        def load(self) -> Any:
            raise OSError(2, f"cannot log in with {CANARY}", CANARY)

    monkeypatch.setattr(client._registry, "_only", lambda _: EntryPoint())
    with pytest.raises(LyftLearnError, match="cannot be loaded") as caught:
        client.train("eta", command="true")
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_a_rehearsal_that_breaks_is_told_without_secrets(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a backend says when it breaks over a job goes into the history and its reports."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    client = make("rehearse")

    def breaks(_: Any) -> Any:
        raise KeyError(f"no table {CANARY}")

    monkeypatch.setattr(client._registry.get("new"), "plan", breaks)
    client.train("eta", command="true")
    assert client._session.recorder.drain(120)
    report = ops.migration_report(client=client)
    assert "cannot plan it" in str(report)
    assert CANARY not in str(report)


def test_logs_are_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What lyftlearn logs is no exception."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    _ = lyftlearn.Client(config={"home": str(tmp_path)})._session
    log = logging.getLogger("lyftlearn")
    log.warning("cannot be reached: %s", CANARY)
    log.error("the watch broke", exc_info=RuntimeError(CANARY))
    log.error("the watch broke", exc_info=OSError(2, CANARY))
    assert CANARY not in caplog.text
    assert "the watch broke" in caplog.text


@pytest.mark.parametrize("endpoint", [f"http://user:{CANARY}@127.0.0.1:9", f"http://127.0.0.1:9/?token={CANARY}"])
def test_an_endpoint_keeps_its_secrets(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """The store's own error, and where it came from, name the endpoint without what opens it."""
    from lyftlearn._storage import open_storage

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key-secret")
    with pytest.raises(LyftLearnError) as caught:
        open_storage("s3://bucket/prefix").read("claims/x")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


JOURNALS = [
    f"postgresql://user:{CANARY}@127.0.0.1:9/db",
    f"postgresql+nothing://user:{CANARY}@127.0.0.1/db",
    f"nothing://user:{CANARY}@host/db",
    f"postgresql://user:{CANARY}@host:port/db",
    f"mysql://host/db?password={CANARY}",
    f"{CANARY}",
    "sqlite:////nowhere/at/all/journal.sqlite",
]


@pytest.mark.parametrize("url", JOURNALS)
def test_a_journal_that_cannot_be_used_is_a_word(tmp_path: Path, url: str) -> None:
    """A driver that is missing, a port that is no number, a server that is away: named, without the password."""
    migration = {"to": "local-sagemaker", "journal": url}
    with pytest.raises((InvalidJob, BackendUnavailable)) as caught:
        ops.migration_report(client=lyftlearn.Client(config={"home": str(tmp_path), "migration": migration}))
    if url != CANARY:
        assert CANARY not in "".join(traceback.format_exception(caught.value))
    for setting in ops.configuration({"home": str(tmp_path), "migration": migration}):
        assert url == CANARY or CANARY not in str(setting.value)


SCRIPT = """
import json, sys
import lyftlearn, lyftlearn.history.background
from lyftlearn import ops
lyftlearn.history.background._SECONDS_TO_FINISH = 120.0  # as long as a busy machine needs
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
job = client.train("eta", command="true")
assert client._session.recorder.drain(120)
print(client._session.builder.registry.get("local").describe(job.id))
print(ops.plan("train", model="eta", command="true", client=client))
print(ops.explain("train", "eta", client=client).as_dict())
print(ops.migration_report(client=client), ops.migration_status(client=client))
job.wait(progress=False)
"""


def test_nothing_of_a_job_shows_the_flag_service(tmp_path: Path) -> None:
    """Decision, plan, explanation, journal, report and logs of a real job, with canaries in flag service and proxy."""
    migration: dict[str, Any] = {"to": "local-sagemaker", "stage": "rehearse", "budget": "2s"}
    migration["flags"] = f"http://user:{CANARY}@127.0.0.1:9/base?token={CANARY}"
    config = {"home": str(tmp_path / "home"), "migration": migration}
    environment = os.environ | {"ALL_PROXY": f"socks5://u:{CANARY}@127.0.0.1:9", "AWS_SESSION_TOKEN": CANARY}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(config)],
        env=environment, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    for path in (tmp_path / "home").rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("text", "job_id"),
    [
        ("the log of eta-tkabcdefghij2 lacks lines", "eta-tkabcdefghij2"),
        ("pod my-eta-tkabcdefghij2-0-x7k2p is gone", "my-eta-tkabcdefghij2"),
        ("the flag service is away", ""),
    ],
)
def test_a_logged_line_has_the_id_of_its_job(text: str, job_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever collects logs finds all lines about a job."""
    import lyftlearn._session

    assert lyftlearn._session
    logging.getLogger("lyftlearn").warning("%s", text)
    (record,) = caplog.records
    assert record.job_id == job_id  # type: ignore[attr-defined]
