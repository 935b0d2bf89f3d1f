"""Secrets from every provider, by Kubernetes' rules, and nowhere else."""

import base64
import json
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import kmsauth
import pytest
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from lyftlearn.runtime import s3, secrets
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.redaction import Redactor
from lyftlearn.runtime.report import last_words
from lyftlearn.runtime.secrets import secret_files

CANARY = "canary-7f3a9b-do-not-tell"
REGION = "us-east-1"


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


@pytest.mark.contract("C-SECRET-2")
def test_later_secrets_win_and_odd_keys_are_files() -> None:
    """Later secrets win; keys that are no variables' names, and values that none can hold, are files only."""
    found = {
        "one": {"USER": b"a", "1ST": b"x", "with space": b"x", "tls.key": b"k", "..bad": b"x", "NUL": b"a\0"},
        "two": {"USER": b"b"},
    }
    assert secrets.environment_variables(found) == {"USER": "b"}


@pytest.mark.contract("C-ENV-1")
def test_env_beats_secrets(containers: Any) -> None:
    """As `env` beats `envFrom` in a pod; and `$(NAME)` may refer to a secret."""
    container = containers.make(
        "local", ["/bin/sh", "-c", "echo $USER $URL"], env={"USER": "env", "URL": "db://$(PASS)"}
    )
    container.document["secrets"] = {"names": ["db"], "provider": {"type": "variables"}}
    container.variables |= {"LYFTLEARN_SUBSTRATE_SECRET_0_USER": "secret", "LYFTLEARN_SUBSTRATE_SECRET_0_PASS": "p4ss"}
    assert container.run().output == b"env db://p4ss\n"


@pytest.mark.contract("C-SUB-6")
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


PAGE = b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body><center><hr>nginx</center></body></html>"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        *((status, PAGE) for status in (301, 400, 401, 403, 404, 407, 410)),
        (404, b"404 page not found\n"),
        (403, b'{"message": "Forbidden"}'),
        (404, b""),
        (404, b"[" * 60_000),
    ],
)
def test_the_page_of_somebody_else_says_nothing_of_a_service(
    confidant: dict[str, Any], monkeypatch: pytest.MonkeyPatch, status: int, content: bytes
) -> None:
    """A load balancer whose targets are being replaced answers 404 for a while: the question is put again."""
    answer, others = Confidant.do_GET, [None] * 3
    monkeypatch.setattr("time.sleep", lambda _: None)

    def in_between(self: Confidant) -> None:
        if not others:
            answer(self)
            return
        others.pop()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    monkeypatch.setattr(Confidant, "do_GET", in_between)
    assert secrets.fetch(["db"], confidant, {})["db"]["USER"] == b"u"
    others += [None] * 100
    with pytest.raises(RuntimeFailure, match=f"status {status} for 127.0.0.1 is not Confidant") as caught:
        secrets.fetch(["db"], confidant, {})
    assert caught.value.reason == "platform"


def test_confidant_refuses_a_token_in_the_words_of_its_framework(
    confidant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `abort(403)` is a page, too: it is known by Werkzeug's sentence, and not repeated."""
    calls: list[int] = []
    for refusal in (Unauthorized(), Forbidden()):

        def refuse(self: Confidant, refusal: HTTPException = refusal) -> None:
            calls.append(1)
            body = refusal.get_body().encode()
            self.send_response(refusal.code or 0)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        monkeypatch.setattr(Confidant, "do_GET", refuse)
        with pytest.raises(RuntimeFailure, match=f"Confidant answered {refusal.code}") as caught:
            secrets.fetch(["db"], confidant, {})
        assert caught.value.reason == "configuration"
    assert len(calls) == 2


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


@pytest.mark.contract("C-SECRET-6")
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


@pytest.mark.contract("C-REPORT-2")
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


def redirecting(target: str) -> Any:
    class Redirecting(Confidant):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target.replace("HERE", self.headers["Host"]))
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Redirecting


