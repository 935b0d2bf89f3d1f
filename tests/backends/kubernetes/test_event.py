"""What a Job and its pods say, as plain data: the order in which versions tell things, and what is not confused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lyftlearn.types import FailureReason, JobStatus
from lyftlearn_kubernetes.api.cluster import Cluster
from lyftlearn_kubernetes.api.errors import NoResponse
from lyftlearn_kubernetes.options import DEFAULTS
from lyftlearn_kubernetes.status import deadlines, events, observed
from lyftlearn_kubernetes.status.jobs import JobObserver, RefusedPods
from lyftlearn_kubernetes.status.quota import exceeds_hard_limit, may_pass

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITS = observed.Limits(pending=timedelta(hours=24), starting=timedelta(minutes=10))
REPORT = 'lyftlearn/1 {"exit_code":%s,"reason":%s,"attempt":2,"stopped":%s}\nlast words'


def job(
    failure: str | None = None, age: timedelta = timedelta(), message: str = "it failed", **metadata: Any
) -> observed.ObservedJob:
    at = (NOW - age).isoformat()
    failed = {"type": "Failed", "status": "True", "reason": failure, "message": message, "lastTransitionTime": at}
    return observed.job(
        {
            "metadata": {"name": "j", "uid": "u", "creationTimestamp": at, "resourceVersion": "1", **metadata},
            "spec": {"completions": 1},
            "status": {"conditions": [failed] if failure else []},
        }
    )


def pod(
    state: dict[str, Any], phase: str = "Failed", conditions: tuple[str, ...] = (), **status: Any
) -> observed.ObservedPod:
    at = NOW.isoformat()
    return observed.pod(
        {
            "metadata": {
                "name": "p",
                "uid": "p",
                "creationTimestamp": at,
                "labels": {"lyftlearn/job": "j"},
                "resourceVersion": "2",
            },
            "status": {
                "phase": phase,
                "containerStatuses": [{"name": "main", "state": state}],
                "conditions": [{"type": name, "status": "True", "lastTransitionTime": at} for name in conditions],
                **status,
            },
        }
    )


def end_state(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    at = NOW.isoformat()
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "startedAt": at, "finishedAt": at}}


def test_a_failure_that_is_told_before_its_pods_have_ended() -> None:
    """Before Kubernetes 1.31 the condition comes first; a final event then would lack the exit code."""
    going = pod({"running": {"startedAt": NOW.isoformat()}}, "Running")
    assert events.event(job("PodFailurePolicy"), [going], NOW).status is JobStatus.STOPPING
    forgotten = job("PodFailurePolicy", timedelta(hours=1))
    assert events.event(forgotten, [going], NOW).status is JobStatus.FAILED


@pytest.mark.parametrize(
    ("state", "reason", "exit_code"),
    [
        (end_state(3, message=REPORT % (3, '"user-error"', "false")), FailureReason.USER_ERROR, 3),
        (end_state(124, message=REPORT % ("null", '"timeout"', "false")), FailureReason.TIMEOUT, None),
        (
            end_state(78, message=REPORT % ("null", '"configuration"', "false")),
            FailureReason.CONFIGURATION,
            None,
        ),
        (end_state(137, "OOMKilled"), FailureReason.OUT_OF_MEMORY, 137),
        (end_state(137), FailureReason.PLATFORM, None),
        (end_state(128, "StartError", "exec: python3: not found"), FailureReason.IMAGE, None),
        (end_state(127, message="sh: python3: not found"), FailureReason.IMAGE, None),
        (end_state(1, message="lyftlearn/1 {cut"), FailureReason.PLATFORM, None),
    ],
)
def test_how_a_container_ended(state: dict[str, Any], reason: FailureReason, exit_code: int | None) -> None:
    """The command's exit code is only what the runtime reported; any other number is the platform's."""
    event = events.event(job("PodFailurePolicy"), [pod(state)], NOW)
    assert (event.status, event.reason, event.exit_code) == (JobStatus.FAILED, reason, exit_code)


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (37, FailureReason.USER_ERROR, 37),
        (124, FailureReason.TIMEOUT, None),
        (78, FailureReason.CONFIGURATION, None),
        (70, FailureReason.PLATFORM, None),
    ],
)
def test_the_pod_that_ended_the_job_is_gone(code: int, reason: FailureReason, exit_code: int | None) -> None:
    """Its Job says how it ended, to whoever comes later; a pod that another had replaced is no cause."""
    culprit = f"Container main for pod ml/j-0-x failed with exit code {code} matching FailJob rule at index 1"
    failed = job("PodFailurePolicy", message=culprit)
    replaced = pod({"running": {"startedAt": NOW.isoformat()}}, conditions=("DisruptionTarget",))
    for left in ([], [replaced]):
        assert events.lacks_pods(failed, left)
        event = events.event(failed, left, NOW)
        assert (event.status, event.reason, event.exit_code) == (JobStatus.FAILED, reason, exit_code)


def running(**metadata: Any) -> observed.ObservedPod:
    at = NOW.isoformat()
    return observed.pod(
        {
            "metadata": {
                "name": "p",
                "uid": "p",
                "creationTimestamp": at,
                "labels": {"lyftlearn/job": "j"},
                "resourceVersion": "2",
                **metadata,
            },
            "spec": {"nodeName": "n3"},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": at}}}],
            },
        }
    )


def test_what_keeps_a_job_running() -> None:
    """A node that is silent, and a sidecar that does not end, look like a command that runs; only a person can help."""
    late = NOW + timedelta(minutes=5)
    assert "node n3 does not answer" in events.event(job(), [running(deletionTimestamp=NOW.isoformat())], late).message
    assert events.event(job(), [running()], late).message == ""
    finished = pod(end_state(0, "Completed"), "Running")
    assert "sidecars" in events.event(job(), [finished], late).message


@pytest.mark.parametrize(
    ("message", "hopeless"),
    [
        ("requested: pods=1, used: pods=10, limited: pods=10", False),
        ("requested: pods=11, used: pods=0, limited: pods=10", True),
        ("requested: limits.cpu=1500m,pods=1, used: limits.cpu=0,pods=1, limited: limits.cpu=2,pods=1", False),
        ("requested: limits.cpu=2500m,pods=1, used: limits.cpu=0,pods=1, limited: limits.cpu=2,pods=1", True),
        ("requested: requests.memory=1Gi, used: requests.memory=0, limited: requests.memory=1G", True),
        ("requested: requests.memory=1e3, used: requests.memory=0, limited: requests.memory=1k", False),
        ("requested: odd=?, used: odd=?, limited: odd=?", False),
        ("something else", False),
    ],
)
def test_what_no_waiting_helps(message: str, hopeless: bool) -> None:
    """Only more than the quota's `hard` is hopeless; everything else is a queue."""
    assert exceeds_hard_limit(f'pods "x" is forbidden: exceeded quota: compute, {message}') is hopeless


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ('Internal error occurred: failed calling webhook "a.b.c": Post "https://a": connect: refused', True),
        ("Internal error occurred: resource quota evaluation timed out", True),
        ('Operation cannot be fulfilled on resourcequotas "compute": the object has been modified', True),
        ("etcdserver: leader changed", True),
        ("Timeout: request did not complete within requested timeout - context deadline exceeded", True),
        (
            'Post "https://10.0.0.1:443/api/v1/namespaces/ml/pods": dial tcp 10.0.0.1:443: connect: connection refused',
            True,
        ),
        ("http2: client connection lost", True),
        ("net/http: TLS handshake timeout", True),
        ("unexpected EOF", True),
        ("Unauthorized", True),
        ('pods "x" is forbidden: User "system:serviceaccount:kube-system:job-controller" cannot create resource', True),
        ('admission webhook "policy.example.com" denied the request: context deadline exceeded', False),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', False),
        ('pods "x" is forbidden: failed quota: compute: must specify limits.cpu', False),
        ('pods "x" is forbidden: error looking up service account ml/jobs: serviceaccount "jobs" not found', False),
        ('admission webhook "policy.example.com" denied the request: no team label', False),
        ('admission webhook "policy.example.com" denied the request: Internal error occurred in the image', False),
    ],
)
def test_what_is_out_of_order_passes(said: str, passes: bool) -> None:
    """A webhook that is being upgraded refuses nobody; a policy does, and waiting does not change it."""
    assert may_pass(f"FailedCreate: Error creating: {said}") is passes


