"""What an operator should know of a cluster before jobs go there."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Check, Location, Verdict, mount_of
from lyftlearn.errors import AccessDenied, InvalidJob, LyftLearnError
from lyftlearn_kubernetes.api.cluster import (
    CLAIMS,
    CONFIG_MAPS,
    EVENTS,
    INGRESSES,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    QUOTAS,
    SECRETS,
    SERVICES,
    WORKLOADS,
)
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.mounts import host_path_note
from lyftlearn_kubernetes.options import GANGS, NO_GANG, OWN_GANGS, is_visible
from lyftlearn_kubernetes.service_accounts import check_accounts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options

KUEUE = "kueue.x-k8s.io"
_READ_WRITE_SEARCH = 0o7
OLDEST = (1, 29)  # the first with native sidecars switched on
NEEDED = (
    ("create", JOBS),
    ("get", JOBS),
    ("list", JOBS),
    ("watch", JOBS),
    ("patch", JOBS),
    ("list", PODS),
    ("watch", PODS),
    ("get", f"{PODS}/log"),
    ("create", CONFIG_MAPS),
    ("create", SERVICES),
    ("list", EVENTS),
)
"""Every verb that this backend uses."""
USEFUL = (("list", QUOTAS),)
FOR_NOTEBOOKS = (
    ("get", SECRETS),
    ("create", SECRETS),
    ("create", CLAIMS),
    ("create", NETWORK_POLICIES),
    ("create", INGRESSES),
)
"""Beyond those: what notebooks need, and who opens none does without."""
FOR_FORWARDING = (("get", PODS), ("create", f"{PODS}/portforward"))
"""What `kubectl port-forward` needs of whoever opens a notebook that has no ingress."""
_GROUPS = {
    JOBS: "batch",
    NETWORK_POLICIES: "networking.k8s.io",
    INGRESSES: "networking.k8s.io",
    WORKLOADS: KUEUE,
}
OF_KUEUE = (("list", WORKLOADS),)
"""With these, a job that its queue holds back says what it waits for."""


def checks(cluster: Cluster, options: Options, storage_url: str) -> Iterator[Check]:
    """Yield what was found; what cannot be reached ends it."""
    yield from (Check("configuration", Verdict.FAILED, f"{path}: {problem}") for path, problem in options.faults)
    try:
        yield _check_version(cluster)
        yield _check_namespace(cluster)
        yield from _check_permissions(cluster, options)
        yield from check_accounts(cluster, options, _needs(cluster))
        yield from _check_quotas(cluster)
        yield from _check_starts(cluster, options)
    except LyftLearnError as exc:
        yield Check("cluster", Verdict.FAILED, str(exc))
    yield _check_storage(options, storage_url)
    yield from _check_volumes(options, storage_url)


def _check_version(cluster: Cluster) -> Check:
    with translate_errors("asking for the version"):
        answer = cluster.ask("GET", "/version")
    version = tuple(_digits(answer.get(part)) for part in ("major", "minor"))
    name = answer.get("gitVersion") or "a server that does not tell its version"
    text = f"{name} at {cluster.access.server}, context {cluster.access.context}"
    if version < OLDEST:
        return Check(
            "cluster", Verdict.FAILED, f"{text}: too old, {OLDEST[0]}.{OLDEST[1]} is the first that can be used"
        )
    return Check("cluster", Verdict.OK, text)


def _digits(text: object) -> int:
    """Return the number in a part of a version, such as "29+"; 0 where there is none."""
    return int("".join(filter(str.isdigit, str(text))) or 0)


def _check_namespace(cluster: Cluster) -> Check:
    """Try to create something there without keeping it: lists are empty in a namespace that does not exist."""
    trial = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lyftlearn-doctor"}}
    try:
        with translate_errors("creating configmaps"):
            cluster.ask("POST", cluster.path(CONFIG_MAPS), params={"dryRun": "All"}, body=trial)
    except AccessDenied:
        return Check("namespace", Verdict.WARNING, f"{cluster.namespace}: cannot be tried, see permissions")
    except InvalidJob as exc:
        return Check("namespace", Verdict.FAILED, str(exc))
    return Check("namespace", Verdict.OK, cluster.namespace)


def _check_permissions(cluster: Cluster, options: Options) -> Iterator[Check]:
    missing = [f"{verb} {resource}" for verb, resource in NEEDED if not _is_allowed(cluster, verb, resource)]
    if missing:
        detail = f"not granted in {cluster.namespace}: {', '.join(missing)}; docs/how-to/kubernetes.md has the Role"
        yield Check("permissions", Verdict.FAILED, detail)
    else:
        yield Check("permissions", Verdict.OK, f"all {len(NEEDED)} that are needed")
    useful = FOR_NOTEBOOKS if options.notebook.ingress else (*FOR_NOTEBOOKS, *FOR_FORWARDING)
    missing = [f"{verb} {resource}" for verb, resource in useful if not _is_allowed(cluster, verb, resource)]
    if missing:
        yield Check("notebooks", Verdict.WARNING, f"none can be opened: {', '.join(missing)} is not granted")


def _needs(cluster: Cluster) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what whoever submits needs: the driver of a search does what a client does."""
    for verb, resource in NEEDED:
        yield f"{verb} {resource}", _attributes(cluster, verb, resource)


