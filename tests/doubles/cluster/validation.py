"""What an API server refuses before it keeps an object: what the schemas do not allow, and the rules beyond them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.doubles.cluster import pod_groups
from tests.doubles.cluster.store import ApiError, Object

SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"
FILES = {
    "deployments": "deployment-apps-v1",
    "jobs": "job-batch-v1",
    "pods": "pod-v1",
    "configmaps": "configmap-v1",
    "services": "service-v1",
    "secrets": "secret-v1",
    "events": "event-v1",
    "resourcequotas": "resourcequota-v1",
    "persistentvolumeclaims": "persistentvolumeclaim-v1",
    "networkpolicies": "networkpolicy-networking-v1",
    "ingresses": "ingress-networking-v1",
}
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"  # IsDNS1123Subdomain of apimachinery
LABEL_KEY = re.compile(rf"((?=[^/]{{1,253}}/){DNS_NAME}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
CONFIG_KEY = re.compile(r"(?!\.\.|\.\Z)[-._a-zA-Z0-9]{1,253}")  # IsConfigMapKey of k8s.io/apimachinery
MOST_ANNOTATED = 256 * 1024
MOST_IN_CONFIG_MAP = 1 << 20


@cache
def validator(kind: str, version: str) -> Any:
    """The strict schema of one kind of object in one version of Kubernetes, such as "1.36"."""
    return _validator(FILES[kind], version)


@cache
def pod_group_validator(api_version: str) -> Any:
    """The strict schema of a PodGroup."""
    if api_version in pod_groups.SCHEMA_FILES:
        return _validator(*pod_groups.SCHEMA_FILES[api_version])
    return jsonschema.Draft202012Validator(pod_groups.custom_resource_schema(api_version))


def _validator(name: str, version: str) -> Any:
    directory = SCHEMAS / f"v{version}.0-local-strict"
    schema = json.loads((directory / f"{name}.json").read_text())
    definitions = json.loads((directory / "_definitions.json").read_text())
    resource = DRAFT202012.create_resource(definitions)
    return jsonschema.Draft202012Validator(schema, registry=Registry().with_resource("_definitions.json", resource))


def faults(kind: str, item: Object, version: str) -> list[str]:
    """Everything in `item` that the schema does not allow."""
    return _told(validator(kind, version), item)


def _told(validator: Any, item: Object) -> list[str]:
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(item)]


def check(kind: str, item: Object, version: str) -> None:
    """Refuse what is not valid, as the API server words it."""
    found = faults(kind, item, version) if kind in FILES else []
    if kind == "podgroups":
        found = _told(pod_group_validator(item["apiVersion"]), item)
    if found:
        raise ApiError(400, "BadRequest", f"strict decoding error: {'; '.join(found[:5])}")
    found = [*_metadata_faults(item), *(_job_faults(item) if kind == "jobs" else ()), *_size_faults(kind, item)]
    if kind in ("secrets", "configmaps"):
        names = (key for table in ("data", "binaryData", "stringData") for key in item.get(table) or {})
        found += [f"data[{name}]: a valid config key" for name in names if not CONFIG_KEY.fullmatch(name)]
    found += _RULES[kind](item) if kind in _RULES else []
    if found:
        name = item["metadata"].get("name", "")
        raise ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {"; ".join(found)}')


def _metadata_faults(item: Object) -> list[str]:
    metadata = item.get("metadata") or {}
    found = []
    if "name" in metadata and not all(map(DNS_LABEL.fullmatch, metadata["name"].split("."))):
        found.append(f"metadata.name: {metadata['name']!r} is no DNS name")
    found += [
        f"metadata.labels: {key}={value!r}"
        for key, value in (metadata.get("labels") or {}).items()
        if not (LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value))
    ]
    found += [
        f"metadata.annotations: Invalid value: {key!r}: name part must consist of alphanumeric characters"
        for key in metadata.get("annotations") or {}
        if not LABEL_KEY.fullmatch(key.lower())
    ]
    if sum(len(key) + len(value) for key, value in (metadata.get("annotations") or {}).items()) > MOST_ANNOTATED:
        found.append("metadata.annotations: Too long: may not be more than 262144 bytes")
    return found


def _job_faults(item: Object) -> list[str]:
    spec, template = item["spec"], item["spec"]["template"]
    found = _metadata_faults(template)
    pod = template["spec"]
    found += [f"{key}: Invalid value: {pod[key]!r}: a lowercase RFC 1123 subdomain" for key in _wrong_names(pod)]
    found += [
        f"spec.template.spec.nodeSelector: Invalid value: {key}={value}"
        for key, value in (pod.get("nodeSelector") or {}).items()
        if not (LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value))
    ]
    if not 0 <= spec.get("ttlSecondsAfterFinished", 0) < 2**31:
        found.append("ttlSecondsAfterFinished: cannot unmarshal number into Go struct field of type int32")
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        found.append("spec.template.spec.restartPolicy: Required value")
    if "podFailurePolicy" in spec and pod.get("restartPolicy") != "Never":
        found.append("spec.podFailurePolicy: only with restartPolicy Never")
    volumes = [volume["name"] for volume in pod.get("volumes") or ()]
    containers = [*(pod.get("initContainers") or ()), *pod["containers"]]
    mounted = [mount["name"] for container in containers for mount in container.get("volumeMounts") or ()]
    found += [f"spec.template.spec.volumes: {name} twice" for name in set(volumes) if volumes.count(name) > 1]
    found += [f"volumeMounts: Not found: {name}" for name in mounted if name not in volumes]
    mounts = [mount for container in containers for mount in container.get("volumeMounts") or ()]
    found += [
        f"volumeMounts.subPath: {mount['subPath']!r}: must be a relative path and must not contain '..'"
        for mount in mounts
        if mount.get("subPath", "").startswith("/") or ".." in mount.get("subPath", "").split("/")
    ]
    found += [
        f"mountPath: {mount['mountPath']!r}: must not contain ':'" for mount in mounts if ":" in mount["mountPath"]
    ]
    kinds = [[key for key in volume if key != "name"] for volume in pod.get("volumes") or ()]
    found += ["volumes: may not specify more than 1 volume type" for named in kinds if len(named) > 1]
    paths = [mount["mountPath"] for mount in pod["containers"][0].get("volumeMounts") or ()]
    found += [f"mountPath: {path} must be unique" for path in set(paths) if paths.count(path) > 1]
    if not pod["containers"][0].get("image"):
        found.append("spec.template.spec.containers[0].image: Required value")
    return found


def _wrong_names(pod: Object) -> list[str]:
    names = {key: pod[key] for key in ("serviceAccountName", "priorityClassName") if key in pod}
    return [key for key, name in names.items() if len(name) > 253 or not re.fullmatch(DNS_NAME, name)]


def _claim_faults(item: Object) -> list[str]:
    spec = item["spec"]
    found = [] if spec.get("accessModes") else ["spec.accessModes: Required value: at least 1 access mode is required"]
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        found.append("spec.resources[storage]: Required value")
    return found


def _service_faults(item: Object) -> list[str]:
    """A Service is a DNS-1035 label; one with an address of its own has ports."""
    spec, name = item["spec"], item["metadata"].get("name", "")
    found = (
        [] if re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) else [f"metadata.name: Invalid value: {name!r}"]
    )
    return found if spec.get("ports") or spec.get("clusterIP") == "None" else [*found, "spec.ports: Required value"]


def _ingress_faults(item: Object) -> list[str]:
    found = []
    for rule in item["spec"].get("rules") or ():
        host = rule.get("host", "")
        if host and not all(map(DNS_LABEL.fullmatch, host.split("."))):
            found.append(f"spec.rules[0].host: Invalid value: {host!r}: a lowercase RFC 1123 subdomain")
        relative = [one for one in rule["http"]["paths"] if not one.get("path", "").startswith("/")]
        found += ["spec.rules[0].http.paths[0].path: must be an absolute path" for _ in relative]
    return found


def _deployment_faults(item: Object) -> list[str]:
    """A Deployment's own pods, and no others: its selector must match its template, which must restart."""
    spec = item["spec"]
    wanted, template = spec["selector"].get("matchLabels") or {}, spec["template"]
    marks = template.get("metadata", {}).get("labels") or {}
    found = [] if wanted and wanted.items() <= marks.items() else ["spec.template.metadata.labels: selector mismatch"]
    if template["spec"].get("restartPolicy", "Always") != "Always":
        found.append('spec.template.spec.restartPolicy: Unsupported value, supported values: "Always"')
    return found