def serve(handler: Any) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_the_token_goes_to_no_other_host(confidant: dict[str, Any]) -> None:
    """Whoever may answer once would be given what opens every secret of the service."""
    received: list[str | None] = []

    class Stranger(Confidant):
        def do_GET(self) -> None:
            received.append(self.headers.get("Authorization"))
            self._answer(200, {"credentials": []})

    stranger = serve(Stranger)
    for target in (f"http://127.0.0.1:{stranger.server_port}/", f"//127.0.0.1:{stranger.server_port}/x"):
        redirect = serve(redirecting(target))
        with pytest.raises(RuntimeFailure, match="redirects to another host") as caught:
            secrets.fetch(["db"], {**confidant, "url": f"http://127.0.0.1:{redirect.server_port}"}, {})
        assert caught.value.reason == "configuration"
        redirect.shutdown()
        redirect.server_close()
    stranger.shutdown()
    stranger.server_close()
    assert received == []


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'{"credentials": 1}',
        b'{"credentials": [{"name": "db"}]}',
        b'{"credentials": [null]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_of_confidant(
    confidant: dict[str, Any], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A proxy's page, or another version's answer, is the platform's failure in words, and no traceback."""
    monkeypatch.setattr("time.sleep", lambda _: None)

    class Odd(Confidant):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = serve(Odd)
    with pytest.raises(RuntimeFailure, match="gave no answer") as caught:
        secrets.fetch(["db"], {**confidant, "url": f"http://u:p4ssw0rd@127.0.0.1:{server.server_port}"}, {})
    assert caught.value.reason == "platform"
    assert "p4ssw0rd" not in str(caught.value)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ([{"name": "db", "credential_pairs": {"key": "1", "KEY": "2"}}], "differ in their case alone"),
        ([{"name": "db", "credential_pairs": {key: "1"}} for key in "ab"], "has two of this name"),
        ([{"name": "db", "credential_pairs": {"key": f"{CANARY}\ud800"}}], "one of its values is no text"),
    ],
)
def test_no_key_of_confidant_s_is_lost_in_silence(
    confidant: dict[str, Any], monkeypatch: pytest.MonkeyPatch, credentials: list[Any], words: str
) -> None:
    """One of two values was given to the command, and nobody could tell which."""
    monkeypatch.setattr(Confidant, "do_GET", lambda self: self._answer(200, {"credentials": credentials}))
    with pytest.raises(RuntimeFailure, match=words) as caught:
        secrets.fetch(["db"], confidant, {})
    assert caught.value.reason == "configuration"
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_credential_that_is_disabled_is_in_nobody_s_way(
    confidant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is how one is replaced."""
    both = [{"name": "db", "enabled": key == "b", "credential_pairs": {key: "1"}} for key in "abc"]
    monkeypatch.setattr(Confidant, "do_GET", lambda self: self._answer(200, {"credentials": both}))
    assert secrets.fetch(["db"], confidant, {}) == {"db": {"B": b"1"}}


def test_what_only_looks_like_an_object_is_one_key(aws: str) -> None:
    """A secret may be anything: brackets without end were a traceback, and so was half of a character."""
    client = boto3.client("secretsmanager", endpoint_url=aws, region_name=REGION)
    client.create_secret(Name="brackets", SecretString="[" * 60_000)
    client.create_secret(Name="half", SecretString='{"key": "canary \\ud800"}')
    provider = {"type": "secretsmanager", "region": REGION, "endpoint": aws}
    assert secrets.fetch(["brackets"], provider, {}) == {"brackets": {"value": b"[" * 60_000}}
    with pytest.raises(RuntimeFailure, match="half: one of its values is no text") as caught:
        secrets.fetch(["half"], provider, {})
    assert caught.value.reason == "configuration"
    assert "canary" not in "".join(traceback.format_exception(caught.value))


class SecretsManager(BaseHTTPRequestHandler):
    """BatchGetSecretValue, with errors of single secrets, as its API documents them."""

    errors: dict[str, list[str]]
    calls = 0

    def do_POST(self) -> None:
        type(self).calls += 1
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        values, errors = [], []
        for name in request["SecretIdList"]:
            codes = self.errors.get(name, [])
            if codes:
                errors.append({"SecretId": name, "ErrorCode": codes.pop(0), "Message": "m"})
            else:
                values.append({"Name": name, "ARN": f"arn:{name}", "SecretString": CANARY})
        body = json.dumps({"SecretValues": values, "Errors": errors}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        (["InternalServiceError"] * 2, None),
        (["ThrottlingException"], None),
        (["InternalServiceError"] * 100, "platform"),
        (["AccessDeniedException"] * 100, "configuration"),
        (["DecryptionFailure"] * 100, "configuration"),
        (["ResourceNotFoundException"] * 100, "configuration"),
    ],
)
def test_errors_of_single_secrets(
    aws: str, monkeypatch: pytest.MonkeyPatch, codes: list[str], reason: str | None
) -> None:
    """One of many that fails for a moment is asked for again; what is refused is not."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(SecretsManager, "errors", {"prod/b": list(codes)}, raising=False)
    monkeypatch.setattr(SecretsManager, "calls", 0)
    server = serve(SecretsManager)
    provider = {"type": "secretsmanager", "prefix": "prod/", "region": REGION}
    provider["endpoint"] = f"http://127.0.0.1:{server.server_port}"
    if reason is None:
        assert set(secrets.fetch(["a", "b"], provider, {})) == {"a", "b"}
    else:
        with pytest.raises(RuntimeFailure, match="secrets: b:") as caught:
            secrets.fetch(["a", "b"], provider, {})
        assert (caught.value.reason, CANARY in str(caught.value)) == (reason, False)
        assert (SecretsManager.calls == 1) == (reason == "configuration")
    server.shutdown()
    server.server_close()


@pytest.mark.contract("C-SECRET-4")
def test_keys_with_slashes_are_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`a/b` and `c/b` of one JSON object are two secrets, and two files."""
    monkeypatch.setattr(secret_files, "filesystem", lambda _: "tmpfs")
    (tmp_path / "secrets").mkdir()
    files = secret_files.SecretFiles(str(tmp_path / "secrets"), "tag", None)
    files.write({"db": {"a/b": b"1", "c/b": b"2", "b": b"3"}, "team/x": {"k": b"4"}})
    written = {str(path.relative_to(tmp_path / "secrets")): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {name: path.read_text() for name, path in written.items()} == {
        "db/a/b": "1",
        "db/c/b": "2",
        "db/b": "3",
        "team/x/k": "4",
    }
    files.remove()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "found",
    [
        {"db": {"a": b"1", "a/b": b"2"}},
        {"team": {"x/k": b"1"}, "team/x": {"k": b"2"}},
        {"db": {"../up": b"1"}},
        {"db": {"/etc/passwd": b"1"}},
        {"db": {"": b"1"}},
        {"db": {"x" * 256: b"1"}},
        {"db": {"a//b": b"1"}},
        {"db": {"half \ud800": b"1"}},
    ],
)
def test_keys_that_can_be_no_files(tmp_path: Path, found: Any) -> None:
    """Each is told by its name; none is written elsewhere, and none over another."""
    with pytest.raises(RuntimeFailure, match=r"secrets: .*: the key '.*'") as caught:
        secret_files.SecretFiles(str(tmp_path / "secrets"), "tag", None).write(found)
    assert caught.value.reason == "configuration"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.contract("C-SECRET-3")
@pytest.mark.parametrize("key", ["tls.crt", "with-dash", "1ST", "with space", "a=b"])
def test_odd_keys_are_files_only(containers: Any, key: str) -> None:
    """What Kubernetes makes variables of changed over its versions: programs find these as files everywhere."""
    # A shell would drop variables that it cannot name, and hide the fault.
    script = "import os; print(open(os.environ['LYFTLEARN_SECRETS_DIR'] + '/db/' + os.environ['KEY']).read(), end='')"
    script += f"; print(sum({CANARY!r} in value for value in os.environ.values()))"
    provider = {"type": "files", "path": "/given"}
    container = containers.make("kubernetes", ["python3", "-c", script], env={"KEY": key})
    container.document["secrets"] = {"names": ["db"], "provider": provider}
    given = container.directory / "given"
    (given / "db").mkdir(parents=True)
    (given / "db" / key).write_text(CANARY)
    container.mounts = ["--ro-bind", str(given), "/given"]
    assert container.run().output == CANARY.encode() + b"0\n"


@pytest.mark.parametrize("substrate", ["kubernetes", "sagemaker", "local"])
@pytest.mark.parametrize("word", ["$(PASSWORD)", "/bin/$(PASSWORD)"])
def test_a_command_with_a_secret_in_it_cannot_be_executed(containers: Any, substrate: str, word: str) -> None:
    """What was written is shown, and not what it stands for."""
    secret = {"names": ["db"], "provider": {"type": "variables"}}
    container = containers.make(substrate, [word], secrets=secret)
    container.document["job"] = {**container.document["job"], "id": f"canary-{container.directory.parent.name}"}
    container.variables["LYFTLEARN_SUBSTRATE_SECRET_0_PASSWORD"] = CANARY
    result = container.run()
    assert (result.exit_code, result.facts["reason"]) == (127, "image")
    assert word in result.last_words
    assert CANARY.encode() not in result.output
    assert CANARY not in result.report


@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
@pytest.mark.parametrize("ending", ["\n", "\r\nX-Other: 1", " \n"])
def test_a_credential_with_a_line_s_end(containers: Any, name: str, ending: str) -> None:
    """`$(cat token)` of a file that someone made by hand: said in words, and its value by nobody."""
    container = containers.make("local", ["true"], inputs={"train": {"uri": "s3://bucket/key"}})
    container.variables |= {"AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": REGION}
    container.variables |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", name: CANARY + ending}
    result = container.run()
    assert result.exit_code in (70, 78)
    assert b"Traceback" not in result.output
    assert CANARY.encode() not in result.output
    assert CANARY not in result.report


@pytest.mark.contract("C-SECRET-7")
def test_every_line_of_a_key_is_a_secret() -> None:
    """A private key is printed line by line, and each line is a part of it."""
    redactor = Redactor({"AWS_SESSION_TOKEN": f"{CANARY}\n"})
    redactor.add(["-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n", "abc"])
    text = f"token {CANARY!r}, a line MIIEvQIBADANBgkq and abc"
    assert redactor.redact(text) == "token '[secret]', a line [secret] and abc"
