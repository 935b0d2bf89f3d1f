"""Connections to a server: certificates, proxies, and what is kept for the next request."""

from __future__ import annotations

import base64
import datetime as dt
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lyftlearn.errors import BackendUnavailable, LyftLearnError
from lyftlearn_kubernetes import options
from lyftlearn_kubernetes.api import errors
from lyftlearn_kubernetes.api import transport as transport_module
from lyftlearn_kubernetes.api.access import Access
from lyftlearn_kubernetes.api.cluster import Cluster
from lyftlearn_kubernetes.api.errors import NoResponse
from lyftlearn_kubernetes.api.transport import Transport
from tests.backends.kubernetes.proxy import Proxy
from tests.doubles.tunnel import tunnel

SERVER_NAME = "api.example.com"
NOW = dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Makes identities that whoever trusts `certificate` believes."""

    directory: Path
    certificate: Path
    signed: Any
    key: Any

    def identity(self, name: str) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.signed.subject, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        found = Identity(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        found.certificate.write_bytes(_pem(builder.sign(self.key, hashes.SHA256())))
        found.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return found


def authority(directory: Path, name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(*(index in (5, 6) for index in range(9)))
    builder = _builder(name, own, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    path = directory / f"{name}.crt"
    path.write_bytes(_pem(signed))
    return Authority(directory, path, signed, key)


def _builder(name: str, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
    )


def _pem(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, and by whom."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Echo.asked.append(f"{self.command} {self.path}")
        shown: dict[str, Any] = getattr(self.connection, "getpeercert", dict)() or {}
        subject = dict(pair for part in shown.get("subject", ()) for pair in part).get("commonName")
        length = int(self.headers.get("Content-Length") or 0)
        told = {
            "path": self.path,
            "certificate": subject,
            "authorization": self.headers.get("Authorization"),
            "proxy": self.headers.get("Proxy-Authorization"),
            "body": self.rfile.read(length).decode(),
            "port": self.client_address[1],
        }
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def do_CONNECT(self) -> None:
        """Be a proxy that opens tunnels."""
        Echo.asked.append(f"CONNECT {self.path} {self.headers.get('Proxy-Authorization')}")
        _, _, port = self.path.rpartition(":")
        tunnel(self, "127.0.0.1", int(port))  # whatever the name: it is this machine

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server, with encryption where an identity is given; return its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(identity: Identity | None = None, clients: Path | None = None) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        server.daemon_threads = True
        if identity is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
            tls.load_cert_chain(identity.certificate, identity.key)
            tls.verify_mode = ssl.CERT_REQUIRED if clients else ssl.CERT_NONE
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"{'https' if identity else 'http'}://127.0.0.1:{server.server_address[1]}"

    Echo.asked.clear()
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


New = Callable[..., Transport]


@pytest.fixture
def transport() -> Iterator[New]:
    """Connect to a server with a kubeconfig's `cluster` and `user`."""
    made: list[Transport] = []

    def make(server: str, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Transport:
        whole = {"server": server, **(cluster or {})}
        made.append(Transport(Access(context="test", namespace="ml", cluster=whole, user=user or {})))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ask(found: Transport, path: str = "/version") -> dict[str, Any]:
    answer = found.send("GET", path, params={}, content=None, headers={})
    assert answer.status == 200
    told: dict[str, Any] = json.loads(answer.data)
    return told


def encode_file(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("form", ["files", "data"])
def test_certificates_on_both_sides(serve: Serve, tmp_path: Path, form: str, transport: New) -> None:
    """Both are how kubeconfigs have them: paths as tools write them, data as clouds do."""
    trusted = authority(tmp_path, "authority")
    url = serve(trusted.identity(SERVER_NAME), trusted.certificate)
    own = trusted.identity("somebody")
    given = {"client-certificate": own.certificate, "client-key": own.key}
    if form == "files":
        cluster = {"certificate-authority": str(trusted.certificate)}
        user = {name: str(path) for name, path in given.items()}
    else:
        cluster = {"certificate-authority-data": encode_file(trusted.certificate)}
        user = {f"{name}-data": encode_file(path) for name, path in given.items()}
    found = transport(url, {**cluster, "tls-server-name": SERVER_NAME}, user)
    told = ask(found)
    assert told["certificate"] == "somebody"
    assert ask(found)["port"] == told["port"], "a connection is kept under encryption, too"


def test_a_server_that_is_somebody_else(serve: Serve, tmp_path: Path, transport: New) -> None:
    """Tokens go to whoever answers: neither another authority's server nor another name's may get one."""
    trusted, other = authority(tmp_path, "authority"), authority(tmp_path, "other")
    url = serve(trusted.identity(SERVER_NAME))
    for cluster in (
        {"certificate-authority": str(other.certificate), "tls-server-name": SERVER_NAME},
        {"certificate-authority": str(trusted.certificate), "tls-server-name": "elsewhere.example.com"},
        {"certificate-authority": str(trusted.certificate)},
        {},
    ):
        with pytest.raises(NoResponse, match=r"(?i)certificate") as caught:
            ask(transport(url, cluster, {"token": "secret"}))
        assert not caught.value.sent
    assert Echo.asked == []
    assert ask(transport(url, {"insecure-skip-tls-verify": True}))["path"] == "/version"


def test_certificates_that_are_broken(tmp_path: Path, transport: New) -> None:
    """A kubeconfig that was cut says so, and names its context."""
    (tmp_path / "ca.crt").write_text("cut")
    for cluster in ({"certificate-authority": str(tmp_path / "ca.crt")}, {"certificate-authority-data": "Y3V0"}):
        with pytest.raises(LyftLearnError, match="certificates of context 'test' are broken"):
            transport("https://127.0.0.1:1", cluster)


def test_a_stream_is_closed_from_another_thread_under_encryption(serve: Serve, tmp_path: Path, transport: New) -> None:
    """Whoever stops following must not wait for the next line of a silent job."""
    trusted = authority(tmp_path, "authority")
    identity = trusted.identity(SERVER_NAME)
    listener = socket.create_server(("127.0.0.1", 0))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(identity.certificate, identity.key)

    def answer() -> None:
        with tls.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nline\n\r\n")
            try:
                connection.recv(1)
            except OSError:
                return

    threading.Thread(target=answer, daemon=True).start()
    cluster = {"certificate-authority": str(trusted.certificate), "tls-server-name": SERVER_NAME}
    found = transport(f"https://127.0.0.1:{listener.getsockname()[1]}", cluster)
    seen = []
    with listener, pytest.raises(NoResponse), found.stream("/log", {}, 60) as stream:  # noqa: PT012 - read to its end
        for line in stream.lines():
            seen.append(line)
            threading.Timer(0.2, stream.close).start()
    assert seen == [b"line"]


def test_a_connection_is_kept_and_one_that_was_closed_is_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, transport: New
) -> None:
    """A handshake for each request would cost more than the request; a server closes what is idle."""
    monkeypatch.setattr(Echo, "timeout", 0.3)
    found = transport(serve())
    first, second = ask(found)["port"], ask(found)["port"]
    assert first == second
    time.sleep(1)
    assert ask(found)["port"] != first
    found.close()


def test_the_path_of_a_server(serve: Serve, transport: New) -> None:
    """Some clusters stand behind a gateway, each under a path of its own."""
    assert ask(transport(f"{serve()}/k8s/clusters/c-1/"))["path"] == "/k8s/clusters/c-1/version"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"username": "me", "password": "pass"}, "Basic bWU6cGFzcw=="),
        ({}, None),
    ],
)
def test_who_asks(serve: Serve, user: dict[str, Any], header: str | None, transport: New) -> None:
    """What kubectl would send."""
    assert ask(transport(serve(), user=user))["authorization"] == header