_RULES = {
    "deployments": _deployment_faults,
    "persistentvolumeclaims": _claim_faults,
    "services": _service_faults,
    "ingresses": _ingress_faults,
}


def _size_faults(kind: str, item: Object) -> list[str]:
    if kind == "configmaps" and len(json.dumps(item.get("binaryData") or {})) * 3 // 4 > MOST_IN_CONFIG_MAP:
        return ["Too long: may not be more than 1048576 bytes"]
    return []


def check_update(kind: str, before: Object, after: Object) -> None:
    """Refuse to change what cannot be changed."""
    if kind == "jobs":
        frozen = ("template", "completions", "completionMode", "selector", "podFailurePolicy")
        changed = [name for name in frozen if before["spec"].get(name) != after["spec"].get(name)]
        if changed:
            raise ApiError(422, "Invalid", f"spec.{changed[0]}: Invalid value: field is immutable")
    if kind == "persistentvolumeclaims" and before["spec"]["accessModes"] != after["spec"]["accessModes"]:
        raise ApiError(422, "Invalid", "spec: Forbidden: spec is immutable after creation except resources.requests")
    if kind == "secrets" and before.get("immutable") and before.get("data") != after.get("data"):
        raise ApiError(422, "Invalid", "data: Forbidden: field is immutable when `immutable` is set")
    if kind == "configmaps" and before.get("immutable") and before.get("binaryData") != after.get("binaryData"):
        raise ApiError(422, "Invalid", "data: Forbidden: field is immutable when `immutable` is set")
