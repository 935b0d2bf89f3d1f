"""Plans as plain data, against the schemas of the oldest and the newest version of Kubernetes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings, JobSpec, Plan, ResourceRequest
from lyftlearn.testing import Harness
from lyftlearn.types import JobKind
from lyftlearn_kubernetes.backend import KubernetesBackend
from lyftlearn_kubernetes.doctor import OLDEST
from tests.doubles.cluster import validation
from tests.doubles.cluster.kueue import hold_back
from tests.doubles.cluster.store import ApiError

VERSIONS = ["1.29", "1.37"]
KINDS = {"create ConfigMap": "configmaps", "create Service": "services", "create Job": "jobs"}
EVERYTHING = """
namespace = "ml"
service_account = "trainer"
image_pull_secrets = ["registry"]
priority_class = "batch"
queue = "research"
user = "1000:1000"
metrics = "statsd.example.com:8125"
restarts = 2
keep = "1d"
pending = "2h"
starting = "5m"
node_selector = { pool = "ml" }
labels = { repository = "eta" }
annotations = { "sidecar.istio.io/inject" = "false" }

[[tolerations]]
key = "ml"
operator = "Exists"

[statsd]
image = "example.com/statsd:1"

[[sidecars]]
name = "proxy"
image = "example.com/proxy:1"

[gpus.A10G]
selector = { "nvidia.com/gpu.product" = "NVIDIA-A10G" }
tolerations = [{ key = "nvidia.com/gpu", operator = "Exists" }]

[[volumes]]
persistentVolumeClaim = "shared"
mountPath = "/data"
readOnly = true
"""
BIG = ResourceRequest(cpu=3.5, memory=16 << 30, gpu=2, gpu_type="A10G", disk=100 << 30, shared_memory=8 << 30)


@pytest.fixture
def new(tmp_path: Path) -> Callable[..., KubernetesBackend]:
    """Make a backend that has no cluster."""

    def make(table: dict[str, Any] | None = None, storage: str = "s3://bucket/ml") -> KubernetesBackend:
        return KubernetesBackend(
            BackendSettings(name="kubernetes", table=table or {}, home=tmp_path, storage_url=storage)
        )

    return make


def spec(backend: KubernetesBackend, **changes: Any) -> JobSpec:
    defaults: dict[str, Any] = {"image": "example.com/base:1", "name": "eta", "digest": "d"}
    return Harness(backend, "s3://bucket/ml", ("python3",), 60).spec("print()", **{**defaults, **changes})


def job(plan: Plan) -> dict[str, Any]:
    return dict(plan.requests[-1].body)


def container(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = job(plan)["spec"]["template"]["spec"]["containers"][0]
    return found


def bundle(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(job(plan)["spec"]["template"]["metadata"]["annotations"]["lyftlearn/bundle"])
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("table", [{}, tomllib.loads(EVERYTHING)], ids=["defaults", "everything"])
@pytest.mark.parametrize("nodes", [1, 4])
def test_every_object_is_valid(new: Callable[..., KubernetesBackend], version: str, table: Any, nodes: int) -> None:
    """A field that a version does not know, or a number where a text belongs, would be refused only on the cluster."""
    backend = new(table)
    resources = BIG if table else spec(backend).resources
    plan = backend.plan(
        spec(backend, nodes=nodes, resources=resources, secrets=("db", "token"), labels={"team": "eta"})
    )
    assert plan.faults == ()
    for request in plan.requests:
        assert validation.faults(KINDS[request.operation], dict(request.body), version) == []


TEXTS = (
    "a",
    "A",
    "a.b",
    "a..b",
    "-a",
    "a-",
    "a b",
    "a_b",
    "A_b.C",
    "a/b",
    "x" * 63,
    "x" * 64,
    ".".join("x" * 200),
    "é",
    "a\n",
)
KEYS = (
    *TEXTS,
    "example.com/a",
    "Example.com/a",
    "example.com/",
    "/a",
    "a/b/c",
    f"{'x' * 254}/a",
    f"{'x' * 253}/{'a' * 63}",
)


PLACES: dict[str, Callable[[dict[str, Any], Any], object]] = {
    "queue": lambda job, value: job["metadata"]["labels"].update({"kueue.x-k8s.io/queue-name": value}),
    "priority": lambda job, value: job["metadata"]["labels"].update({"kueue.x-k8s.io/priority-class": value}),
    "service_account": lambda job, value: job["spec"]["template"]["spec"].update(serviceAccountName=value),
    "priority_class": lambda job, value: job["spec"]["template"]["spec"].update(priorityClassName=value),
    "labels": lambda job, value: job["metadata"]["labels"].update(value),
    "annotations": lambda job, value: job["metadata"]["annotations"].update(value),
    "node_selector": lambda job, value: job["spec"]["template"]["spec"].update(nodeSelector=value),
}


@pytest.mark.parametrize("key", ["queue", "priority", "service_account", "priority_class"])
def test_names_that_a_server_refuses_are_faults(new: Callable[..., KubernetesBackend], key: str) -> None:
    """Found out at the first submission, they would stop every job, and fell a migration that was rehearsed well."""
    for text in TEXTS:
        compare(new, key, text)


@pytest.mark.parametrize("key", ["labels", "annotations", "node_selector"])
def test_keys_that_a_server_refuses_are_faults(new: Callable[..., KubernetesBackend], key: str) -> None:
    """And values, where they are those of labels."""
    for text in KEYS:
        compare(new, key, {text: "x"})
        compare(new, key, {"x": text})


def compare(new: Callable[..., KubernetesBackend], key: str, value: Any) -> None:
    """The plan has a fault if, and only if, the server would refuse the Job, or Kueue's webhook would."""
    table = {"queue": "research"}
    body: dict[str, Any] = json.loads(json.dumps(job(new(table).plan(spec(new(table))))))
    PLACES[key](body, value)
    faults = [path for path, _ in new({**table, key: value}).plan(spec(new(table))).faults]
    try:
        validation.check("jobs", body, VERSIONS[-1])
        hold_back("create", "jobs", body)
    except ApiError:
        assert faults == [f"kubernetes.{key}"], value
    else:
        assert faults == [], value