def _attributes(cluster: Cluster, verb: str, resource: str) -> dict[str, Any]:
    kind, _, subresource = resource.partition("/")
    return {
        "namespace": cluster.namespace,
        "verb": verb,
        "group": _GROUPS.get(kind, ""),
        "resource": kind,
        **({"subresource": subresource} if subresource else {}),
    }


def _is_allowed(cluster: Cluster, verb: str, resource: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": _attributes(cluster, verb, resource)},
    }
    with translate_errors("asking for permissions"):
        answer = cluster.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
    return bool((answer.get("status") or {}).get("allowed"))


def _check_starts(cluster: Cluster, options: Options) -> Iterator[Check]:
    """Look at what holds jobs back, and what lets their nodes start together: queues and PodGroups."""
    every = (options, *options.models.values())
    with translate_errors("asking for the cluster's APIs"):
        served = cluster.served_apis()
    kueue = any(api.startswith(KUEUE) for api in served)
    if any(one.queue for one in every) and not kueue:
        yield Check("queue", Verdict.FAILED, f"the cluster has no Kueue ({KUEUE}): install it, or take out `queue`")
    else:
        yield from _check_queue(cluster, options)
    configured = {one.gang for one in every if one.gang and one.gang != NO_GANG}
    if missing := sorted(configured - served):
        has = ", ".join(api for api in GANGS if api in served) or "no PodGroups at all"
        yield Check("gang", Verdict.FAILED, f"the cluster does not have {', '.join(missing)}; it has {has}")
    elif options.gang is None and options.queue is None:
        yield from _advise_gang(served, kueue=kueue)


def _advise_gang(served: Collection[str], *, kueue: bool) -> Iterator[Check]:
    """Say by what nodes could start together. Only Kubernetes' own groups need no configuration."""
    if own := next((api for api in OWN_GANGS if api in served), None):
        yield Check("gang", Verdict.OK, f"the nodes of a job start together, by {own}")
        return
    ways = [f'`gang = "{api}"` and the name of its scheduler as `scheduler`' for api in GANGS if api in served]
    ways += ["`queue`, which names a LocalQueue of Kueue"] if kueue else []
    if ways:
        detail = f"the nodes of a job start one by one; the cluster could start them together: set {', or '.join(ways)}"
        yield Check("gang", Verdict.WARNING, f'{detail}; `gang = "{NO_GANG}"` if that is not wanted')


def _check_queue(cluster: Cluster, options: Options) -> Iterator[Check]:
    if options.queue is None:
        return
    if all(_is_allowed(cluster, verb, resource) for verb, resource in OF_KUEUE):
        yield Check("queue", Verdict.OK, f"{options.queue}; jobs say what they wait for")
        return
    detail = f"{options.queue}: jobs cannot say what they wait for: `list workloads` (kueue.x-k8s.io) is not granted"
    yield Check("queue", Verdict.WARNING, detail)


def _check_quotas(cluster: Cluster) -> Iterator[Check]:
    if not all(_is_allowed(cluster, verb, resource) for verb, resource in USEFUL):
        yield Check("quota", Verdict.WARNING, "cannot be looked at: `list resourcequotas` is not granted")
        return
    with translate_errors("listing quotas"):
        quotas = list(cluster.list(QUOTAS))
    if not quotas:
        yield Check("quota", Verdict.OK, "none")
    for quota in quotas:
        yield _check_quota(quota)


def _check_quota(quota: dict[str, Any]) -> Check:
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    full = [name for name in hard if used.get(name) == hard[name] != "0"]
    text = ", ".join(f"{name} {used.get(name, '0')} of {limit}" for name, limit in sorted(hard.items()))
    verdict = Verdict.WARNING if full else Verdict.OK
    return Check("quota", verdict, f"{quota['metadata']['name']}: {text}")


def _check_storage(options: Options, url: str) -> Check:
    if is_visible(options, url):
        return Check("storage", Verdict.OK, f"{url} can be seen from pods, if their service account may use it")
    detail = f"{url} cannot be seen from pods: set [storage] url to s3://<bucket>/<prefix>"
    return Check("storage", Verdict.FAILED, detail)


def _check_volumes(options: Options, url: str) -> Iterator[Check]:
    """Look at volumes whose files keep their owner: Kubernetes gives no group to what lies on a node."""
    detail = host_path_note(options.volumes, options.user)
    if not detail:
        return
    volume = mount_of(options.file_systems, url)
    directory = Path(Location.parse(url).path)
    if volume is None or "hostPath" not in volume.source or not directory.is_dir():
        yield Check("volumes", Verdict.WARNING, detail)
        return
    yield _check_directory(directory, *(options.uid_gid or (0, 0)))


def _check_directory(directory: Path, uid: int, gid: int) -> Check:
    """Say whether a pod's user may write in a directory of its node, by what this machine sees of it."""
    status = directory.stat()
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
    if status.st_mode >> shift & _READ_WRITE_SEARCH == _READ_WRITE_SEARCH:
        return Check("volumes", Verdict.OK, f"user {uid}:{gid} may read and write in {directory}")
    owner = f"it belongs to user {status.st_uid} and group {status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"
    remedy = f"chgrp {gid} {directory} && chmod 2770 {directory}"
    detail = f"user {uid}:{gid} may not read and write in {directory} ({owner}): {remedy}, before jobs write there"
    return Check("volumes", Verdict.FAILED, detail)
