"""Kubeconfigs as people have them: who asks, through which proxy, and what is refused by name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from lyftlearn.errors import AccessDenied, LyftLearnError
from lyftlearn_kubernetes.api import access, kubeconfig
from lyftlearn_kubernetes.api.cluster import Cluster
from lyftlearn_kubernetes.api.errors import ApiError, NoResponse
from lyftlearn_kubernetes.api.exec_plugin import ExecPlugin
from lyftlearn_kubernetes.api.proxy import find as find_proxy
from lyftlearn_kubernetes.api.proxy import uses_proxy
from lyftlearn_kubernetes.options import DEFAULTS
from tests.doubles.cluster.access import Access, Caller
from tests.doubles.cluster.server import ApiServer
from tests.doubles.cluster.store import Store

CANARY = "canary-7f3a"
ROLE = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
Write = Callable[..., Path]


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A server that knows an administrator, and one who may list pods."""
    api = ApiServer(Store(), lambda *_: iter(()), access=Access({"root": Caller("root"), "weak": Caller("weak", ROLE)}))
    api.start()
    yield api
    api.stop()


@pytest.fixture
def write(tmp_path: Path, api: ApiServer) -> Write:
    """Write a kubeconfig; `user` and `cluster` come on top of what works."""

    def make(user: Any = None, cluster: Any = None, **top: Any) -> Path:
        document = {
            "clusters": [{"name": "c", "cluster": {"server": api.url, **(cluster or {})}}],
            "users": [{"name": "u", "user": {"token": "root", **(user or {})}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
            "current-context": "x",
            **top,
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    return make


def connect(path: Path) -> Cluster:
    return Cluster(DEFAULTS._replace(kubeconfig=str(path)))


def test_a_user_that_stands_for_another(write: Write, api: ApiServer) -> None:
    """A job that is made as the stronger of the two has rights that somebody took care to take away."""
    user = {
        "as": "weak",
        "as-uid": "42",
        "as-groups": ["readers", "équipe"],
        "as-user-extra": {"scopes/Team%": ["view", "list"]},
    }
    cluster = connect(write(user))
    assert list(cluster.list("pods")) == []
    with pytest.raises(ApiError, match='"weak" cannot list resource "jobs"'):
        list(cluster.list("jobs"))
    seen = api.access.seen[-1]
    assert (seen.name, seen.uid, len(seen.groups)) == ("weak", "42", 2)
    assert seen.groups[1].encode("latin-1").decode() == "équipe"
    assert seen.extra == (("scopes%2fteam%25", "view"), ("scopes%2fteam%25", "list"))


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"as-group": ["x"]}, "as-group is not known"),
        ({"as-groups": ["x"]}, "need `as`"),
        ({"as": 5}, "as has to be a text"),
        ({"as": "x", "as-groups": "y"}, "as-groups has to be a list of texts"),
        ({"as": "x", "as-user-extra": {"k": "v"}}, "as-user-extra.k has to be a list"),
        ({"as": "x\r\nImpersonate-User: root"}, "control character"),
        ({"token": f"{CANARY}\n"}, "the token of the kubeconfig cannot be sent"),
        ({"token": f"{CANARY} {CANARY}"}, "the token of the kubeconfig cannot be sent"),
        ({"token": 12345}, "token has to be a text"),
        ({"exec": "aws"}, "exec has to be a table"),
        (
            {"token": None, "exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "shell": "y"}},
            "shell",
        ),
        ({"token": None, "auth-provider": {"name": "gcp"}}, "auth-provider"),
    ],
)
def test_a_user_that_is_refused(write: Write, user: dict[str, Any], words: str) -> None:
    """What is not understood might have meant fewer rights; its name is what one needs to know, its value nobody."""
    with pytest.raises(LyftLearnError) as caught:
        list(connect(write(user)).list("pods"))
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"server": "https://h:port"}, "port is no number"),
        ({"server": "https://h:99999"}, "port is no number"),
        ({"server": "ftp://h"}, "write https://"),
        ({"server": "https://"}, "write https://"),
        ({"server": f"https://me:{CANARY}@h"}, "it holds a user"),
        ({"server": f"https://h/?token={CANARY}"}, "it has a query"),
        ({"server": "https://[::1"}, "no way to a Kubernetes cluster"),
        ({"server": 6443}, "server has to be a text"),
        ({"insecure-skip-tls-verify": "yes"}, "insecure-skip-tls-verify has to be true or false"),
        ({"certificate-authority": "/x", "insecure-skip-tls-verify": True}, "exclude each other"),
        ({"proxyurl": "http://p"}, "proxyurl is not known"),
        ({"proxy-url": f"socks5://me:{CANARY}@p:1080"}, "socks5://p"),
        ({"proxy-url": f"http://me:{CANARY}@p:port"}, "no valid host or port"),
        ({"proxy-url": f"http://me:{CANARY}@[p"}, "no valid host or port"),
    ],
)
def test_a_cluster_that_is_refused(write: Write, cluster: dict[str, Any], words: str) -> None:
    """Each is a typing error that somebody made; a traceback, or a password in an error, helps nobody."""
    if cluster.get("insecure-skip-tls-verify") is True:
        cluster = {**cluster, "server": "https://127.0.0.1:1"}
    with pytest.raises(LyftLearnError) as caught:
        list(connect(write(cluster=cluster)).list("pods"))
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "text",
        "clusters: {}",
        "clusters: [x]",
        "clusters: [{cluster: {}}]",
        "clusters: [{name: c, cluster: x}]",
        "users: 5",
        f"users: [{{name: u, user: {{token: *{CANARY}}}}}]",
        f"token: '{CANARY}",
        "a: b: c",
        "--- 1\n--- 2",
        "\tclusters: []",
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    """The parser's own words quote the file, and the file has tokens in it."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(LyftLearnError, match="no way to a Kubernetes cluster") as caught:
        access.find(DEFAULTS._replace(kubeconfig=str(path)))
    assert CANARY not in str(caught.value)
    assert "object has no attribute" not in str(caught.value)


def test_a_server_without_a_scheme(write: Write) -> None:
    """client-go reads it as http, or as https where TLS is configured."""
    assert access.find(DEFAULTS._replace(kubeconfig=str(write(cluster={"server": "h:8080"})))).server == "http://h:8080"
    cluster = {"server": "h", "insecure-skip-tls-verify": True}
    assert access.find(DEFAULTS._replace(kubeconfig=str(write(cluster=cluster)))).server == "https://h"


@pytest.mark.parametrize(
    "top",
    [
        {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "Not One"}}]},
        {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "nobody"}}]},
        {"contexts": [{"name": "x", "context": {"cluster": "elsewhere"}}]},
        {"contexts": [{"name": "x", "context": {}}]},
        {"current-context": "y"},
        {"current-context": None},
        {"current-context": ["x"]},
    ],
)
def test_a_context_that_leads_nowhere(write: Write, top: dict[str, Any]) -> None:
    """Nothing was sent, so nothing of it may look like an answer that is missing."""
    with pytest.raises(LyftLearnError, match="no way to a Kubernetes cluster"):
        list(connect(write(**top)).list("pods"))


@pytest.mark.parametrize(
    ("kind", "key"), [("user", "as"), ("cluster", "certificate-authority"), ("context", "namespace")]
)
def test_a_line_that_is_not_indented(write: Write, kind: str, key: str) -> None:
    """A job that was to be made as a weaker user was made as the stronger one, without a word."""
    document = yaml.safe_load(write().read_text())
    document[f"{kind}s"][0][key] = "weak"
    with pytest.raises(LyftLearnError, match=f"{key} stands beside {kind}, where it says nothing: indent it"):
        list(connect(write(**document)).list("pods"))


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"certificate-authority-data": "!!!"}, "base64"),
        ({"certificate-authority-data": " "}, "empty"),
        ({"certificate-authority": "gone.crt"}, "gone.crt"),
    ],
)
def test_an_authority_that_is_none(write: Write, cluster: dict[str, Any], words: str) -> None:
    """Else every authority that this machine knows was trusted in its place."""
    with pytest.raises(LyftLearnError, match=words):
        list(connect(write(cluster={"server": "https://127.0.0.1:1", **cluster})).list("pods"))


@pytest.mark.parametrize("server", ["http://.example.com", f"http://{'x' * 64}.example.com", "http://exa_mple..com"])
def test_a_host_that_nobody_can_have(write: Write, server: str) -> None:
    """Python's own codec raises a UnicodeError for these, of which nobody has heard."""
    with pytest.raises(NoResponse) as caught:
        list(connect(write(cluster={"server": server})).list("pods"))
    assert not caught.value.sent