def test_a_token_that_is_replaced(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: New
) -> None:
    """The token of a pod lives an hour, and its file is written anew."""
    path = tmp_path / "token"
    path.write_text("first\n")
    found = transport(serve(), user={"tokenFile": str(path), "token": "old"})
    assert ask(found)["authorization"] == "Bearer first"
    path.write_text("second\n")
    assert ask(found)["authorization"] == "Bearer first"
    monkeypatch.setattr(time, "monotonic", lambda before=time.monotonic: before() + 61)
    assert ask(found)["authorization"] == "Bearer second"


def test_what_cannot_be_used_is_said(transport: New) -> None:
    """Each of these is met in kubeconfigs of old."""
    with pytest.raises(LyftLearnError, match="auth-provider"):
        transport("http://127.0.0.1:1", user={"auth-provider": {"name": "gcp"}})
    with pytest.raises(LyftLearnError, match=r"socks5://127\.0\.0\.1"):
        transport("http://127.0.0.1:1", {"proxy-url": "socks5://me:secret@127.0.0.1:1080"})


@pytest.mark.parametrize("by", ["kubeconfig", "environment"])
def test_a_tunnel_through_a_proxy(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, transport: New
) -> None:
    """Private clusters are reached through a bastion; the proxy sees addresses and no request."""
    trusted = authority(tmp_path, "authority")
    url = serve(trusted.identity(SERVER_NAME)).replace("127.0.0.1", SERVER_NAME)
    proxy = serve().replace("http://", "http://me:s%20t@")
    cluster = {"certificate-authority": str(trusted.certificate)}
    if by == "kubeconfig":
        cluster["proxy-url"] = proxy
    else:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert ask(transport(url, cluster, {"token": "t"}))["authorization"] == "Bearer t"
    address = url.removeprefix("https://")
    assert Echo.asked == [f"CONNECT {address} Basic {base64.b64encode(b'me:s t').decode()}", "GET /version"]


