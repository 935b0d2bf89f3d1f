"""Who may do what, and what is said to those who may not. The Role of the documentation is the one that is used."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import yaml  # type: ignore[import-untyped]

from lyftlearn.backend import BackendSettings, Check, JobQuery, Verdict
from lyftlearn.errors import AccessDenied, BackendUnavailable, InvalidJob, LyftLearnError, QuotaExceeded
from lyftlearn.testing import Harness
from lyftlearn.types import JobStatus
from lyftlearn_kubernetes.backend import KubernetesBackend
from tests.doubles.cluster.access import Access, Caller
from tests.doubles.cluster.cluster import NAMESPACE, Cluster
from tests.doubles.cluster.service_accounts import token_of
from tests.doubles.cluster.store import ApiError, Object

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "how-to" / "kubernetes.md"
TOKEN, WEAK, NO_EVENTS = "documented", "weak", "no-events"
NewHarness = Callable[..., Harness]


def documented_rules() -> list[dict[str, Any]]:
    """The Role that the documentation gives."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    documents = [one for block in blocks for one in yaml.safe_load_all(block) if isinstance(one, dict)]
    (role,) = (document for document in documents if document.get("kind") == "Role")
    rules: list[dict[str, Any]] = role["rules"]
    return rules


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that lets in the documented Role, and two that may only read."""
    readers = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]}]
    watchers = [{"apiGroups": ["batch", ""], "resources": ["jobs", "pods"], "verbs": ["get", "list"]}]
    callers = {TOKEN: Caller("ci", documented_rules()), WEAK: Caller("guest", readers)}
    tuner = {token_of("tuner"): Caller(f"system:serviceaccount:{NAMESPACE}:tuner", documented_rules())}
    access = Access({**callers, NO_EVENTS: Caller("watcher", watchers), **tuner})
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), access)
    cluster.create_account("tuner")
    yield cluster
    cluster.close()


@pytest.fixture
def table(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    volume = {"hostPath": str(tmp_path), "mountPath": str(tmp_path)}
    searches = {"tune": {"service_account": "tuner"}}
    return {"kubeconfig": str(cluster.kubeconfig(TOKEN)), "volumes": [volume], "starting": "3s", **searches}


def checks(backend: KubernetesBackend) -> dict[str, Check]:
    return {check.name: check for check in backend.diagnose()}


def test_the_documented_role_is_enough(harness: Harness) -> None:
    """Whoever grants what the page says must not be asked for more at night."""
    spec = harness.spec("import time; print('up', flush=True); time.sleep(600)", nodes=2)
    harness.submit(spec)
    harness.until_line(spec.id, "up")
    harness.backend.stop(spec.id)
    assert harness.wait(spec.id).status is JobStatus.STOPPED
    assert [record.id for record in harness.backend.list(JobQuery(name=spec.name))] == [spec.id]
    harness.backend.outputs(spec.id)
    found = checks(harness.backend)  # type: ignore[arg-type]
    assert {check.verdict for check in found.values()} == {Verdict.OK}, found


def test_doctor_names_what_is_missing(new_backend: Callable[..., KubernetesBackend], cluster: Cluster) -> None:
    """The remedy is a Role, and its verbs are what one needs to know."""
    found = checks(new_backend(kubeconfig=str(cluster.kubeconfig(WEAK, name="weak"))))
    assert found["permissions"].verdict is Verdict.FAILED
    assert "create jobs" in found["permissions"].detail
    assert "get pods/log" in found["permissions"].detail
    assert "get jobs" not in found["permissions"].detail
    assert "create pods/portforward" in found["notebooks"].detail
    assert found["quota"].verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("own_table", "name", "verdict", "said"),
    [
        ({}, "searches", Verdict.WARNING, "by the service account default, which may not create jobs, get jobs"),
        ({"tune": {"service_account": "default"}}, "searches", Verdict.FAILED, "docs/how-to/kubernetes.md"),
        ({"tune": {"service_account": "tuner"}}, "searches", Verdict.OK, "tuner may submit their trials"),
        ({"service_account": "tunner"}, "service accounts", Verdict.FAILED, "has no service account tunner"),
        (
            {"models": {"eta": {"tune": {"service_account": "of-eta"}}}},
            "service accounts",
            Verdict.FAILED,
            "has no service account of-eta",
        ),
    ],
)
def test_doctor_knows_what_drivers_of_searches_may_do(
    new_backend: Callable[..., KubernetesBackend], own_table: dict[str, Any], name: str, verdict: Verdict, said: str
) -> None:
    """A driver asks the cluster as its own account, hours after the call; else only its log would say what it lacks."""
    found = checks(new_backend(**{"tune": {}, **own_table}))
    assert found[name].verdict is verdict, found
    assert said in found[name].detail


def test_doctor_says_that_it_cannot_know(new_backend: Callable[..., KubernetesBackend], cluster: Cluster) -> None:
    """Who may not ask about others gets the command that an administrator can type."""
    found = checks(new_backend(kubeconfig=str(cluster.kubeconfig(WEAK, name="weak"))))["searches"]
    assert found.verdict is Verdict.WARNING
    assert f"kubectl auth can-i create jobs -n {NAMESPACE} --as system:serviceaccount:{NAMESPACE}:tuner" in found.detail


def test_a_pod_whose_account_is_not_there(new_harness: NewHarness) -> None:
    """The Job is accepted, and no pod is: the job's end says why."""
    harness = new_harness(service_account="tunner", pending="2s")
    spec = harness.spec()
    harness.submit(spec)
    state = harness.wait(spec.id)
    assert state.status is JobStatus.FAILED
    assert 'serviceaccount "tunner" not found' in state.message, state


