"""A directory and a bucket, behind one fixture. The bucket is moto's, behind a real socket on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from lyftlearn._storage import Storage, open_storage

BUCKET = "bucket"


class Bucket:
    """S3 in this process. It answers one request after the other: S3's conditions hold among threads, moto's do not.

    lost: how many of the next answers are never given, though the request is carried out. busy: how many of the next
    requests are told to slow down. without: headers that somebody in front of it takes away; date: what they write as
    the time. pages: what they answer to the next requests: status line, type and body. seen: method and path.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.busy = 0
        self.pages: list[tuple[str, str, str]] = []
        self.seen: list[tuple[str, str]] = []
        self.without: tuple[str, ...] = ()
        self.refuse: tuple[str, str] | None = None  # status line and code
        self._lock = threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def date(self) -> str | None:
        return _Quiet.date

    @date.setter
    def date(self, text: str | None) -> None:
        _Quiet.date = text

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, method: str, end: str = "") -> int:
        return sum(seen == method and path.endswith(end) for seen, path in self.seen)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            if self.pages:
                status, kind, text = self.pages.pop(0)
                start_response(status, [("Content-Type", kind), ("Content-Length", str(len(text)))])
                return [text.encode()] if environ["REQUEST_METHOD"] != "HEAD" else []
            if self.refuse or self.busy:
                self.busy -= not self.refuse
                status, code = self.refuse or ("503 Slow Down", "SlowDown")
                start_response(status, [("Content-Type", "application/xml")])
                return [f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()]

            def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                return start_response(status, [one for one in headers if one[0].lower() not in self.without], *rest)

            body = list(self._app(environ, start))
            if self.lost:
                self.lost -= 1
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return body


class _Quiet(WSGIRequestHandler):
    date: str | None = None

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(timestamp) if _Quiet.date is None else _Quiet.date

    def log(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Bucket]:
    server = Bucket()
    yield server
    server.close()


@pytest.fixture
def bucket(s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A server with an empty bucket, found through the usual variables."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    import boto3

    from lyftlearn._storage import _s3

    monkeypatch.setattr(_s3, "SECONDS_OF_PATIENCE", 1.0)
    monkeypatch.setattr(_s3, "SECONDS_OF_SILENCE", 1.0)
    s3_server.lost, s3_server.refuse, s3_server.pages, s3_server.without = 0, None, [], ()
    s3_server.date = None
    empty = boto3.resource("s3").Bucket(BUCKET)  # other doubles of this process keep their own buckets in moto, too
    empty.create()
    empty.object_versions.delete()
    empty.objects.delete()
    s3_server.seen.clear()
    return s3_server


@pytest.fixture(params=["directory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each sort."""
    if request.param == "directory":
        return (tmp_path / "a store").as_uri()
    request.getfixturevalue("bucket")
    return f"s3://{BUCKET}/some/prefix"


@pytest.fixture
def storage(url: str) -> Storage:
    return open_storage(url)