def test_a_stop_is_told_from_a_deadline() -> None:
    """Both end by the Job's deadline; the annotation tells who wanted it, and a failure that came first stays one."""
    stopped = {"lyftlearn/stop": "2026-01-01T11:59:00.000000Z"}
    gone = pod(end_state(143, message=REPORT % ("null", "null", "true")))
    assert events.event(job("DeadlineExceeded", annotations=stopped), [gone], NOW).status is JobStatus.STOPPED
    assert events.event(job("DeadlineExceeded"), [gone], NOW).reason is FailureReason.TIMEOUT
    failed = pod(end_state(3, message=REPORT % (3, '"user-error"', "false")))
    late = events.event(job("PodFailurePolicy", annotations=stopped), [failed], NOW)
    assert (late.status, late.exit_code, late.attempt) == (JobStatus.FAILED, 3, 2)


def test_a_pod_that_was_ended_before_its_runtime_could_listen() -> None:
    """It dies of its signal and leaves no report; what made the others end it is the job's reason."""
    at = NOW.isoformat()
    document = {
        "name": "q",
        "uid": "q",
        "creationTimestamp": at,
        "labels": {"lyftlearn/job": "j"},
        "deletionTimestamp": at,
    }
    status = {"phase": "Failed", "containerStatuses": [{"name": "main", "state": end_state(143)}]}
    early = observed.pod({"metadata": document, "status": status})
    lost = pod({"running": {"startedAt": at}}, conditions=("DisruptionTarget",))
    assert events.event(job("BackoffLimitExceeded"), [early, lost], NOW).reason is FailureReason.PREEMPTED