def test_doctor_shows_a_quota_that_is_full(backend: KubernetesBackend, cluster: Cluster) -> None:
    """Jobs that wait for a quota look like jobs that wait for a machine."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "compute"},
        "status": {"hard": {"pods": "10"}, "used": {"pods": "10"}},
    }
    cluster.store.create("resourcequotas", NAMESPACE, quota)
    assert checks(backend)["quota"] == Check("quota", Verdict.WARNING, "compute: pods 10 of 10")
    cluster.store.delete("resourcequotas", NAMESPACE, "compute")


def test_doctor_knows_whom_hostpath_volumes_shut_out(new_backend: Callable[..., KubernetesBackend]) -> None:
    """A pod's fsGroup opens every volume to its user but those of a node: else the first job would find that out."""
    found = checks(new_backend(user="1000:1000"))
    assert found["volumes"].verdict is Verdict.WARNING
    assert "1000:1000" in found["volumes"].detail
    assert "volumes" not in checks(new_backend())


def test_doctor_misses_a_namespace(new_backend: Callable[..., KubernetesBackend]) -> None:
    """Kubernetes answers a list in a namespace that does not exist with nothing, as if all were well."""
    found = checks(new_backend(namespace="mll"))
    assert found["namespace"].verdict is Verdict.FAILED
    assert "mll" in found["namespace"].detail


def test_doctor_without_a_cluster(tmp_path: Path) -> None:
    """It is asked exactly when nothing works."""
    table = {"kubeconfig": str(tmp_path / "none")}
    backend = KubernetesBackend(BackendSettings(name="kubernetes", table=table, home=tmp_path, storage_url="s3://b/p"))
    assert checks(backend)["cluster"].verdict is Verdict.FAILED
    assert "none" in checks(backend)["cluster"].detail


def test_a_missing_permission_is_named(new_harness: NewHarness, cluster: Cluster) -> None:
    """`Forbidden` alone sends people to search."""
    harness = new_harness(kubeconfig=str(cluster.kubeconfig(WEAK, name="weak")))
    with pytest.raises(AccessDenied, match="'create' on configmaps"):
        harness.submit(harness.spec())