def test_a_byte_order_mark(write: Write) -> None:
    """Editors of some systems put one at the beginning."""
    path = write()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(connect(path).list("pods")) == []


# golang.org/x/net/http/httpproxy, useProxy; the first column is NO_PROXY.
@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "through"),
    [
        ("", "api.example.com", 443, True),
        ("", "127.0.0.1", 6443, False),
        ("", "127.8.9.10", 6443, False),
        ("", "localhost", 6443, False),
        ("", "::1", 6443, False),
        ("", "::ffff:127.0.0.1", 6443, False),
        ("", "localhost.example.com", 443, True),
        ("*", "api.example.com", 443, False),
        ("a, *", "10.0.0.1", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, False),
        ("10.1.2.3/8", "10.200.0.1", 443, False),
        ("10.0.0.0/8", "11.1.2.3", 443, True),
        ("10.0.0.0/255.0.0.0", "10.1.2.3", 443, True),
        ("10.0.0.1", "10.0.0.1", 443, False),
        ("10.0.0.1:6443", "10.0.0.1", 6443, False),
        ("10.0.0.1:6443", "10.0.0.1", 443, True),
        ("fd00::/8", "fd12::1", 443, False),
        ("[fd12::1]:6443", "fd12::1", 6443, False),
        ("[fd12::1]:6443", "fd12::1", 443, True),
        ("fd12::1", "fd12::1", 443, False),
        ("[fd12::1]", "fd12::1", 443, True),
        ("example.com", "example.com", 443, False),
        ("example.com", "api.example.com", 443, False),
        ("example.com", "badexample.com", 443, True),
        (".example.com", "api.example.com", 443, False),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "api.example.com", 443, False),
        ("*.example.com", "example.com", 443, True),
        ("example.com:6443", "api.example.com", 6443, False),
        ("example.com:6443", "api.example.com", 443, True),
        ("EXAMPLE.com", "api.example.com", 443, False),
        (" example.com , other", "example.com", 443, False),
        (":6443", "example.com", 6443, True),
        ("api.*.com", "api.example.com", 443, True),
        ("münchen.example", "xn--mnchen-3ya.example", 443, False),
    ],
)
def test_who_goes_around_the_proxy(no_proxy: str, host: str, port: int, through: bool) -> None:
    """Two programs on one machine must agree on the way to one cluster, and kubectl was there first."""
    assert uses_proxy(host, port, no_proxy) is through


