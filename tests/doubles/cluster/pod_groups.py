"""PodGroups: what each API allows in one, and a scheduler that places all pods of a group or none.

The fields are those of the CustomResourceDefinitions, `config/crd/bases/scheduling.x-k8s.io_podgroups.yaml` of
kubernetes-sigs/scheduler-plugins and `config/crd/volcano/bases/scheduling.volcano.sh_podgroups.yaml` of
volcano-sh/volcano. Under strict validation a server refuses a field that they do not declare.
"""

from __future__ import annotations

from typing import Any

from tests.doubles.cluster.store import Object, Store

COUNT = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}  # int32
TEXT, TEXTS = {"type": "string"}, {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
TOPOLOGY = {
    "type": "object",
    "properties": {"highestTierAllowed": {"type": "integer"}, "mode": {"enum": ["hard", "soft"]}},
    "additionalProperties": False,
}
SPECS: dict[str, dict[str, Any]] = {
    "scheduling.x-k8s.io/v1alpha1": {
        "minMember": {**COUNT, "minimum": 1},
        "minResources": TEXTS,
        "scheduleTimeoutSeconds": COUNT,
    },
    "scheduling.volcano.sh/v1beta1": {
        "minMember": COUNT,
        "minResources": TEXTS,
        "minTaskMember": {"type": "object", "additionalProperties": COUNT},
        "networkTopology": TOPOLOGY,
        "priorityClassName": TEXT,
        "queue": TEXT,
    },
}
SCHEMA_FILES = {
    "scheduling.k8s.io/v1alpha2": ("podgroup-scheduling-v1alpha2", "1.36"),
    "scheduling.k8s.io/v1beta1": ("podgroup-scheduling-v1beta1", "1.37"),
}
"""Kubernetes' own, and the version that serves them."""
SCHEDULERS = {"scheduling.x-k8s.io/v1alpha1": "scheduler-plugins-scheduler", "scheduling.volcano.sh/v1beta1": "volcano"}


def custom_resource_schema(api_version: str) -> dict[str, Any]:
    """The schema of a PodGroup that is a custom resource."""
    spec = {"type": "object", "properties": SPECS[api_version], "additionalProperties": False}
    properties = {"apiVersion": {"const": api_version}, "kind": {"const": "PodGroup"}, "metadata": {}, "spec": spec}
    return {"type": "object", "properties": {**properties, "status": {}}, "additionalProperties": False}


def lacks_peers(store: Store, pod: Object, room: int | None) -> str:
    """Why the scheduler does not place a pod of a group yet; nothing for one that stands alone."""
    name, api_versions = _group_of(pod)
    if name is None:
        return ""
    namespace = pod["metadata"]["namespace"]
    group = store.find("podgroups", namespace, name)
    if group is None or group["apiVersion"] not in api_versions:
        return f"waiting for pod group {name} to appear"
    peers = [other for other in store.all("pods", namespace) if _group_of(other)[0] == name]
    least = least_members(group)
    if len(peers) < least:
        return f"{len(peers)} of {least} pods of group {name} are there"
    return f"0/1 nodes are available for {least} pods at once" if room is not None and room < least else ""


def least_members(group: Object) -> int:
    """How many pods start together."""
    spec = group["spec"]
    return int(spec["minMember"] if "minMember" in spec else spec["schedulingPolicy"]["gang"]["minCount"])


def _group_of(pod: Object) -> tuple[str | None, tuple[str, ...]]:
    """The name of a pod's group, and the APIs in which its scheduler looks for it."""
    metadata, spec = pod["metadata"], pod["spec"]
    if group := spec.get("schedulingGroup"):
        return group["podGroupName"], tuple(SCHEMA_FILES)
    marks = {
        "scheduling.x-k8s.io/v1alpha1": metadata.get("labels", {}).get("scheduling.x-k8s.io/pod-group"),
        "scheduling.volcano.sh/v1beta1": metadata.get("annotations", {}).get("scheduling.k8s.io/group-name"),
    }
    scheduler = spec.get("schedulerName", "default-scheduler")
    return next(((name, (api,)) for api, name in marks.items() if name and SCHEDULERS[api] == scheduler), (None, ()))