def test_an_unknown_caller(new_harness: NewHarness, cluster: Cluster) -> None:
    """An expired login must not look like a missing permission."""
    harness = new_harness(kubeconfig=str(cluster.kubeconfig("expired", name="expired")))
    with pytest.raises(AccessDenied, match="log in again"):
        harness.submit(harness.spec())


def test_a_namespace_that_is_not_there(new_harness: NewHarness) -> None:
    """A typing error in the configuration, so it is told as one."""
    harness = new_harness(namespace="mll")
    with pytest.raises(InvalidJob) as caught:
        harness.submit(harness.spec())
    assert caught.value.faults[0][0] == "kubernetes.namespace"


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (403, 'jobs.batch "x" is forbidden: exceeded quota: batch, requested: count/jobs.batch=1', QuotaExceeded),
        (403, 'admission webhook "policy.example.com" denied the request: no team label', AccessDenied),
        (400, 'admission webhook "policy.example.com" denied the request: no team label', AccessDenied),
        (422, 'Job.batch "x" is invalid: spec.template: no', InvalidJob),
        (429, "too many requests", BackendUnavailable),
        (500, "etcdserver: request timed out", BackendUnavailable),
    ],
)
def test_refusals(harness: Harness, cluster: Cluster, code: int, message: str, error: type[LyftLearnError]) -> None:
    """Each is in the tree, keeps the cluster's own words, and says whether the job may have been accepted."""

    def refuse(verb: str, kind: str, item: Object) -> None:
        if kind == "jobs":
            raise ApiError(code, "Refused", message)

    cluster.api.admission.append(refuse)
    spec = harness.spec()
    try:
        with pytest.raises(error) as caught:
            harness.submit(spec)
    finally:
        cluster.api.admission.remove(refuse)
    assert message in str(caught.value)
    assert getattr(caught.value, "job_id", None) == (spec.id if code == 500 else None)


def test_a_field_that_the_cluster_does_not_know(new_harness: NewHarness) -> None:
    """A typing error in a configured sidecar is refused with its place, not ignored."""
    harness = new_harness(sidecars=[{"name": "x", "image": "y", "comand": ["z"]}])
    with pytest.raises(InvalidJob, match="comand"):
        harness.submit(harness.spec())


PLUGIN = """
import json, os, sys
assert json.loads(os.environ["KUBERNETES_EXEC_INFO"])["spec"] == {"interactive": False}
with open(sys.argv[1], "a") as file:
    file.write("asked\\n")
with open(sys.argv[1]) as file:
    token = sys.argv[2] if len(file.readlines()) > int(sys.argv[3]) else "expired"
version = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["apiVersion"]
print(json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": {"token": token}}))
"""


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("refused", [0, 1])
def test_an_exec_plugin(new_harness: NewHarness, cluster: Cluster, tmp_path: Path, version: str, refused: int) -> None:
    """Managed clusters hand out short tokens by a program; it is asked once, and again when its token is refused."""
    asked = tmp_path / "asked"
    plugin = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "command": sys.executable,
        "args": ["-c", PLUGIN, str(asked), TOKEN, str(refused)],
        "interactiveMode": "Never",
    }
    path = cluster.kubeconfig(name=f"exec-{version}-{refused}")
    document = json.loads(path.read_text())
    document["users"][0]["user"] = {"exec": plugin}
    path.write_text(json.dumps(document))
    harness = new_harness(kubeconfig=str(path))
    harness.submit(harness.spec())
    harness.submit(harness.spec())
    assert len(asked.read_text().splitlines()) == 1 + refused


GIVES = """
import json
status = {"token": "c4n4ry-t0-be-hidden"}
print(json.dumps({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status}))
"""