def test_a_time_that_no_field_can_hold(new: Callable[..., KubernetesBackend]) -> None:
    """Whoever means for ever gets what there is. The server refused one of them, and the other was in the past."""
    backend = new({"keep": "36500d", "pending": "36500d", "restarts": 100})
    plan = backend.plan(spec(backend))
    validation.check("jobs", job(plan), VERSIONS[-1])
    assert job(plan)["spec"]["activeDeadlineSeconds"] < 2**63 / 10**9


def test_the_oldest_version_is_the_one_that_doctor_demands() -> None:
    """What is validated and what is said must be one thing."""
    assert f"{OLDEST[0]}.{OLDEST[1]}" == VERSIONS[0]


def test_what_was_asked_for_is_requested_and_limited(new: Callable[..., KubernetesBackend]) -> None:
    """A pod that may use more than its job asked for makes the next job's memory a matter of luck."""
    backend = new(tomllib.loads(EVERYTHING))
    plan = backend.plan(spec(backend, resources=BIG))
    wanted = {"cpu": "3500m", "memory": "16Gi", "ephemeral-storage": "100Gi", "nvidia.com/gpu": "2"}
    assert container(plan)["resources"] == {"requests": wanted, "limits": wanted}
    pod = job(plan)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "ml", "nvidia.com/gpu.product": "NVIDIA-A10G"}
    assert len(pod["tolerations"]) == 2
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "shared-memory")
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}


def test_failures_of_the_command_are_final_and_lost_nodes_are_not(new: Callable[..., KubernetesBackend]) -> None:
    """A second run of a command that must not run twice is worse than a failure; a lost node is nobody's failure."""
    backend = new({"restarts": 5})
    found = job(backend.plan(spec(backend)))["spec"]
    assert found["backoffLimit"] == 5
    disrupted, failed = found["podFailurePolicy"]["rules"]
    assert disrupted["action"] == "Count"
    assert (failed["action"], failed["onExitCodes"]["operator"], failed["onExitCodes"]["values"]) == (
        "FailJob",
        "NotIn",
        [0, 137, 143],
    )
    assert job(backend.plan(spec(backend, nodes=2)))["spec"]["backoffLimit"] == 0


def test_the_deadline_lies_behind_everything_else(new: Callable[..., KubernetesBackend]) -> None:
    """A backstop that comes before the timeout would end jobs without their signal and their words."""
    backend = new({"pending": "1h", "starting": "10m", "restarts": 1})
    plan = backend.plan(spec(backend, timeout=timedelta(hours=5), grace=timedelta(seconds=90)))
    assert job(plan)["spec"]["activeDeadlineSeconds"] > (5 + 2 * 1) * 3600 + 2 * 600 + 90
    assert job(plan)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 90


def test_a_directory_of_the_node_keeps_its_owner(new: Callable[..., KubernetesBackend]) -> None:
    """No group of the pod reaches it, so a job with a user of its own may fail there: that is said before it runs."""
    volume = {"hostPath": "/data", "mountPath": "/data"}
    for table, expected in (({}, False), ({"user": "1000:1000"}, True)):
        backend = new({"volumes": [volume], **table})
        notes = [note for note in backend.plan(spec(backend)).notes if "fsGroup" in note]
        assert bool(notes) is expected
        assert all("/data: user 1000:1000 must be able" in note for note in notes)