def test_a_proxy_for_what_is_not_encrypted(serve: Serve, monkeypatch: pytest.MonkeyPatch, transport: New) -> None:
    """Such a proxy is asked for the whole address, and with its own password; `NO_PROXY` leaves it out."""
    proxy, url = serve(), f"http://{SERVER_NAME}:8080"
    monkeypatch.setenv("HTTP_PROXY", proxy.replace("http://", "http://me:pass@"))
    told = ask(transport(url))
    assert (told["path"], told["proxy"]) == (f"{url}/version", "Basic bWU6cGFzcw==")
    assert ask(transport(serve()))["path"] == "/version", "a loopback address never goes through a proxy"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n14\r\nfirst\nsec",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\nfirst\nsec",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Enc",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 20",
        b"",
    ],
    ids=["in its body", "in a chunk", "before a chunk", "in its head", "after its status", "in its status", "at all"],
)
def test_an_answer_that_is_cut(transport: New, said: bytes) -> None:
    """Half a log is not its end, half an answer is none, and nobody knows what became of the request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener:
            for _ in range(2):
                with listener.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(said)

    threading.Thread(target=answer, daemon=True).start()
    found = transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(NoResponse) as caught:
        found.send("POST", "/", params={}, content=b"{}", headers={})
    assert caught.value.sent
    with pytest.raises(NoResponse), found.stream("/", {}, 10) as stream:
        list(stream.lines())


@pytest.mark.parametrize("length", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"])
def test_an_answer_without_an_end(transport: New, monkeypatch: pytest.MonkeyPatch, length: str) -> None:
    """Whoever stands in the API's place may send for ever: nobody holds more of it than any answer has."""
    for name in ("LARGEST_ANSWER", "LARGEST_NEWS", "LARGEST_ERROR"):
        monkeypatch.setattr(f"lyftlearn_kubernetes.api.transport.{name}", 1 << 20)
    block = b"10000\r\n" + b"x" * 0x10000 + b"\r\n" if "chunked" in length else b"x" * 0x10000
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener:
            for _ in range(3):
                with listener.accept()[0] as connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode())
                    while True:
                        connection.sendall(block)

    threading.Thread(target=answer, daemon=True).start()
    found = transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(NoResponse, match="1048576 bytes"):
        found.send("GET", "/", params={}, content=None, headers={})
    with pytest.raises(NoResponse, match="1048576 bytes"), found.stream("/", {}, 10) as stream:
        list(stream.lines())
    with found.stream("/", {}, 10) as stream:
        assert len(stream.error()) == 1 << 20


def test_nobody_is_there(tmp_path: Path, closed_port: int) -> None:
    """What was certainly not sent may be sent elsewhere, so the error has no id."""
    path = tmp_path / "kubeconfig"
    context = {"name": "c", "context": {"cluster": "c"}}
    server = f"http://127.0.0.1:{closed_port}"
    document = {"clusters": [{"name": "c", "cluster": {"server": server}}], "contexts": [context]}
    path.write_text(json.dumps({**document, "current-context": "c"}))
    cluster = Cluster(options.DEFAULTS._replace(kubeconfig=str(path)))
    with pytest.raises(BackendUnavailable) as caught, errors.translate_errors("creating jobs", job_id="eta-x"):
        cluster.create("jobs", {"apiVersion": "batch/v1", "metadata": {}})
    assert caught.value.job_id is None
    assert transport_module.CONNECT_SECONDS <= 10


def test_connections_that_a_gateway_forgot(serve: Serve, monkeypatch: pytest.MonkeyPatch, transport: New) -> None:
    """A NAT gateway drops what is idle and tells nobody; one that is forgotten means that its neighbours are, too."""
    monkeypatch.setattr(transport_module, "DOUBTFUL_SECONDS", 0.0)
    monkeypatch.setattr(transport_module, "DOUBTFUL_ANSWER_SECONDS", 0.5)
    with Proxy(int(serve().rpartition(":")[2])) as proxy:
        found = transport(proxy.url)
        for connection in [found._connect() for _ in range(5)]:
            found._send_on(connection, "GET", "/version", None, {})
        proxy.freeze()
        began = time.monotonic()
        with pytest.raises(NoResponse):
            ask(found)
        assert ask(found)["path"] == "/version", "the second try has a connection of its own"
        assert time.monotonic() - began < 20


def test_an_old_connection_is_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch, transport: New) -> None:
    """It costs one handshake to know; a connection that was idle for long costs seconds if it is gone."""
    found = transport(serve())
    first = ask(found)["port"]
    monkeypatch.setattr(transport_module, "IDLE_SECONDS", 0.0)
    assert ask(found)["port"] != first


def test_a_certificate_that_is_renewed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: New
) -> None:
    """Client certificates live for days, or hours, and processes that follow jobs live longer."""
    trusted = authority(tmp_path, "authority")
    url = serve(trusted.identity(SERVER_NAME), trusted.certificate)
    own, next_one = trusted.identity("somebody"), trusted.identity("somebody-else")
    cluster = {"certificate-authority": str(trusted.certificate), "tls-server-name": SERVER_NAME}
    found = transport(url, cluster, {"client-certificate": str(own.certificate), "client-key": str(own.key)})
    assert ask(found)["certificate"] == "somebody"
    found.close()
    own.key.write_text("half written")
    assert ask(found)["certificate"] == "somebody"
    found.close()
    own.certificate.write_bytes(next_one.certificate.read_bytes())
    own.key.write_bytes(next_one.key.read_bytes())
    assert ask(found)["certificate"] == "somebody-else"
