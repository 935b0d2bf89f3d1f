"""What kubectl asks of a server before anything else: its kinds, and the parameters that it understands."""

from __future__ import annotations

from collections.abc import Collection

from tests.doubles.cluster.store import Object

GROUPS = {
    "deployments": "apps",
    "jobs": "batch",
    "networkpolicies": "networking.k8s.io",
    "ingresses": "networking.k8s.io",
}
KINDS = {
    "deployments": "Deployment",
    "jobs": "Job",
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "services": "Service",
    "secrets": "Secret",
    "events": "Event",
    "resourcequotas": "ResourceQuota",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "networkpolicies": "NetworkPolicy",
    "ingresses": "Ingress",
    "serviceaccounts": "ServiceAccount",
    "namespaces": "Namespace",
}
PATHS = ("api/v1", *(f"apis/{group}/v1" for group in sorted(set(GROUPS.values()))))
EXTENSIONS = {"workloads": "Workload", "podgroups": "PodGroup"}
"""Kinds of custom resources, and of APIs that are off by default: served where the server has them switched on."""
VERBS = ["create", "delete", "get", "list", "patch", "watch"]
WRITING = ("dryRun", "fieldManager", "fieldValidation")


def answer(words: list[str], extensions: Collection[str] = ()) -> Object:
    """The answer to `/api`, `/apis`, one of their versions, or `/openapi/v3...`."""
    if words[0] == "openapi":
        return _openapi(words[2:])
    if words == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if words == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups(extensions)}
    resources = [
        {
            "name": kind,
            "singularName": KINDS[kind].lower(),
            "namespaced": kind != "namespaces",
            "kind": KINDS[kind],
            "verbs": VERBS,
        }
        for kind in _kinds(words)
    ]
    return {"kind": "APIResourceList", "groupVersion": "/".join(words[1:]), "resources": resources}


def _groups(extensions: Collection[str]) -> list[Object]:
    """Every group once, with all its versions. `scheduling.k8s.io/v1` has PriorityClasses on each cluster."""
    versions: dict[str, list[str]] = {}
    for name in (*(f"{name}/v1" for name in (*set(GROUPS.values()), "scheduling.k8s.io")), *extensions):
        versions.setdefault(name.partition("/")[0], []).append(name)
    return [_group(group, names) for group, names in versions.items()]


def _group(group: str, names: list[str]) -> Object:
    versions = [{"groupVersion": name, "version": name.partition("/")[2]} for name in names]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _kinds(words: list[str]) -> list[str]:
    return [kind for kind in KINDS if GROUPS.get(kind, "") == (words[1] if words[0] == "apis" else "")]


def _openapi(words: list[str]) -> Object:
    """Which parameters a request that writes may have; kubectl looks for them before it leaves validation to us."""
    if not words:
        return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in PATHS}}
    *_, version = words
    group = words[1] if words[0] == "apis" else ""
    paths = {}
    for kind in _kinds(words):
        patch = {
            "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in WRITING],
            "responses": {},
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": KINDS[kind]},
        }
        paths[f"/{'/'.join(words)}/namespaces/{{namespace}}/{kind}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1"}, "paths": paths}
