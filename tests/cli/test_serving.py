"""`lyftlearn serve` and `lyftlearn plan serve`, as they are typed."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import PATIENCE, CommandLine

SERVER = Path(__file__).parents[1] / "runtime/programs/serve.py"
TRAINING = (
    'mkdir $LYFTLEARN_MODEL_DIR/selftest; printf 3 > $LYFTLEARN_MODEL_DIR/factor; cd "$LYFTLEARN_MODEL_DIR/selftest"'
)
TESTS = f"{TRAINING}; printf 2 > a.request.csv; printf 6 > a.expected.csv"


@pytest.fixture
def trained(lyftlearn: CommandLine) -> str:
    """The id of a train job that brought the server's code."""
    source = lyftlearn.directory / "source"
    source.mkdir()
    shutil.copy(SERVER, source / "serve.py")
    ran = lyftlearn("train", "fares", "--source", source, "--env", "WHO=me", "--wait", "--command", TESTS)
    assert ran.code == 0, ran.err
    return ran.id


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def ask(port: int) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", b'{"numbers": [2]}', headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def wait_until_ready(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    lines, deadline = [""], time.monotonic() + PATIENCE
    while "lyftlearn: serving" not in lines[-1]:
        assert time.monotonic() < deadline
        lines.append(process.stdout.readline().decode().rstrip())
        assert lines[-1] or process.poll() is None
    return lines[1:]


def test_a_model_is_served_until_ctrl_c(lyftlearn: CommandLine, trained: str) -> None:
    """By the model's name, with the configured command and the train job's code and variables; nothing is left."""
    (lyftlearn.directory / "lyftlearn.toml").write_text('[serve]\ncommand = ["python3", "serve.py"]\n')
    port = free_port()
    process = lyftlearn.start("serve", "fares", "--local", "--port", str(port))
    try:
        lines = wait_until_ready(process)
        assert lines == [
            "loaded 3, ['factor', 'selftest']",
            f"lyftlearn: serving on port {port}: 1 self-test passed",
        ]
        assert ask(port) == {"answers": [6.0], "who": "me"}
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"Ctrl-C stops it" in err
    served = lyftlearn("jobs", "--kind", "predict", "--json").json
    assert [(job["status"], job["labels"]) for job in served] == [("stopped", {"lyftlearn/trained-by": trained})]
    with pytest.raises(OSError, match="refused"):
        ask(port)


def test_a_model_that_fails_its_tests_ends_the_command(lyftlearn: CommandLine, trained: str) -> None:
    """With the reason, and the exit code of a failed job."""
    broken = "import http.server as h, os; answer = lambda self: (self.send_response(200), self.end_headers()); "
    broken += "handler = type('H', (h.BaseHTTPRequestHandler,), {'do_GET': answer}); "
    broken += "h.HTTPServer(('', int(os.environ['PORT'])), handler).serve_forever()"
    ran = lyftlearn("serve", trained, "--local", "--port", str(free_port()), "--", "python3", "-c", broken)
    assert ran.code == 1
    assert "a: answered 501, expected 200" in ran.out
    assert "the self-test failed, so this model is not served" in ran.err


def test_a_plan_names_the_digest_and_sends_nothing(lyftlearn: CommandLine, trained: str) -> None:
    """Twice the same, so that who keeps it in version control sees what changed."""
    words = ("plan", "serve", trained, "--json", "--", "python3", "serve.py")
    first, second = lyftlearn(*words), lyftlearn(*words)
    assert first.code == 0, first.err
    assert first.out == second.out
    (bundle, *_) = (request["body"] for request in first.json["requests"])
    assert len(bundle["artifact_sha256"]) == 64
    assert bundle["timeout"] is None
    assert lyftlearn("jobs", "--kind", "predict", "--json").json == []


def test_what_cannot_be_served_is_said(lyftlearn: CommandLine, trained: str) -> None:
    """In one line, with what to type."""
    del trained
    for words, code, said in (
        ("serve fares", 2, "--local: is missing, and only this machine is served from here"),
        ("serve fares --local", 2, "command: write what serves the model after `--`, or set [serve] command"),
        ("serve rides --local", 4, "no train job of the model 'rides' is known that succeeded"),
        ("plan serve fares --layout kserve -- x", 2, "backend local has no servers of models"),
        ("plan serve fares --backend kubernetess -- x", 10, "no backend 'kubernetess' is installed"),
        ("plan serve fares --port 99999 -- x", 2, "port: is 99999: write a number from 1 to 65535"),
    ):
        ran = lyftlearn(*words.split())
        assert said in ran.err
        assert ran.code == code
        assert "Traceback" not in ran.err


def test_only_a_model_is_served(lyftlearn: CommandLine) -> None:
    """Neither another kind of job, nor one that failed, nor a model that somebody removed."""
    processed = lyftlearn("process", "clean", "--wait", "--command", "true").id
    failed = lyftlearn("train", "fares", "--wait", "--command", "false").id
    trained = lyftlearn("train", "fares", "--wait", "--command", "touch $LYFTLEARN_MODEL_DIR/m").id
    (archive,) = (lyftlearn.directory.parent / "home/storage/jobs" / trained).rglob("model.tar.gz")
    archive.unlink()
    for job, said in (
        (processed, f"{processed} is a process job: name a train job"),
        (failed, f"{failed} has status failed: only a job that succeeded has a model"),
        (trained, "there is no model at"),
    ):
        assert said in lyftlearn("plan", "serve", job, "--", "x").err
