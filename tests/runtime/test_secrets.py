"""Secrets from every provider, by Kubernetes' rules, and nowhere else."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import kmsauth
import pytest
from moto.server import ThreadedMotoServer

from lyftlearn.runtime import s3, secrets
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.redaction import Redactor
from lyftlearn.runtime.report import last_words

CANARY = "canary-7f3a9b-do-not-tell"
REGION = "us-east-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    environ = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": REGION}
    for name, value in {**environ, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    s3._clients.clear()
    yield endpoint
    s3._clients.clear()


def test_files_as_kubernetes_projects_them(tmp_path: Path) -> None:
    """Links to `..data` are the platform's own; a value may be binary."""
    (tmp_path / "db/..data").mkdir(parents=True)
    (tmp_path / "db/..data/PASSWORD").write_bytes(b"\xff\x00")
    (tmp_path / "db/PASSWORD").symlink_to("..data/PASSWORD")
    found = secrets.fetch(["db"], {"type": "files", "path": str(tmp_path)}, {})
    assert found == {"db": {"PASSWORD": b"\xff\x00"}}


def test_later_secrets_win_and_odd_keys_are_files() -> None:
    """Later secrets win; keys that are no variables' names, and values that none can hold, are files only."""
    found = {
        "one": {"USER": b"a", "1ST": b"x", "with space": b"x", "tls.key": b"k", "..bad": b"x", "NUL": b"a\0"},
        "two": {"USER": b"b"},
    }
    assert secrets.environment_variables(found) == {"USER": "b"}


def test_env_beats_secrets(containers: Any) -> None:
    """As `env` beats `envFrom` in a pod; and `$(NAME)` may refer to a secret."""
    container = containers.make(
        "local", ["/bin/sh", "-c", "echo $USER $URL"], env={"USER": "env", "URL": "db://$(PASS)"}
    )
    container.document["secrets"] = {"names": ["db"], "provider": {"type": "variables"}}
    container.variables |= {"LYFTLEARN_SUBSTRATE_SECRET_0_USER": "secret", "LYFTLEARN_SUBSTRATE_SECRET_0_PASS": "p4ss"}
    assert container.run().output == b"env db://p4ss\n"


def test_secrets_manager_in_batches(aws: str) -> None:
    """The service takes twenty at a time; what is not text becomes JSON, what is no object one key."""
    client = boto3.client("secretsmanager", endpoint_url=aws, region_name=REGION)
    names = [f"team/s{index}" for index in range(41)]
    for name in names:
        client.create_secret(Name=f"prod/{name}", SecretString=json.dumps({"KEY": name, "PORT": 5432}))
    client.create_secret(Name="prod/plain", SecretString="just text")
    client.create_secret(Name="prod/binary", SecretBinary=b"\x00\x01")
    provider = {"type": "secretsmanager", "prefix": "prod/", "region": REGION, "endpoint": aws}
    found = secrets.fetch([*names, "plain", "binary"], provider, {})
    assert list(found) == [*names, "plain", "binary"]
    assert found["team/s40"] == {"KEY": b"team/s40", "PORT": b"5432"}
    assert (found["plain"], found["binary"]) == ({"value": b"just text"}, {"value": b"\x00\x01"})


def test_every_missing_secret_is_named(aws: str) -> None:
    """And no value of those that were found."""
    client = boto3.client("secretsmanager", endpoint_url=aws, region_name=REGION)
    client.create_secret(Name="there", SecretString=CANARY)
    provider = {"type": "secretsmanager", "region": REGION, "endpoint": aws}
    with pytest.raises(RuntimeFailure) as caught:
        secrets.fetch(["there", "gone", "lost"], provider, {})
    assert caught.value.reason == "configuration"
    assert "gone" in str(caught.value)
    assert "lost" in str(caught.value)
    assert CANARY not in str(caught.value)


class Confidant(BaseHTTPRequestHandler):
    """The documented answer, for whoever has a token that KMS decrypts with the right context."""

    validator: Any
    failures = 0

    def do_GET(self) -> None:
        scheme, _, credentials = self.headers["Authorization"].partition(" ")
        user, _, token = base64.b64decode(credentials).decode().partition(":")
        if type(self).failures:
            type(self).failures -= 1
            self._answer(503, {})
            return
        try:
            assert scheme == "Basic"
            self.validator.decrypt_token(user, token)
        except kmsauth.TokenValidationError:
            self._answer(401, {})
            return
        if self.path != "/v1/services/fares-production?metadata_only=False":
            self._answer(404, {})
            return
        pairs = {"api_key": CANARY, "user": "u"}
        credentials_found = [{"id": "1", "name": "db", "enabled": True, "credential_pairs": pairs}]
        self._answer(200, {"id": "fares-production", "credentials": credentials_found})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def confidant(aws: str) -> Iterator[dict[str, Any]]:
    kms = boto3.client("kms", endpoint_url=aws, region_name=REGION)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    Confidant.validator = kmsauth.KMSTokenValidator(
        key, None, "confidant-production", REGION, endpoint_url=aws, minimum_token_version=2
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Confidant)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "type": "confidant",
        "url": f"http://127.0.0.1:{server.server_port}",
        "service": "fares-production",
        "from": "fares-production",
        "to": "confidant-production",
        "user_type": "service",
        "auth_key": key,
        "region": REGION,
        "endpoint": aws,
    }
    server.shutdown()
    server.server_close()


