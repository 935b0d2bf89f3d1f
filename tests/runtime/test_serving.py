"""A model's server under the runtime: the model by its digest, its own tests, and readiness."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import selftest
from lyftlearn.runtime.serving import READY, start_tick

SERVER = [sys.executable, str(Path(__file__).parent / "programs/serve.py")]
JOB = {"id": "fares-bla2b3c4d5e6f", "name": "fares", "kind": "predict", "model": "fares"}
TESTS = {
    "selftest/two.request.json": b'{"numbers": [1, 2.5]}',
    "selftest/two.expected.json": b'{"who": null, "answers": [3.0000000001, 7.5]}',
    "selftest/table.request.csv": b"1\n2",
    "selftest/table.expected.csv": b"3\n6",
}


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def model(path: Path, files: Mapping[str, bytes]) -> Path:
    """A `model.tar.gz` of these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def document(archive: Path, port: int, **others: Any) -> dict[str, Any]:
    given = {"artifact": archive.as_uri(), "artifact_sha256": sha256(archive), "serving": {"port": port}}
    return {"contract": 1, "job": JOB, "command": SERVER, **given, **others}


@contextmanager
def running(runtime: Path, root: Path, bundle: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The runtime on its own, with the paths below `root`; it is stopped at the end, if it still runs."""
    root.mkdir(exist_ok=True)
    environ = {
        "PATH": os.environ["PATH"],
        "LYFTLEARN_SUBSTRATE": "local",
        "LYFTLEARN_ROOT": str(root),
        "LYFTLEARN_BUNDLE": json.dumps(bundle),
        "LYFTLEARN_SUBSTRATE_REPORT": str(root / "report"),
    }
    command = [sys.executable, "-I", "-S", str(runtime), "run"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)


def end(runtime: Path, root: Path, bundle: dict[str, Any]) -> tuple[int, str, str]:
    """Exit code, output and report of a server that ends by itself, and never serves."""
    output = ""
    with running(runtime, root, bundle) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            assert not line.startswith("lyftlearn: serving on port"), output
        process.wait(600)
    return process.returncode, output, (root / "report").read_text()


def lines_until_ready(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("lyftlearn: serving"):
        lines.append(process.stdout.readline().rstrip("\n"))
        assert lines[-1] or process.poll() is None, lines
    return lines


def ask(port: int, numbers: list[float]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"numbers": numbers}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@pytest.mark.contract("C-SERVE-1", "C-SERVE-3")
def test_a_model_that_passes_its_own_tests_is_served(archive: Path, tmp_path: Path) -> None:
    """The command has the model and a port, and the file that says it is ready comes after the tests."""
    port, root = free_port(), tmp_path / "root"
    bundle = document(model(tmp_path / "model.tar.gz", {"factor": b"3", **TESTS}), port, env={"PORT": "of the job"})
    with running(archive, root, bundle) as process:
        assert lines_until_ready(process) == [
            "loaded 3, ['factor', 'selftest']",
            f"lyftlearn: serving on port {port}: 2 self-tests passed",
        ]
        assert (root / READY).read_text() == f"{process.pid} {start_tick(process.pid)}"
        assert ask(port, [2]) == {"answers": [6.0], "who": None}
    assert process.returncode == 143


@pytest.mark.contract("C-SERVE-3")
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"selftest/one.request.json": b'{"numbers": [1]}', "selftest/one.expected.json": b'{"answers": [4]}'}, "who"),
        (
            {"selftest/one.request.csv": b"1", "selftest/one.expected.csv": b"4"},
            "one: answered '3', expected '4'",
        ),
        (
            {
                "selftest/one.request.json": b'{"numbers": [1]}',
                "selftest/one.expected.json": b'{"who": null, "answers": [3.001]}',
            },
            "one: answered 3.0, expected 3.001 at .answers[0]",
        ),
        ({"selftest/one.request.json": b"{", "selftest/one.expected.json": b"{}"}, "one: no answer"),
        ({"selftest/one.request.json": b"{}"}, "selftest: one has no file of expected"),
        ({"selftest/notes.txt": b""}, "selftest: notes.txt is neither <name>.request.<ext> nor <name>.expected.<ext>"),
    ],
)
def test_a_model_that_fails_its_own_tests_is_not_served(
    archive: Path, tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    """The container ends with the reason, and was never ready."""
    root = tmp_path / "root"
    made = model(tmp_path / "model.tar.gz", {"factor": b"3", **files})
    code, output, report = end(archive, root, document(made, free_port()))
    assert code == 1
    assert "the self-test failed, so this model is not served:" in output
    assert words in output
    assert words in report
    assert json.loads(report.splitlines()[0].partition(" ")[2])["reason"] == "user-error"
    assert not (root / READY).exists()


@pytest.mark.contract("C-SERVE-2")
def test_another_model_than_the_one_that_was_named_is_not_served(archive: Path, tmp_path: Path) -> None:
    """What is at the model's place may have been replaced since."""
    made = model(tmp_path / "model.tar.gz", {"factor": b"3"})
    bundle = document(made, free_port())
    model(tmp_path / "model.tar.gz", {"factor": b"4"})
    code, output, _ = end(archive, tmp_path / "root", bundle)
    assert code == 78
    assert f"has sha256 {sha256(made)}, expected {bundle['artifact_sha256']}" in output
    assert "loaded" not in output


@pytest.mark.contract("C-SERVE-4")
def test_a_container_that_starts_anew_finds_nothing_of_the_last_one(archive: Path, tmp_path: Path) -> None:
    """A pod keeps its volume when its container is started again: the model and the readiness in it are the last's."""
    port, root = free_port(), tmp_path / "root"
    first = document(model(tmp_path / "1.tar.gz", {"factor": b"3", "old": b""}), port)
    with running(archive, root, first) as process:
        lines_until_ready(process)
        (root / "model/left").write_text("by the command")
        process.kill()
        process.wait()
    assert (root / READY).exists()
    slow = ["sh", "-c", f"test ! -e {root / READY} && echo forgotten && exec {' '.join(SERVER)}"]
    second = document(model(tmp_path / "2.tar.gz", {"factor": b"4"}), free_port(), command=slow)
    with running(archive, root, second) as process:
        assert lines_until_ready(process)[:2] == ["forgotten", "loaded 4, ['factor']"]


def test_a_port_that_somebody_has_is_refused(archive: Path, tmp_path: Path) -> None:
    """The answers of a stranger would be taken for the model's."""
    made = model(tmp_path / "model.tar.gz", {"factor": b"3"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, _ = end(archive, tmp_path / "root", document(made, port))
    assert (code, output) == (
        78,
        f"lyftlearn: serving: port {port} cannot be taken (Address already in use): choose another\n",
    )


def test_a_server_that_never_answers_is_never_ready(archive: Path, tmp_path: Path) -> None:
    """Only the platform knows how long a start may take."""
    root = tmp_path / "root"
    made = model(tmp_path / "model.tar.gz", {"factor": b"3"})
    with running(archive, root, document(made, free_port(), command=["sleep", "60"])) as process:
        time.sleep(1)
        assert process.poll() is None
        assert not (root / READY).exists()


@pytest.mark.parametrize(
    ("given", "expected", "difference"),
    [
        ('{"a": 1}', '{"a": 1.0}', None),
        ("[1e-12]", "[0]", None),
        ("[NaN, Infinity]", "[NaN, Infinity]", None),
        ("[NaN]", "[1]", "answered NaN, expected 1 at [0]"),
        ("true", "1", "answered true, expected 1"),
        ('{"a": [1, 2]}', '{"a": [1]}', "answered [1, 2], expected [1] at .a"),
        ('{"a": 1, "b": 2}', '{"a": 1}', 'answered {"a": 1, "b": 2}, expected {"a": 1}'),
        ('"1"', "1", 'answered "1", expected 1'),
        ("9" * 400, "1.5", f"answered {'9' * 200}, expected 1.5"),
        ("9" * 400, "9" * 400, None),
        ("[" * 100_000, "1", f"answered no JSON: '{'[' * 200}'"),
        ("<html>", "1", "answered no JSON: '<html>'"),
    ],
)
def test_answers_are_compared_as_what_they_mean(given: str, expected: str, difference: str | None) -> None:
    """Numbers within what another processor may change, everything else exactly."""
    assert selftest.json_difference(given.encode(), expected.encode()) == difference


@pytest.mark.parametrize("port", [0, 65536, "8080", None])
def test_a_port_that_is_none_is_refused(archive: Path, tmp_path: Path, port: Any) -> None:
    made = model(tmp_path / "model.tar.gz", {"factor": b"3"})
    code, output, _ = end(archive, tmp_path / "root", document(made, port))
    assert (code, output) == (78, "lyftlearn: bundle: serving.port: expected a number from 1 to 65535\n")


ANSWERING = """
import os, time, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.answer(["Content-Length: 0"])
    def answer(self, headers):
        self.wfile.write("\\r\\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode())
    def do_POST(self):
        {how}
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
ENDLESS = "self.answer([])\n        while True: self.wfile.write(b'x' * 65536)"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (ENDLESS, "no answer: HTTPException: it has more than 64 MiB"),
        ("self.answer(['Content-Length: 9']); self.wfile.write(b'6'); self.close_connection = True", "IncompleteRead"),
        ("self.answer(['Transfer-Encoding: chunked']); self.wfile.write(b'1\\r\\n6\\r\\n0\\r\\n\\r\\n')", None),
        ("self.answer(['Content-Length: 1']); self.wfile.write(b'6')", None),
        ("self.answer(['Content-Length: 400']); self.wfile.write(b'9' * 400)", "one: answered '999"),
    ],
)
def test_an_answer_is_read_to_its_end_and_no_further(archive: Path, tmp_path: Path, how: str, said: str | None) -> None:
    """Whatever a server writes, the tests come to an end: an answer without one is none, a connection is kept."""
    port, root = free_port(), tmp_path / "root"
    made = model(tmp_path / "model.tar.gz", {"selftest/one.request.csv": b"2", "selftest/one.expected.csv": b"6"})
    command = [sys.executable, "-c", ANSWERING.replace("{how}", how)]
    bundle = document(made, port, command=command)
    if said is None:
        with running(archive, root, bundle) as process:
            assert lines_until_ready(process) == [f"lyftlearn: serving on port {port}: 1 self-test passed"]
        return
    code, output, _ = end(archive, root, bundle)
    assert code == 1
    assert said in output


def test_a_server_that_its_caller_tests_is_ready_whatever_it_answers(archive: Path, tmp_path: Path) -> None:
    """Whoever compares servers wants to hear the answers, and not that there is none."""
    port, root = free_port(), tmp_path / "root"
    files = {"factor": b"3", "selftest/one.request.csv": b"2", "selftest/one.expected.csv": b"7"}
    bundle = document(model(tmp_path / "model.tar.gz", files), port)
    bundle["serving"]["tested_by_caller"] = True
    with running(archive, root, bundle) as process:
        assert lines_until_ready(process)[-1] == f"lyftlearn: serving on port {port}: its caller tests it"
        assert ask(port, [2]) == {"answers": [6.0], "who": None}
