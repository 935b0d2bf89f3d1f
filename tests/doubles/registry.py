"""A registry of images on a loopback socket: Debian's `docker-registry`, opened as registries are opened."""

from __future__ import annotations

import base64
import datetime as dt
import json
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tests.doubles.tunnel import tunnel

USER, PASSWORD = "reader", "read-only-password"
_HASHED = "$2y$05$G7kgUZUdWu8stKXXvRILkeKmH6gxElxj3cnVqhdp8w4uA6R8LGND."  # by `htpasswd -nbB`
_STARTS_WITHIN = 60.0
IDENTITY = "an-identity-token"


def require_registry() -> None:
    """Leave a test out, and say why, where there is none."""
    if shutil.which("docker-registry") is None:
        pytest.skip("asks a registry: docker-registry is not installed")


@contextmanager
def registry(directory: Path, auth: dict[str, Any] | None = None, tls: dict[str, str] | None = None) -> Iterator[str]:
    """Run a registry; yield its `host:port`. tls: its certificate and key, by the names of its configuration."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(directory / "images")}}
    config = {
        "version": 0.1,
        "storage": storage,
        "http": {"addr": address, "tls": tls or {}},
        "log": {"level": "error"},
    }
    path = directory / "config.yml"
    path.write_text(json.dumps(config | ({"auth": auth} if auth else {})))
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", path], stdout=log, stderr=log)
    try:
        _await(f"{'https' if tls else 'http'}://{address}/v2/", process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(url, timeout=5)
        except requests.exceptions.SSLError:  # it answers; whom its certificate is for is the tests' business
            return
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the registry does not start")


def asked(directory: Path) -> list[str]:
    """What a registry that runs there was asked for so far: method and path."""
    lines = (directory / "log").read_text().splitlines()
    return [line.split('"')[1].rpartition(" ")[0] for line in lines if '"GET ' in line or '"HEAD ' in line]


def basic(directory: Path, entry: str = f"{USER}:{_HASHED}") -> dict[str, Any]:
    """Return the settings of a registry that asks for a password. entry: a user and the hash of the password."""
    (directory / "htpasswd").write_text(f"{entry}\n")
    return {"htpasswd": {"realm": "images", "path": str(directory / "htpasswd")}}


ECR_HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
ECR_ENTRY = "AWS:$2b$04$cdf1zzLV6Q6OCLQrlFa5zuAXza9jLUAhC/Wudfee.MZ30MvAfNkIS"
"""What moto's `GetAuthorizationToken` gives for this account: the password `123456789012-auth-token`."""


def identity(directory: Path, host: str) -> dict[str, str]:
    """Write a certificate of `host`, which is its own authority, and its key; return the settings of a registry."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key, host)
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / "host.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "host.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, none))
    return {"certificate": str(directory / "host.pem"), "key": str(directory / "host.key")}


class Tunnel:
    """A proxy that leads every name to one server of this machine, as if that had the name."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                tunnel(self, host, int(port))

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name in the base
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class TokenServer:
    """Gives tokens to who has the password, or an identity token, as registries of the clouds do."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(self._key)
        (directory / "roots.pem").write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        realm = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        bundle = str(directory / "roots.pem")
        self.settings = {"token": {"realm": realm, "service": "images", "issuer": "tests", "rootcertbundle": bundle}}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                password = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                opens = self.headers.get("Authorization") == f"Basic {password}"
                self._answer(parse_qs(urlsplit(self.path).query), opens=opens)

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer(form, opens=form.get("refresh_token") == [IDENTITY])

            def _answer(self, asked: dict[str, list[str]], *, opens: bool) -> None:
                content = json.dumps({"token": server.token(asked.get("scope", []))} if opens else {}).encode()
                self.send_response(200 if opens else 401)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name in the base
                """Nobody reads it."""

        return Handler

    def token(self, scopes: list[str]) -> str:
        """Return a signed token for the scopes that were asked for."""
        now = int(time.time())
        chain = [base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()]
        access = [_access(part) for scope in scopes for part in scope.split(" ")]
        claims: dict[str, Any] = {"iss": "tests", "aud": "images", "sub": USER, "access": access}
        claims |= {"jti": secrets.token_hex(8), "nbf": now - 60, "iat": now - 60, "exp": now + 300}
        parts = [{"typ": "JWT", "alg": "ES256", "x5c": chain}, claims]
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _access(scope: str) -> dict[str, Any]:
    kind, name, actions = scope.split(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _certificate(key: ec.EllipticCurvePrivateKey, host: str = "tests") -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    builder = builder.add_extension(names, critical=False)
    builder = builder.serial_number(1).not_valid_before(now - dt.timedelta(days=1))
    return builder.not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
