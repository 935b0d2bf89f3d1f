"""`lyftlearn parity run --serve`, as it is typed: one model under both platforms' layouts, and two models."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers import require_containers

from .conftest import PATIENCE, CommandLine

SERVER = Path(__file__).parents[1] / "runtime/programs/serve.py"
SERVE = ("--", "python3", "serve.py")
BOTH = {"local-kubernetes", "local-sagemaker"}
EXPECTED = '{"who": null, "answers": [6.0000000001]}'
# Answers a text that only one layout has, where a request asks for it: what a server must not depend on.
FORKED = """
import os, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.say(200, b'')
    def do_POST(self):
        asked = self.rfile.read(int(self.headers['Content-Length'])).decode()
        if asked == 'hang up': return
        if asked == 'endless': return self.pour()
        answer = {'layout': str(sorted(name for name in os.environ if name.startswith('KUBERNETES_'))), 'html': '<p>'}
        self.say(500 if asked == 'fail' else 200, answer.get(asked, '6').encode())
    def pour(self):
        self.send_response(200); self.end_headers()
        while True: self.wfile.write(b'x' * 65536)
    def say(self, status, body):
        self.send_response(status); self.send_header('Content-Length', str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def log_message(self, *words): pass
http.server.HTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
"""

Train = Callable[..., str]


@pytest.fixture
def train(lyftlearn: CommandLine) -> Train:
    """Trains a model of one number with self-tests, and returns the job's id."""
    require_containers()
    source = lyftlearn.directory / "source"
    source.mkdir()
    shutil.copy(SERVER, source / "serve.py")
    (source / "forked.py").write_text(FORKED)

    def run(*, model: str = "fares", factor: int = 3, backend: str = "local", **files: str) -> str:
        commands = [f"mkdir selftest; printf {factor} > factor"]
        commands += [f"printf '%s' '{text}' > selftest/{name.replace('__', '.')}" for name, text in files.items()]
        command = f"cd $LYFTLEARN_MODEL_DIR; {'; '.join(commands)}"
        words = ("train", model, "--source", source, "--wait", "--command", command)
        ran = lyftlearn(*words, LYFTLEARN_BACKEND=backend)
        assert ran.code == 0, ran.err
        return ran.id

    return run


def servers(lyftlearn: CommandLine) -> dict[str, str]:
    """The status of each server that was started under either layout, by its id."""
    of_both = [lyftlearn("jobs", "--kind", "predict", "--json", LYFTLEARN_BACKEND=name).json for name in BOTH]
    return {job["id"]: job["status"] for jobs in of_both for job in jobs}


def test_one_model_answers_alike_under_both_layouts(lyftlearn: CommandLine, train: Train) -> None:
    """By its own tests, numbers within a millionth; nothing runs on afterwards."""
    job = train(
        a__request__json='{"numbers": [2]}', a__expected__json=EXPECTED, b__request__csv="2", b__expected__csv="6"
    )
    ran = lyftlearn("parity", "run", "--serve", "fares", "--json", *SERVE)
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["holds"] is True
    assert ran.json["reference"] == "local-kubernetes"
    assert [(server["name"], server["model"], server["problem"]) for server in ran.json["servers"]] == [
        ("local-kubernetes", job, None),
        ("local-sagemaker", job, None),
    ]
    assert [row["name"] for row in ran.json["tests"]] == ["a", "b"]
    assert {answer["verdict"] for row in ran.json["tests"] for answer in row["answers"].values()} == {"equal"}
    assert servers(lyftlearn) == {server["job"]: "stopped" for server in ran.json["servers"]}
    (lyftlearn.directory / "kept.json").write_text(ran.out)
    shown = lyftlearn("parity", "show", "kept.json")
    assert shown.code == 2
    assert "kept.json: compares servers of models, by `parity run --serve`: only comparisons of jobs" in shown.err


@pytest.mark.slow
def test_every_way_to_answer_has_its_verdict(lyftlearn: CommandLine, train: Train) -> None:
    """Differs, same but wrong, no JSON, no answer, an answer without an end: said per test and server."""
    requests = ("layout", "html", "fail", "endless", "fine")
    files = {f"{name}__request__txt": name for name in requests} | {f"{name}__expected__json": "6" for name in requests}
    files |= {"up__request__txt": "hang up", "up__expected__json": "6"}
    train(**files)
    ran = lyftlearn("parity", "run", "--serve", "fares", "--", "python3", "forked.py")
    assert ran.code == 13, ran.err
    lines = ran.out.splitlines()
    words = {line.split()[0]: line.split("  ")[2:] for line in lines[1:7]}
    assert lines[0].split() == ["self-test", "of", "local-kubernetes", "local-sagemaker"]
    wrong = "same, not as expected"
    shown = {name: [word.strip() for word in cells if word.strip()][-2:] for name, cells in words.items()}
    assert shown == {
        "endless": [wrong, wrong],
        "fail": [wrong, wrong],
        "fine": ["same, as expected", "same, as expected"],
        "html": [wrong, wrong],
        "layout": [wrong, "differs, not as expected"],
        "up": [wrong, wrong],
    }
    assert "html on local-sagemaker: answered no JSON: '<p>'" in lines
    assert "fail on local-sagemaker: answered 500, expected 200: '6'" in lines
    assert "endless on local-sagemaker: no answer: HTTPException: it has more than 64 MiB" in lines
    assert (
        "up on local-sagemaker: no answer: RemoteDisconnected: Remote end closed connection without response" in lines
    )
    assert lines[-1].startswith("parity does not hold (6 self-tests, 2 servers")
    assert "Traceback" not in ran.out + ran.err


@pytest.mark.slow
def test_models_are_held_against_each_other_whatever_trained_them(lyftlearn: CommandLine, train: Train) -> None:
    """Each is asked the tests of all; two that are equal hold, and one that learnt something else differs."""
    tests = {"a__request__csv": "2", "a__expected__csv": "6"}
    one, same = train(**tests, backend="local-kubernetes"), train(**tests, backend="local-sagemaker")
    ran = lyftlearn("parity", "run", "--serve", f"{one},{same}", "--on", "local-kubernetes", "--json", *SERVE)
    assert ran.code == 0, ran.err
    assert [server["name"] for server in ran.json["servers"]] == [f"{job} on local-kubernetes" for job in (one, same)]
    assert len(ran.json["tests"]) == 1
    other = train(factor=4, **tests)
    ran = lyftlearn("parity", "run", "--serve", f"{one},{other}", "--on", "local", *SERVE)
    assert ran.code == 13
    assert f"a on {other} on local: answered '8', and the reference '6'" in ran.out


@pytest.mark.slow
def test_a_model_that_is_wrong_everywhere_alike_fails_and_keeps_parity(lyftlearn: CommandLine, train: Train) -> None:
    train(a__request__csv="2", a__expected__csv="7")
    ran = lyftlearn("parity", "run", "--serve", "fares", *SERVE)
    assert ran.code == 1
    assert "a on local-kubernetes: answered '6', expected '7'" in ran.out
    assert "but the model fails its own tests everywhere alike" in ran.out


@pytest.mark.slow
def test_a_server_that_does_not_come_up_is_part_of_the_answer(lyftlearn: CommandLine, train: Train) -> None:
    """One that ends, and one that never answers a ping: with the reason, and none is left."""
    train(a__request__csv="2", a__expected__csv="6")
    words = ("parity", "run", "--serve", "fares", "--on", "local-kubernetes,local-sagemaker", "--json")
    ended = lyftlearn(*words, "--", "python3", "-c", "import sys; sys.exit('no such model')")
    never = lyftlearn(*words, "--patience", "1s", "--", "sleep", "60")
    for ran, why in ((ended, "no such model"), (never, "it answered no ping within 1 s")):
        assert ran.code == 13, ran.err
        assert [why in server["problem"] for server in ran.json["servers"]] == [True, True]
        assert {answer["verdict"] for answer in ran.json["tests"][0]["answers"].values()} == {"not observed"}
    assert sorted(servers(lyftlearn).values()) == ["failed", "failed", "stopped", "stopped"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_leaves_no_server(lyftlearn: CommandLine, train: Train, number: int) -> None:
    train(a__request__csv="2", a__expected__csv="6")
    process = lyftlearn.start("parity", "run", "--serve", "fares", "--", "sleep", "600")
    deadline = time.monotonic() + PATIENCE
    while "running" not in servers(lyftlearn).values():
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert list(servers(lyftlearn).values()) == ["stopped"]


@pytest.mark.slow
def test_what_cannot_be_compared_is_said(lyftlearn: CommandLine, train: Train) -> None:
    """In one message, before anything is served."""
    job = train()
    broken = train(model="broken", a__request__csv="2")
    for words, code, said in (
        (f"{job} {' '.join(SERVE)}", 2, f"{job} brings no self-test: its train job writes them to model/selftest"),
        (f"{broken} {' '.join(SERVE)}", 10, "a has no file of expected"),
        ("fares", 2, "command: write what serves the model after `--`, or set [serve] command"),
        ("fares,fares -- x", 2, "serve: names fares twice"),
        (", -- x", 2, "serve: names no model"),
        ("rides -- x", 4, "no train job of the model 'rides' is known that succeeded"),
        ("fares --on local,locl -- x", 10, "no backend 'locl' is installed"),
        ("fares --on sagemaker -- x", 2, "on: sagemaker is not on this machine"),
        ("fares --patience soon -- x", 2, "patience: "),
        ("fares --env A=b --retries 2 --html x.html -- x", 2, "env: is not taken with --serve"),
    ):
        ran = lyftlearn("parity", "run", "--serve", *words.split())
        assert said in ran.err
        assert ran.code == code
        assert "Traceback" not in ran.err
        assert "train.py" not in ran.err
    assert servers(lyftlearn) == {}