@pytest.mark.parametrize(
    ("variables", "scheme", "host"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https", "p"),
        ({"https_proxy": "p:1"}, "https", "p"),
        ({"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"}, "https", "upper"),
        ({"HTTP_PROXY": "http://p:1"}, "https", None),
        ({"ALL_PROXY": "http://p:1"}, "https", None),
        ({"HTTP_PROXY": "http://p:1"}, "http", "p"),
    ],
)
def test_the_environments_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], scheme: str, host: str | None
) -> None:
    """Go reads these variables in this order, and no ALL_PROXY."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = kubeconfig.server_url({"server": f"{scheme}://api.example.com"})
    proxy = find_proxy(server, None)
    assert (proxy.host if proxy else None) == host


ANSWER = """#!{python}
import json, os
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
print(json.dumps({{"kind": "ExecCredential", "apiVersion": info["apiVersion"], "status": {{"token": "root"}}}}))
with open({seen!r}, "w") as file:
    json.dump(info, file)
"""
V1 = "client.authentication.k8s.io/v1"


def answer(**fields: Any) -> str:
    """What a plugin prints."""
    return json.dumps({"kind": "ExecCredential", "apiVersion": V1, **fields})


def test_a_plugin_beside_its_kubeconfig(write: Write, tmp_path: Path) -> None:
    """Its path is relative to the file that names it, and it is told of the cluster where it asks for that."""
    seen = tmp_path / "seen.json"
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "login"
    script.write_text(ANSWER.format(python=sys.executable, seen=str(seen)))
    script.chmod(0o755)
    (tmp_path / "ca.crt").write_text("")
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "prod"}}
    plugin = {"command": "bin/login", "apiVersion": V1, "provideClusterInfo": True, "interactiveMode": "Never"}
    cluster = {"extensions": [extension], "tls-server-name": "api"}
    assert list(connect(write({"token": None, "exec": plugin}, cluster)).list("pods")) == []
    told = json.loads(seen.read_text())["spec"]["cluster"]
    assert told["config"] == {"audience": "prod"}
    assert told["tls-server-name"] == "api"
    assert told["server"].startswith("http://127.0.0.1")


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", "not JSON"),
        (CANARY, "not JSON"),
        ("[]", "no ExecCredential"),
        ('{"kind": "Other"}', "no ExecCredential"),
        (answer(apiVersion="client.authentication.k8s.io/v1alpha1"), "v1alpha1"),
        (answer(), "no status"),
        (answer(status=[]), "no status"),
        (answer(status={}), "no token"),
        (answer(status={"token": 5}), "no text"),
        (answer(status={"token": f"{CANARY}\n"}), "cannot be sent"),
        (answer(status={"token": CANARY, "expirationTimestamp": "soon"}), "expirationTimestamp"),
    ],
)
def test_a_plugin_that_answers_oddly(printed: str, words: str) -> None:
    """Its author needs to know what is wrong with the answer, and nobody may read the token."""
    plugin = {"command": sys.executable, "args": ["-c", f"print({printed!r})"], "apiVersion": V1}
    with pytest.raises(LyftLearnError) as caught:
        ExecPlugin(plugin, {})(None)
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("expires", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59"])
def test_a_token_that_ends_where_time_does(expires: str) -> None:
    """Go writes the first of these for a time that nobody set."""
    status = {"token": CANARY, "expirationTimestamp": expires}
    version = "client.authentication.k8s.io/v1"
    printed = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
    plugin = ExecPlugin({"command": "echo", "args": [printed], "apiVersion": version}, {})
    assert [plugin(None), plugin(None)] == [f"Bearer {CANARY}"] * 2


@pytest.mark.parametrize("extensions", ["x", [1], {"a": 1}])
def test_extensions_that_are_none(write: Write, extensions: Any) -> None:
    """A plugin is told of them, so they are read."""
    with pytest.raises(LyftLearnError, match="extensions has to be a list of tables"):
        list(connect(write(cluster={"extensions": extensions})).list("pods"))


def test_a_plugin_that_is_told_a_day(write: Write, tmp_path: Path) -> None:
    """YAML has days, and JSON none."""
    script = tmp_path / "plugin"
    script.write_text(f"#!/bin/sh\necho $KUBERNETES_EXEC_INFO > {tmp_path}/told\nexit 1\n")
    script.chmod(0o755)
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"since": date(2024, 1, 31)}}
    told = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "provideClusterInfo": True}
    cluster = connect(write(user={"token": None, "exec": told}, cluster={"extensions": [extension]}))
    with pytest.raises(AccessDenied):
        list(cluster.list("pods"))
    assert json.loads((tmp_path / "told").read_text())["spec"]["cluster"]["config"] == {"since": "2024-01-31"}


def test_a_plugin_that_is_not_installed() -> None:
    """The kubeconfig itself says where to get it."""
    plugin = {"command": "no-such-login", "apiVersion": V1, "installHint": "brew install no-such-login"}
    with pytest.raises(AccessDenied, match=r"it is not there\. brew install no-such-login"):
        ExecPlugin(plugin, {})(None)


def test_a_plugin_that_wants_a_terminal() -> None:
    """It would wait for an answer that nobody can give."""
    with pytest.raises(AccessDenied, match="needs a terminal"):
        ExecPlugin({"command": "x", "apiVersion": V1, "interactiveMode": "Always"}, {})
