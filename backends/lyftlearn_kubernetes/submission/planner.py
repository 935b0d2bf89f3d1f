"""From a job to the objects that would be created, and what stands against it. Asks nobody."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Capabilities, Capability, Fault, JobSpec, Never, Plan, Request, bundle, kept_logs
from lyftlearn.types import JobKind
from lyftlearn_kubernetes.labels import SERVICE
from lyftlearn_kubernetes.mounts import host_path_note
from lyftlearn_kubernetes.options import OWN_GANGS, is_visible
from lyftlearn_kubernetes.submission import manifests, notebook_objects, server_objects, spark
from lyftlearn_kubernetes.submission.gangs import Gang
from lyftlearn_kubernetes.submission.places import PodPlaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lyftlearn_kubernetes.options import Options
    from lyftlearn_kubernetes.submission.runtime import RuntimeConfigMap

_encode = json.JSONEncoder(separators=(",", ":")).encode
STORE, CREATE_RUNTIME, CREATE_SERVICE, CREATE_JOB = "store", "create ConfigMap", "create Service", "create Job"
CREATE_CLAIM, CREATE_POLICY = "create PersistentVolumeClaim", "create NetworkPolicy"
CREATE_INGRESS = "create Ingress"
CREATE_GROUP = "create PodGroup"
# All annotations of an object may have 256 KiB together (apimachinery's validation.TotalAnnotationSizeLimitB).
MOST_ANNOTATED = 200_000
_MAY_REFER = ("hyperparameters", "env", "command")  # by the container contract
_OBJECT_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LONGEST_SECRET_NAME = 253
_TOGETHER = Never("nodes of a job cannot start anew together on Kubernetes: leave `retries` at 0, or ask for one node")
_NO_LOGS = (
    "the pods are on another cluster, so logs can only come from the storage, which pods do not see: "
    "set [storage] url to s3://<bucket>/<prefix>"
)

_BOUND_TO_CLUSTER = {
    JobKind.NOTEBOOK: "nobody could reach a notebook on another cluster, and its files would not be there",
    JobKind.TUNE: "the driver of a search submits its trials to the cluster that it runs on",
}
_SWITCH_OFF = "set multikueue = false in [{}.models.{}]"


def capabilities(options: Options) -> Capabilities:
    """Return what this backend offers."""
    return Capabilities(
        offers=frozenset(Capability) - _LACKS.keys(),
        lacks=_LACKS,
        retention=options.keep,
        sees=tuple(volume.path for volume in options.file_systems),
    )


_LACKS = {
    Capability.RETRIES_ON_SEVERAL_NODES: _TOGETHER,
    Capability.LOCAL_PATHS: Never("pods do not see this machine's files; they travel through the storage"),
}


SERVER_LAYOUTS = tuple(server_objects.LAYOUTS)


class Planner:
    """Plans with one configuration. `runtime` is asked for when the first plan needs it."""

    def __init__(self, name: str, options: Options, storage_url: str, runtime: Callable[[], RuntimeConfigMap]) -> None:
        self._name = name
        self._options = options
        self._storage_url = storage_url
        self._runtime = runtime

    def plan(self, spec: JobSpec, layout: str = "") -> Plan:
        """Return the requests, faults and notes for `spec`, with what its model changes.

        layout: of a server of a model, one of `SERVER_LAYOUTS`; a job has none.
        """
        return ModelPlanner(self._name, self.options_of(spec), self._storage_url, self._runtime).plan(spec, layout)

    def gang(self, spec: JobSpec) -> Gang:
        """Return how the nodes of `spec` start together."""
        return Gang(spec, self.options_of(spec))

    def options_of(self, spec: JobSpec) -> Options:
        """Return what jobs like this one get."""
        return self._options if spec.kind is JobKind.PROCESS else self._options.of(spec.name)


class ModelPlanner:
    """Plans with what jobs of one model get."""

    def __init__(self, name: str, options: Options, storage_url: str, runtime: Callable[[], RuntimeConfigMap]) -> None:
        self._name = name
        self._options = options
        self._storage_url = storage_url.rstrip("/")
        self._runtime = runtime
        self._keeps_logs = is_visible(options, self._storage_url)

    def plan(self, spec: JobSpec, layout: str = "") -> Plan:
        """Return the requests, faults and notes for `spec`."""
        places = PodPlaces(spec, self._options, self._storage_url)
        text, stored = self._bundle(spec, places)
        faults = [*self._options.faults, *self._faults(spec), *places.faults()]
        if len(text) > MOST_ANNOTATED:
            faults.append(
                Fault("inputs", f"the job has {len(text)} bytes to say, a Job carries {MOST_ANNOTATED}: shorten it")
            )
        manifest = manifests.JobManifest(spec, self._options, self._runtime(), text, places.volumes())
        return Plan(
            spec=spec,
            backend=self._name,
            requests=(*stored, *(self._server(spec, manifest, layout) if layout else self._creations(spec, manifest))),
            faults=tuple(faults),
            notes=tuple(self._notes(spec)),
        )

    def _server(self, spec: JobSpec, manifest: manifests.JobManifest, layout: str) -> Iterator[Request]:
        port = spec.serving.port if spec.serving else 0
        yield Request(operation=CREATE_RUNTIME, body=manifests.config_map(self._runtime(), self._options))
        yield from server_objects.ServerObjects(spec.name, manifest.template(), port, self._options).requests(layout)

    def _creations(self, spec: JobSpec, manifest: manifests.JobManifest) -> Iterator[Request]:
        yield Request(operation=CREATE_RUNTIME, body=manifests.config_map(self._runtime(), self._options))
        if spec.nodes > 1:
            yield Request(operation=CREATE_SERVICE, body=manifests.service(self._options))
        if spec.notebook:
            yield from self._notebook_creations(spec.notebook.files)
        for policy in spark.network_policies(spec, self._options):
            yield Request(operation=CREATE_POLICY, body=policy)
        gang = Gang(spec, self._options)
        if gang.exists:
            yield Request(operation=CREATE_GROUP, body=gang.pod_group())
        yield Request(operation=CREATE_JOB, body=manifest.build(dict(spec.output_uris)))

    def _notebook_creations(self, files: str) -> Iterator[Request]:
        yield Request(operation=CREATE_CLAIM, body=notebook_objects.claim(files, self._options))
        yield Request(operation=CREATE_POLICY, body=notebook_objects.network_policy(self._options))
        if self._options.notebook.ingress:
            yield Request(operation=CREATE_SERVICE, body=notebook_objects.service(files, self._options))
            yield Request(operation=CREATE_INGRESS, body=notebook_objects.ingress(files, self._options))

    def _bundle(self, spec: JobSpec, places: PodPlaces) -> tuple[str, list[Request]]:
        """Return the bundle as text, and what must be in the storage because an annotation cannot hold it."""
        document = self._document(spec, places)
        stored: list[Request] = []
        text = _text(document)
        while len(text) > MOST_ANNOTATED and len(stored) < len(_MAY_REFER):
            largest = max(_MAY_REFER, key=lambda field: len(_text(document[field])))
            request = self._store_request(_text(document[largest]))
            stored.append(request)
            document[largest] = {"$ref": places.uri(request.body["uri"]), "sha256": request.body["sha256"]}
            text = _text(document)
        return text, stored

    def _document(self, spec: JobSpec, places: PodPlaces) -> dict[str, Any]:
        user = self._options.uid_gid
        relay = self._options.statsd is None
        document = bundle(
            places.spec(),
            provider={"type": "files", "path": manifests.SECRETS_DIRECTORY},
            metrics={"relay": relay, "gateway": self._options.metrics if relay else None, "socket": None},
            user={"uid": user[0], "gid": user[1]} if user else None,
            checkpoints=None if spec.notebook or spec.serving else self._checkpoints(spec, places),
            notebook=notebook_objects.bundle_fields(spec.notebook.files, self._options) if spec.notebook else {},
            log=None if spec.serving else self._log(spec, places),  # its pods are many, and a log is one job's
            spark_pod=self._executor_pod(spec, places),
        )
        document["inputs"] |= places.linked_inputs()
        document["outputs"] |= places.placed_outputs()
        return document

    def _executor_pod(self, spec: JobSpec, places: PodPlaces) -> dict[str, Any] | None:
        """Return what executors have in common with the job's pods; None for a job that makes none."""
        if not spark.makes_executors(spec):
            return None
        options = self._options
        security = manifests.pod_security(options), manifests.container_security(options)
        everywhere = [volume for volume in options.file_systems if volume.everywhere]
        shared = [({"name": one.name, **one.source}, [one.mount(to_write=not one.read_only)]) for one in everywhere]
        places.spec()  # names every place of the job, so that what holds it is mounted
        return spark.executor_pod(options, *security, [*shared, *places.volumes()])

    def _log(self, spec: JobSpec, places: PodPlaces) -> str | None:
        directory = f"{self._storage_url}/{kept_logs.log_directory(spec.id)}"
        return places.uri(directory, to_write=True) if self._keeps_logs else None

    def _checkpoints(self, spec: JobSpec, places: PodPlaces) -> dict[str, str] | None:
        """Return where checkpoints outlive a pod: beside the job's outputs."""
        base = spec.output_uri.rpartition("/")[0]
        return {"uri": places.uri(f"{base}/checkpoints", to_write=True)} if is_visible(self._options, base) else None

    def _store_request(self, content: str) -> Request:
        digest = hashlib.sha256(content.encode()).hexdigest()
        key = f"bundles/{digest}.json"
        body = {"key": key, "uri": f"{self._storage_url}/{key}", "sha256": digest, "content": content}
        return Request(operation=STORE, body=body, upload=True)

    def _faults(self, spec: JobSpec) -> Iterator[Fault]:
        if spec.kind is JobKind.TUNE:
            yield from (Fault("storage.url", text) for text in self._location_faults("storage.url", self._storage_url))
        if spec.nodes > 1 and spec.retries:
            yield Fault("retries", _TOGETHER)
        if spec.image is None:
            yield Fault("image", "none is given: name one, or the platform's as `[jobs] image`")
        yield from self._multikueue_faults(spec)
        yield from self._gpu_faults(spec)
        yield from _secret_faults(spec)
        yield from self._spark_faults(spec)
        yield from (
            Fault(path, problem) for path, uri in self._locations(spec) for problem in self._location_faults(path, uri)
        )

    def _multikueue_faults(self, spec: JobSpec) -> Iterator[Fault]:
        """Yield what cannot work on another cluster, from which only a Job's status comes back."""
        path = f"{self._name}.multikueue"
        if self._options.multikueue and not self._keeps_logs:
            yield Fault(path, _NO_LOGS)
        if self._options.multikueue and spec.kind in _BOUND_TO_CLUSTER:
            yield Fault(path, f"{_BOUND_TO_CLUSTER[spec.kind]}: {_SWITCH_OFF.format(self._name, spec.name)}")

    def _spark_faults(self, spec: JobSpec) -> Iterator[Fault]:
        if spec.spark is None or not spec.spark.on_kubernetes:
            return
        namespace = spec.spark.namespace
        if namespace and namespace != self._options.namespace:
            own = self._options.namespace or "the context's"
            problem = f"is {namespace}, and jobs are in {own}: pods of one namespace cannot own those of another"
            yield Fault("spark.namespace", f"{problem}: set [{self._name}] namespace to the same, or take one out")
        if self._options.multikueue:
            yield Fault(f"{self._name}.multikueue", "drivers of Spark make pods beside them: switch it off, or [spark]")

    def _gpu_faults(self, spec: JobSpec) -> Iterator[Fault]:
        asked = spec.resources.gpu_type
        if asked is not None and asked not in self._options.gpus:
            known = ", ".join(sorted(self._options.gpus)) or "none"
            path = f"[{self._name}.gpus.{asked}]"
            yield Fault("resources.gpu_type", f"{asked!r} is not configured here: take one of {known}, or add {path}")

    def _location_faults(self, path: str, uri: str) -> Iterator[str]:
        if not is_visible(self._options, uri):
            setting = "[jobs] output and [storage] url" if path == "output" else "[storage] url"
            yield (
                f"{uri} is not seen from a pod: set {setting} to s3://<bucket>/<prefix>, "
                f"or mount what holds it with [mounts]"
            )

    def _locations(self, spec: JobSpec) -> Iterator[tuple[str, str]]:
        yield from ((f"inputs.{channel}", uri) for channel, uri in spec.inputs.items())
        yield from ((f"outputs.{name}", uri) for name, uri in spec.outputs.items() if uri)
        if spec.artifact:
            yield "artifact", spec.artifact
        if spec.source:
            yield "source", spec.source.uri
        if spec.kind is JobKind.TRAIN or not all(spec.outputs.values()):
            yield "output", spec.output_uri

    def _notes(self, spec: JobSpec) -> Iterator[str]:
        if not self._keeps_logs:
            yield f"logs end with their pod: {self._storage_url} is not seen from there, so nothing keeps them"
        if self._options.multikueue:
            objects = [f"ConfigMap {self._runtime().name}", *(f"Secret {name}" for name in spec.secrets)]
            objects += [f"Service {SERVICE}"] if spec.nodes > 1 else []
            yield f"MultiKueue copies only the Job: its clusters must have {', '.join(objects)} in this namespace"
        if Gang(spec, self._options).is_looked_for:
            yield f"nodes start together by a PodGroup, if the cluster has {' or '.join(OWN_GANGS)}; it is asked then"
        if note := host_path_note(self._options.volumes, self._options.user):
            yield note
        shared = spec.resources.shared_memory
        if shared and shared >= spec.resources.memory:
            yield "resources.shared_memory: what is written there counts as memory, and resources.memory is no more"


def _secret_faults(spec: JobSpec) -> Iterator[Fault]:
    for name in spec.secrets:
        if len(name) > _LONGEST_SECRET_NAME or not re.fullmatch(_OBJECT_NAME, name):
            problem = f"{name!r} cannot be the name of a Secret: write lower-case letters, digits, '-' and '.'"
            yield Fault(f"secrets.{name}", problem)


def _text(value: object) -> str:
    """Return JSON in ASCII: as long in bytes as in characters."""
    return _encode(value)