def test_confidant_s_tokens_and_key_names(confidant: dict[str, Any]) -> None:
    """The token is checked by the library that Confidant itself uses; names come back in the container's case."""
    assert secrets.fetch(["db"], confidant, {}) == {"db": {"API_KEY": CANARY.encode(), "USER": b"u"}}
    assert set(secrets.fetch(["db"], {**confidant, "case": "lower"}, {})["db"]) == {"api_key", "user"}


def test_confidant_s_refusals_are_the_configuration_s(confidant: dict[str, Any]) -> None:
    """A wrong context, service or name is for the user to mend, and says which."""
    with pytest.raises(RuntimeFailure, match="401"):
        secrets.fetch(["db"], {**confidant, "to": "somebody-else"}, {})
    with pytest.raises(RuntimeFailure, match="404 for the service 'other'"):
        secrets.fetch(["db"], {**confidant, "service": "other"}, {})
    with pytest.raises(RuntimeFailure, match="mail: there is no such secret") as caught:
        secrets.fetch(["db", "mail"], confidant, {})
    assert caught.value.reason == "configuration"


def test_confidant_may_be_away_for_a_moment(confidant: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy of the secret store is not a reason to fail a night's training."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(Confidant, "failures", 2)
    assert set(secrets.fetch(["db"], confidant, {})) == {"db"}
    monkeypatch.setattr(Confidant, "failures", 100)
    with pytest.raises(RuntimeFailure) as caught:
        secrets.fetch(["db"], confidant, {})
    assert caught.value.reason == "platform"


def test_a_missing_secret_stops_the_job_before_its_command(containers: Any) -> None:
    """Reason CONFIGURATION, naming the secret."""
    secret = {"names": ["db", "mail"], "provider": {"type": "variables"}}
    container = containers.make("sagemaker", ["/bin/echo", "started"], secrets=secret)
    container.variables["LYFTLEARN_SUBSTRATE_SECRET_0_PASSWORD"] = CANARY
    result = container.run()
    assert (result.exit_code, result.facts["reason"]) == (78, "configuration")
    assert result.last_words == "secrets: mail: there is no such secret"
    assert CANARY not in result.report
    assert b"started" not in result.output


SEARCH = r"""
for p in /proc/[0-9]*; do tr '\0' '\n' < $p/cmdline; done 2>/dev/null | grep -c 'canary-7f3a9[b]'
tr '\0' '\n' < /proc/1/environ | grep -c 'canary-7f3a9[b]'
grep -rl 'canary-7f3a9[b]' /lyftlearn /tmp /dev/termination-log /given
echo "Traceback: could not log in with $PASSWORD"
exit 1
"""


def test_the_canary_is_found_nowhere(containers: Any) -> None:
    """Searched: files, argument lists, the runtime's own environment, the report, and what is left after the job."""
    provider = {"type": "files", "path": "/given"}
    command = ["/bin/sh", "-c", SEARCH]
    container = containers.make("kubernetes", command, secrets={"names": ["db"], "provider": provider})
    given = container.directory / "given"
    (given / "db").mkdir(parents=True)
    (given / "db/PASSWORD").write_text(CANARY)
    container.mounts = ["--ro-bind", str(given), "/given"]
    result = container.run()
    expected = ["0", "0", "/lyftlearn/secrets/db/PASSWORD", "/given/db/PASSWORD"]
    assert result.output.decode().splitlines()[:-1] == expected
    assert result.last_words.splitlines()[-1] == "Traceback: could not log in with [secret]"
    (given / "db/PASSWORD").unlink()
    left = [path for path in container.directory.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert left == []


def test_a_secret_across_the_cut_is_masked_first() -> None:
    """Half a password in a status message is most of it."""
    text = "x" * 10 + CANARY + "y" * (700 - len(CANARY) // 2)
    redactor = Redactor({})
    redactor.add([CANARY])
    words = last_words(redactor.redact(text))
    assert "canary" not in words
    assert "do-not-tell" not in words