def test_a_lost_node_is_no_failure_of_the_command() -> None:
    """A pod that was told to end because its node goes away leaves a report of a stop that nobody asked for."""
    lost = pod(end_state(143, message=REPORT % ("null", "null", "true")), conditions=("DisruptionTarget",))
    event = events.event(job("BackoffLimitExceeded"), [lost], NOW)
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.PREEMPTED)


def test_a_sidecar_that_cannot_start_is_named() -> None:
    """The main container only says that it waits; whoever configured the sidecar must read which image is missing."""
    message = "Back-off pulling image example.com/proxy:2"
    sidecar = {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}
    at = NOW.isoformat()
    document = {
        "metadata": {
            "name": "p",
            "uid": "p",
            "creationTimestamp": at,
            "labels": {"lyftlearn/job": "j"},
            "resourceVersion": "2",
        },
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}],
            "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}],
            "initContainerStatuses": [sidecar],
        },
    }
    waiting = observed.pod(document)
    assert events.event(job(), [waiting], NOW).message == f"ImagePullBackOff: sidecar proxy: {message}"
    verdict = deadlines.missed_deadline(job(), [waiting], LIMITS, NOW + timedelta(minutes=11))
    assert verdict == (FailureReason.IMAGE, f"ImagePullBackOff: sidecar proxy: {message}")


class SilentCluster(Cluster):
    """Its Events cannot be had."""

    def list(self, kind: str, **_: Any) -> Iterator[dict[str, Any]]:
        raise NoResponse("timed out", sent=True)


@pytest.mark.parametrize(
    ("terminated", "said"),
    [
        ({"exitCode": 1, "reason": "Error", "message": "no token\n"}, "ended with 1 (Error: no token)"),
        ({"exitCode": 137, "reason": "OOMKilled"}, "ended with 137 (OOMKilled)"),
    ],
)
def test_an_init_container_that_fails_is_named(terminated: dict[str, Any], said: str) -> None:
    """A webhook put it before the command, which never began: `left no word` would help nobody."""
    vault = {"name": "vault", "state": {"terminated": terminated}}
    failed = pod({"waiting": {"reason": "PodInitializing"}}, initContainerStatuses=[vault])
    reason, message, exit_code = events.failure_of(failed)
    assert (reason, message, exit_code) == (FailureReason.PLATFORM, f"init container vault {said}", None)


def test_events_that_cannot_be_read() -> None:
    """They explain an end; that they are missing must not hide it."""
    lost = pod({}, "Failed", ("DisruptionTarget",))
    cluster = SilentCluster(DEFAULTS)
    event = JobObserver(cluster, RefusedPods(cluster)).event(job("BackoffLimitExceeded"), [lost])
    assert (event.status, event.reason) == (JobStatus.FAILED, FailureReason.PREEMPTED)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[1]", "3", None])
def test_a_table_that_nobody_can_read_is_empty(text: str | None) -> None:
    """Anybody may write annotations, and a list shows everybody's jobs."""
    assert observed.texts(text) == {}


@pytest.mark.parametrize(
    "text", ["", "now", "2026-99-99T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_a_stop_at_no_time_is_a_stop(text: str) -> None:
    """Anybody may write annotations, and a list shows everybody's jobs."""
    stopped = job("DeadlineExceeded", annotations={"lyftlearn/stop": text})
    assert stopped.stop == stopped.created_at