class Echo:
    """Refuses every request, with the credentials that it came with."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                message = f"no right for Authorization: {self.headers['Authorization']}"
                status = {"kind": "Status", "apiVersion": "v1", "code": 403, "reason": "Forbidden", "message": message}
                body = json.dumps(status).encode()
                self.send_response(403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_an_exec_plugin_that_fails(new_harness: NewHarness, cluster: Cluster) -> None:
    """What the program says is the only help there is."""
    path = cluster.kubeconfig(name="exec-broken")
    document = json.loads(path.read_text())
    code = "import sys; sys.exit('x' * 9999 + ' id_token=SECRET-of-the-plugin please run: cloud login')"
    args = ["-c", code]
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": args}
    document["users"][0]["user"] = {"exec": plugin}
    path.write_text(json.dumps(document))
    harness = new_harness(kubeconfig=str(path))
    with pytest.raises(AccessDenied, match="please run: cloud login") as caught:
        harness.submit(harness.spec())
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "user",
    [
        {"token": "c4n4ry-t0-be-hidden"},
        {"username": "ci", "password": "c4n4ry-t0-be-hidden"},
        {"exec": {"command": sys.executable, "apiVersion": "client.authentication.k8s.io/v1", "args": ["-c", GIVES]}},
    ],
    ids=lambda user: next(iter(user)),
)
def test_whoever_repeats_credentials_does_not_tell_them(
    new_harness: NewHarness, cluster: Cluster, tmp_path: Path, user: dict[str, Any]
) -> None:
    """A gateway before the API server may quote a request that it refuses, with all its headers."""
    with Echo() as echo:
        path = cluster.kubeconfig(name="echo", url=echo.url)
        document = json.loads(path.read_text())
        document["users"][0]["user"] = user
        path.write_text(json.dumps(document))
        harness = new_harness(kubeconfig=str(path))
        with pytest.raises(AccessDenied, match=r"(Bearer|Basic) \[hidden\]") as caught:
            harness.backend.describe("eta-tkabcdefghij2")
    assert "c4n4ry" not in str(caught.value)


def test_kubeconfigs_are_merged(
    new_harness: NewHarness, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`KUBECONFIG` may name several files, and a context may use a user of another one."""
    document = json.loads(cluster.kubeconfig(TOKEN).read_text())
    (tmp_path / "users").write_text(json.dumps({"users": document.pop("users")}))
    (tmp_path / "contexts").write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/contexts:{tmp_path}/users:{tmp_path}/missing")
    harness = new_harness(kubeconfig=None)
    table = {key: value for key, value in harness.backend._settings.table.items() if key != "kubeconfig"}  # type: ignore[attr-defined]
    settings = replace(harness.backend._settings, table={**table, "context": "test"})  # type: ignore[attr-defined]
    backend = KubernetesBackend(settings)
    assert list(backend.list(JobQuery(name="nobody"))) == []


def test_a_pods_own_account(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that runs in the cluster has no kubeconfig, and its token changes every hour."""
    from lyftlearn_kubernetes.api import access

    account = tmp_path / "account"
    account.mkdir()
    for name, text in {"token": TOKEN, "namespace": NAMESPACE, "ca.crt": ""}.items():
        (account / name).write_text(text)
    monkeypatch.setattr(access, "SERVICE_ACCOUNT", str(account))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    backend = KubernetesBackend(BackendSettings(name="kubernetes", table={}, home=tmp_path, storage_url="s3://b/p"))
    assert backend._cluster.access.server == "https://10.0.0.1:443"
    assert backend._cluster.namespace == NAMESPACE
    assert backend._cluster.access.user == {"tokenFile": str(account / "token")}


def test_timings_where_events_may_not_be_read(harness: Harness, new_harness: NewHarness, cluster: Cluster) -> None:
    """What a Role does not grant costs a detail, and no answer."""
    spec = harness.succeed(harness.spec())
    reader = new_harness(kubeconfig=str(cluster.kubeconfig(NO_EVENTS)))
    assert reader.backend.timings(spec.id).phases[-1].finished_at is not None