def test_a_configured_user_gets_no_privileges(new: Callable[..., KubernetesBackend]) -> None:
    """Namespaces with the restricted pod security standard admit nothing else."""
    backend = new({"user": "1000:2000"})
    plan = backend.plan(spec(backend))
    security = job(plan)["spec"]["template"]["spec"]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (1000, 2000, 2000)
    assert security["runAsNonRoot"] is True
    assert container(plan)["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert bundle(plan)["user"] == {"uid": 1000, "gid": 2000}


def test_labels_are_readable_and_reserved_ones_stay_out(new: Callable[..., KubernetesBackend]) -> None:
    """`kubectl get jobs -l team=eta` must work, and nobody may queue or adopt a job by a label."""
    backend = new()
    labels = {
        "team": "eta",
        "kueue.x-k8s.io/queue-name": "stolen",
        "job-name": "x",
        "lyftlearn/job": "other",
        "empty": "",
    }
    wanted = spec(backend, labels=labels)
    metadata = job(backend.plan(wanted))["metadata"]
    assert metadata["labels"]["team"] == "eta"
    assert metadata["labels"]["lyftlearn/job"] == wanted.id
    assert metadata["labels"]["lyftlearn/model"] == "eta"
    assert not {"kueue.x-k8s.io/queue-name", "job-name"} & metadata["labels"].keys()
    assert json.loads(metadata["annotations"]["lyftlearn/labels"]) == labels


def test_secrets_are_references(new: Callable[..., KubernetesBackend]) -> None:
    """No value passes through here; a missing Secret must show as a container that waits."""
    backend = new()
    plan = backend.plan(spec(backend, secrets=("db",)))
    prefix = "LYFTLEARN_SUBSTRATE_SECRET_0_"  # so that no key PATH reaches what starts the runtime
    assert container(plan)["envFrom"] == [{"prefix": prefix, "secretRef": {"name": "db"}}]
    mounts = {mount["mountPath"] for mount in container(plan)["volumeMounts"]}
    assert {"/var/run/lyftlearn-secrets/db", "/lyftlearn/secrets"} <= mounts
    assert bundle(plan)["secrets"]["provider"] == {"type": "files", "path": "/var/run/lyftlearn-secrets"}


def test_a_large_bundle_goes_to_the_storage(new: Callable[..., KubernetesBackend]) -> None:
    """All annotations of an object have 256 KiB together; hyperparameters may have sixteen megabytes."""
    backend = new()
    features = {"features": [f"feature {number}" for number in range(50_000)]}
    plan = backend.plan(spec(backend, hyperparameters=json.dumps(features)))
    assert plan.faults == ()
    stored = plan.requests[0]
    assert stored.operation == "store"
    assert json.loads(stored.body["content"]) == features
    assert bundle(plan)["hyperparameters"] == {"$ref": stored.body["uri"], "sha256": stored.body["sha256"]}
    assert len(json.dumps(job(plan)["spec"]["template"]["metadata"]["annotations"])) < 256 * 1024


def test_a_bundle_that_fits_stays_with_the_job(new: Callable[..., KubernetesBackend]) -> None:
    """One create is the whole submission: what is elsewhere can be orphaned."""
    backend = new()
    plan = backend.plan(spec(backend, env={"LARGE": "x" * 170_000}))
    assert [request.operation for request in plan.requests] == ["create ConfigMap", "create Job"]


def test_all_faults_at_once(new: Callable[..., KubernetesBackend]) -> None:
    """Who mends one fault must not be told of the next only then."""
    backend = new({"restarts": -1, "name_space": "ml"}, "file:///home/me/storage")
    wanted = spec(
        backend,
        image=None,
        nodes=2,
        retries=1,
        secrets=("Db_Password",),
        resources=BIG,
        inputs={"flights": "file:///home/me/flights"},
        output_uri="file:///home/me/out",
    )
    faults = dict(backend.plan(wanted).faults)
    assert faults.keys() == {
        "kubernetes.restarts",
        "kubernetes.name_space",
        "image",
        "retries",
        "secrets.Db_Password",
        "resources.gpu_type",
        "inputs.flights",
        "output",
    }
    assert "[storage] url" in faults["output"]


def test_a_driver_has_an_account_of_its_own(new: Callable[..., KubernetesBackend]) -> None:
    """Only what submits Jobs has the token of an account that may; its storage must be one that pods see."""
    table = {"service_account": "trainer", "tune": {"service_account": "tuner"}}
    backend = new(table)
    manifests = [backend.plan(spec(backend, kind=kind)).requests[-1].body for kind in (JobKind.TRAIN, JobKind.TUNE)]
    pods = [manifest["spec"]["template"]["spec"] for manifest in manifests]
    accounts = [(pod["serviceAccountName"], pod.get("automountServiceAccountToken")) for pod in pods]
    assert accounts == [("trainer", None), ("tuner", True)]
    backend = new({"models": {"eta": {"tune": {"service_account": "of-eta"}}}})
    job = backend.plan(spec(backend, kind=JobKind.TUNE)).requests[-1].body
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "of-eta"
    unseen = new(table, "file:///here/storage")
    assert "storage.url" in dict(unseen.plan(spec(unseen, kind=JobKind.TUNE)).faults)


def test_a_mounted_volume_makes_its_files_usable(new: Callable[..., KubernetesBackend]) -> None:
    """A shared file system is storage too; its neighbours with the same beginning are not."""
    table = {"volumes": [{"hostPath": "/data", "mountPath": "/data"}]}
    backend = new(table, "file:///data/storage")
    assert backend.plan(spec(backend, output_uri="file:///data/out")).faults == ()
    assert dict(backend.plan(spec(backend, output_uri="file:///data-old/out")).faults).keys() == {"output"}


def test_names_are_stable(new: Callable[..., KubernetesBackend]) -> None:
    """Two processes of one version share one ConfigMap, and two versions never."""
    backend = new()
    (config_map, _) = backend.plan(spec(backend)).requests
    (again, _) = new().plan(spec(backend)).requests
    assert config_map == again
    assert re.fullmatch(r"lyftlearn-runtime-[0-9a-f]{16}", config_map.body["metadata"]["name"])


def test_a_sidecar_for_statsd_takes_the_relays_place(new: Callable[..., KubernetesBackend]) -> None:
    """Two listeners cannot have one port."""
    backend = new(tomllib.loads(EVERYTHING))
    plan = backend.plan(spec(backend, resources=BIG))
    assert bundle(plan)["metrics"] == {"relay": False, "gateway": None, "socket": None}
    sidecars = job(plan)["spec"]["template"]["spec"]["initContainers"]
    assert [(sidecar["name"], sidecar["restartPolicy"]) for sidecar in sidecars] == [
        ("statsd", "Always"),
        ("proxy", "Always"),
    ]


def test_the_metrics_of_a_shadow_go_nowhere(new: Callable[..., KubernetesBackend]) -> None:
    """A job that runs twice must not be counted twice."""
    backend = new(tomllib.loads(EVERYTHING))
    plan = backend.plan(spec(backend, resources=BIG, shadow_of="eta-tlaaaaaaaaaaa"))
    assert bundle(plan)["metrics"] == {"relay": True, "gateway": None, "socket": None}
    sidecars = job(plan)["spec"]["template"]["spec"]["initContainers"]
    assert [sidecar["name"] for sidecar in sidecars] == ["proxy"]


def test_planning_loads_no_client(tmp_path: Path) -> None:
    """Plans are made for the backend that is not chosen too, and must not cost what talking does."""
    code = """
import sys
from pathlib import Path
from lyftlearn.backend import BackendSettings
from lyftlearn.testing import Harness
from lyftlearn_kubernetes import create
backend = create(BackendSettings(name="kubernetes", table={}, home=Path(sys.argv[1]), storage_url="s3://bucket/p"))
backend.plan(Harness(backend, "s3://bucket/p", ("python3",), 60).spec(image="x"))
print([name for name in ("lightkube", "httpx2", "yaml", "boto3") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_comes_after_a_submission_is_not_loaded_before_it(tmp_path: Path) -> None:
    """A script that submits once waits for every module that is loaded before the request."""
    code = """
import sys, lyftlearn
given = dict.fromkeys(("source", "hyperparameters", "inputs", "env", "resources", "timeout", "labels", "key"))
given |= {"model": "eta", "command": ["true"], "image": "a/b:1", "secrets": (), "nodes": 1, "retries": 0}
config = {"backend": "kubernetes", "home": sys.argv[1], "storage": {"url": "s3://bucket/p"}}
assert not lyftlearn.Client(config=config)._prepare("train", None, **given).plan.faults
later = ("lyftlearn.history", "lyftlearn._migration", "lyftlearn._jobs.watcher", "lyftlearn._submission.notebooks",
    "lyftlearn_kubernetes.status", "lyftlearn_kubernetes.logs", "lyftlearn_kubernetes.doctor",
    *(f"lyftlearn._contract.{name}" for name in ("check", "costs", "logs", "phases", "report", "spec_parts")))
print([name for name in sys.modules if name.startswith(later)])
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
