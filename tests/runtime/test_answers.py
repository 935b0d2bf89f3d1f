"""Inside the container: what a proxy or load balancer answers in the place of AWS says nothing, whatever its status."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lyftlearn.runtime import s3, storage, transfer
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.secrets.secretsmanager import from_secrets_manager
from tests.doubles.bucket import Bucket, bucket, s3_server

__all__ = ["bucket", "s3_server"]

HTML = "<html><body><h1>Not Found</h1><hr></body></html>"
PAGES = (
    *((f"{status} Page", "text/html", HTML) for status in (200, 301, 302, 307, 400, 401, 403, 404, 407, 409, 412)),
    ("403 Forbidden", "text/plain", "denied"),
    ("404 Not Found", "application/json", '{"message": "no route"}'),
    ("404 Not Found", "text/html", ""),
    ("200 OK", "text/html", ""),
)
ONE = storage.Entry("s3://bucket/in/a", "a", 7)
XML = "<?xml version='1.0'?><Error><Code>%s</Code><Message>elsewhere</Message><Bucket>bucket</Bucket></Error>"


@pytest.fixture(autouse=True)
def in_front(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    s3._clients.clear()
    yield
    s3._clients.clear()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: " ".join(page)[:30])
def test_the_question_is_put_again(bucket: Bucket, tmp_path: Path, page: tuple[str, str, str]) -> None:
    """A 404 would be an input that is not there, and a page with status 200 its content."""
    (tmp_path / "a").write_text("content")
    for ask in (
        lambda: storage.put(str(tmp_path / "a"), "s3://bucket/in/a"),
        lambda: transfer.fetch("s3://bucket/in", str(tmp_path / "back")),
        lambda: storage.store_for(ONE.uri).fetch(ONE, str(tmp_path / "one")),
        lambda: storage.read_bytes("s3://bucket/in/a"),
    ):
        bucket.pages = [page] * 2
        ask()
        assert not bucket.pages
    assert (tmp_path / "back/a").read_text() == (tmp_path / "one").read_text() == "content"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: " ".join(page)[:30])
def test_it_is_the_platform_s_failure_after_a_while(bucket: Bucket, page: tuple[str, str, str]) -> None:
    """The job is not told to mend its configuration."""
    bucket.pages = [page] * 100
    with pytest.raises(RuntimeFailure) as caught:
        storage.read_bytes("s3://bucket/in/a")
    assert caught.value.reason == "platform"
    assert f"status {page[0][:3]} is not AWS" in str(caught.value)
    assert len(bucket.seen) == s3.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "code", "reason", "requests"),
    [
        ("301 Moved Permanently", "PermanentRedirect", "configuration", 2),
        ("307 Temporary Redirect", "TemporaryRedirect", "platform", s3.ATTEMPTS),
        ("404 Not Found", "NoSuchKey", "configuration", 1),
        ("403 Forbidden", "AccessDenied", "configuration", 1),
    ],
)
def test_what_s3_itself_says_is_believed(bucket: Bucket, status: str, code: str, reason: str, requests: int) -> None:
    """A redirect that names neither target nor region was followed until Python's recursion ended."""
    bucket.pages = [(status, "application/xml", XML % code)] * 100
    with pytest.raises(RuntimeFailure, match=code) as caught:
        storage.read_bytes("s3://bucket/in/a")
    assert caught.value.reason == reason
    assert len(bucket.seen) == requests
    assert ("are the region (AWS_REGION) and the endpoint right?" in str(caught.value)) == (code == "PermanentRedirect")


def test_secrets_manager_has_the_same_judgement() -> None:
    """It speaks JSON; a page is no answer of its, with status 200 neither."""
    pages = [(status, HTML.encode()) for status in (200, 403, 404)]

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            names = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["SecretIdList"]
            values = [{"Name": name, "ARN": name, "SecretString": "s"} for name in names]
            status, body = pages.pop() if pages else (200, json.dumps({"SecretValues": values}).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        provider = {"region": "us-east-1", "endpoint": f"http://127.0.0.1:{server.server_port}"}
        assert from_secrets_manager(["db"], provider) == {"db": {"value": b"s"}}
        pages += [(404, HTML.encode())] * 100
        with pytest.raises(RuntimeFailure, match="status 404 is not AWS") as caught:
            from_secrets_manager(["db"], provider)
        server.shutdown()
        thread.join()
    assert caught.value.reason == "platform"
