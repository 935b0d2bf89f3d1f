"""The objects that a job becomes, as plain data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lyftlearn.types import JobKind
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.submission import notebook_objects, server_objects, spark
from lyftlearn_kubernetes.submission.gangs import Gang

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lyftlearn.backend import JobSpec
    from lyftlearn_kubernetes.mounts import Volume
    from lyftlearn_kubernetes.options import Options
    from lyftlearn_kubernetes.submission.runtime import RuntimeConfigMap

BUNDLE_DIRECTORY = "/var/run/lyftlearn"
RUNTIME_DIRECTORY = "/var/run/lyftlearn-runtime"
SECRETS_DIRECTORY = "/var/run/lyftlearn-secrets"
PREFIX_OF_SECRETS = "LYFTLEARN_SUBSTRATE_SECRET_"
FILE = "runtime.pyz"
ROOT = "/lyftlearn"
STOP_FILE = f"{ROOT}/.stop-requested"
NOBODYS_GROUP = 65534  # owns the volumes where no user is configured, so that an image's own user can write
REPORT_SECONDS = 60  # beyond the command's grace: for what is kept and reported after its end
UPLOAD_SECONDS = 7200  # beyond everything else that the deadline counts: for inputs, and for model and outputs
# An int32 holds no more. The controller counts in nanoseconds, of which an int64 holds 292 years.
_MOST_SECONDS = 2**31 - 1
_DISRUPTED = {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
_POD_NAME = {"name": "LYFTLEARN_SUBSTRATE_CONTAINER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
# Process 1 hears no signal before it has a handler. The kubelet runs the hook before it sends one.
_NOTE_STOP = ["python3", "-I", "-S", "-c", f"open('{STOP_FILE}', 'w').close()"]
_COMMAND_FAILED = {
    "action": "FailJob",
    "onExitCodes": {"containerName": labels.MAIN, "operator": "NotIn", "values": [0, *labels.REPLACED]},
}


def config_map(runtime: RuntimeConfigMap, options: Options) -> dict[str, Any]:
    """Return the immutable ConfigMap that carries the runtime into the pods of one namespace."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _shared_metadata(runtime.name, options),
        "immutable": True,
        "binaryData": {FILE: runtime.encoded},
    }


def service(options: Options) -> dict[str, Any]:
    """Return the headless Service under which the nodes of every job in a namespace have names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _shared_metadata(labels.SERVICE, options),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {labels.MANAGED_BY: labels.OURS, labels.NODES: "several"},
        },
    }


def _shared_metadata(name: str, options: Options) -> dict[str, Any]:
    return {"name": name, **_namespace(options), "labels": {labels.MANAGED_BY: labels.OURS}}


def _namespace(options: Options) -> dict[str, str]:
    """Return the namespace where one is configured: whoever creates the objects by hand must not miss it."""
    return {"namespace": options.namespace} if options.namespace else {}


class JobManifest:
    """A batch/v1 Job for one spec."""

    def __init__(
        self,
        spec: JobSpec,
        options: Options,
        runtime: RuntimeConfigMap,
        bundle: str,
        file_systems: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]] = (),
    ) -> None:
        self._spec = spec
        self._file_systems = file_systems
        self._options = options
        self._runtime = runtime
        self._bundle = bundle
        self._labels = {**options.labels, **labels.job_labels(spec)}
        self._mounted = self._volumes()

    def build(self, outputs: dict[str, str]) -> dict[str, Any]:
        """Return the manifest; its creation is the whole submission."""
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self._spec.id,
                **_namespace(self._options),
                "labels": {**self._labels, **self._queue_labels()},
                "annotations": {
                    **self._options.annotations,
                    **labels.job_annotations(self._spec, outputs),
                    labels.LIMITS: self._limits(),
                },
            },
            "spec": {**self._job(), "template": self.template()},
        }

    def _limits(self) -> str:
        """Return the limits of waiting as JSON: they travel with the job, whoever looks at it."""
        options = self._options
        limits = {"pending": options.pending.total_seconds(), "starting": options.starting.total_seconds()}
        return labels.compact_json(limits)

    def _queue_labels(self) -> dict[str, str]:
        options = self._options
        queue = {labels.QUEUE: options.queue, labels.PRIORITY: options.priority}
        return {key: value for key, value in queue.items() if value}

    def _job(self) -> dict[str, Any]:
        several = self._spec.nodes > 1
        indexed = {"completionMode": "Indexed"} if several else {}
        return {
            "completions": self._spec.nodes,
            "parallelism": self._spec.nodes,
            **indexed,
            **({"managedBy": labels.MULTIKUEUE} if self._options.multikueue else {}),
            # Nodes that meet at the start cannot take in a stranger later, so a job of several ends when it loses one.
            "backoffLimit": 0 if several else self._options.restarts,
            "podFailurePolicy": {"rules": [_DISRUPTED, _COMMAND_FAILED]},
            "activeDeadlineSeconds": self._deadline(),
            "ttlSecondsAfterFinished": min(_MOST_SECONDS, int(self._options.keep.total_seconds())),
        }

    def _deadline(self) -> int:
        """Return a backstop: the runtime counts the timeout, and from the command's start."""
        options, spec = self._options, self._spec
        waiting = (options.pending + options.starting) * (1 + options.restarts)
        seconds = math.ceil((waiting + spec.timeout + spec.grace).total_seconds()) + UPLOAD_SECONDS
        return min(_MOST_SECONDS, seconds)

    def template(self) -> dict[str, Any]:
        """Return the template of the pods; of a server, the whole job."""
        several = {labels.NODES: "several"} if self._spec.nodes > 1 else {}
        gang = Gang(self._spec, self._options)
        return {
            "metadata": {
                "labels": {**self._labels, **several, **gang.pod_labels},
                "annotations": {**self._options.annotations, labels.BUNDLE: self._bundle, **gang.pod_annotations},
            },
            "spec": {**self._placement(), **gang.pod_fields, **self._pod()},
        }

    def _placement(self) -> dict[str, Any]:
        options, gpu = self._options, self._options.gpus.get(self._spec.resources.gpu_type or "")
        selector = {**options.node_selector, **(gpu.selector if gpu else {})}
        tolerations = [*options.tolerations, *(gpu.tolerations if gpu else ())]
        drives = self._spec.kind is JobKind.TUNE  # and so submits Jobs with its account
        has_spark = spark.makes_executors(self._spec)
        special = (options.tune_service_account if drives else None) or (
            options.spark_service_account if has_spark else None
        )
        fields = {
            "nodeSelector": selector,
            "tolerations": tolerations,
            "priorityClassName": options.priority_class,
            "schedulerName": options.scheduler,
            "serviceAccountName": special or options.service_account,
            "automountServiceAccountToken": drives or has_spark,
            "imagePullSecrets": [{"name": name} for name in options.image_pull_secrets],
            "subdomain": labels.SERVICE if self._spec.nodes > 1 else None,
        }
        return {key: value for key, value in fields.items() if value}

    def _pod(self) -> dict[str, Any]:
        sidecars = self._sidecars()
        return {
            "restartPolicy": "Always" if self._spec.serving else "Never",
            "terminationGracePeriodSeconds": math.ceil(self._spec.grace.total_seconds()) + REPORT_SECONDS,
            "securityContext": pod_security(self._options),
            **({"initContainers": sidecars} if sidecars else {}),
            "containers": [self._container()],
            "volumes": [*(volume for volume, _ in self._mounted), *(volume for volume, _ in self._file_systems)],
        }

    def _sidecars(self) -> list[dict[str, Any]]:
        """Return native sidecars: they start before the job, end with it, and cannot make it fail.

        A shadow has none for StatsD: its metrics must reach nobody.
        """
        counted = self._options.statsd if self._spec.shadow_of is None else None
        statsd = [{"name": "statsd", **counted}] if counted else []
        return [{**container, "restartPolicy": "Always"} for container in (*statsd, *self._options.sidecars)]

    def _container(self) -> dict[str, Any]:
        notebook, serving = self._spec.notebook, self._spec.serving
        # The runtime makes the variables. These tell one that is missing; with a prefix no key PATH reaches anybody.
        secrets = [
            {"prefix": f"{PREFIX_OF_SECRETS}{index}_", "secretRef": {"name": name}}
            for index, name in enumerate(self._spec.secrets)
        ]
        return {
            "name": labels.MAIN,
            "image": self._spec.image,
            "command": ["python3", "-I", f"{RUNTIME_DIRECTORY}/{FILE}", "run"],
            "env": [*({"name": name, "value": value} for name, value in self._variables().items()), _POD_NAME],
            **({"envFrom": secrets} if secrets else {}),
            "lifecycle": {"preStop": {"exec": {"command": _NOTE_STOP}}},
            "resources": {"requests": self._resources(), "limits": self._resources()},
            "volumeMounts": [
                *(mount for _, mount in self._mounted),
                *(mount for _, mounts in self._file_systems for mount in mounts),
            ],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": container_security(self._options),
            **(notebook_objects.container_fields(notebook.files, self._options) if notebook else {}),
            **(server_objects.container_fields(serving, ROOT, self._options) if serving else {}),
        }

    def _variables(self) -> dict[str, str]:
        if self._spec.serving:  # its hook writes no file: one would stop the next container of the pod, too
            return {"LYFTLEARN_SUBSTRATE": server_objects.SUBSTRATE}
        hosts = ",".join(labels.hosts(self._spec.id, self._spec.nodes)) if self._spec.nodes > 1 else None
        return {
            "LYFTLEARN_SUBSTRATE": "kubernetes",
            "LYFTLEARN_SUBSTRATE_STOP": STOP_FILE,
            **({"LYFTLEARN_SUBSTRATE_HOSTS": hosts} if hosts else {}),
        }

    def _resources(self) -> dict[str, str]:
        resources = self._spec.resources
        gpu = self._options.gpus.get(resources.gpu_type or "")
        gpus = {gpu.resource if gpu else "nvidia.com/gpu": str(resources.gpu)} if resources.gpu else {}
        return {
            "cpu": f"{math.ceil(resources.cpu * 1000)}m",
            "memory": quantity(resources.memory),
            "ephemeral-storage": quantity(resources.disk),
            **gpus,
        }

    def _volumes(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return every volume with its mount."""
        bundle_file = {
            "path": "bundle.json",
            "fieldRef": {"fieldPath": f"metadata.annotations['{labels.BUNDLE}']"},
        }
        return [
            _volume("bundle", BUNDLE_DIRECTORY, {"downwardAPI": {"items": [bundle_file]}}, read_only=True),
            _volume("runtime", RUNTIME_DIRECTORY, {"configMap": {"name": self._runtime.name}}, read_only=True),
            _volume("work", ROOT, {"emptyDir": {"sizeLimit": quantity(self._spec.resources.disk)}}),
            *self._shared_memory(),
            *self._secrets(),
            *self._notebook_volumes(),
            *(_platform_volume(volume) for volume in self._options.file_systems if volume.everywhere),
        ]

    def _notebook_volumes(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        notebook = self._spec.notebook
        return notebook_objects.volumes(self._spec.id, notebook.files) if notebook else []

    def _shared_memory(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        size = self._spec.resources.shared_memory
        in_memory = {"emptyDir": {"medium": "Memory", "sizeLimit": quantity(size)}} if size else {}
        return [_volume("shared-memory", "/dev/shm", in_memory)] if size else []  # noqa: S108 - the kernel's name

    def _secrets(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the Secrets as files, and the memory in which the runtime arranges them.

        They are optional here, so that one that is missing is told by its variables: a volume that cannot be mounted is
        told in Events only, and those are forgotten.
        """
        mounted = [
            _volume(
                f"secret-{index}",
                f"{SECRETS_DIRECTORY}/{name}",
                {"secret": {"secretName": name, "optional": True, "defaultMode": 0o440}},
                read_only=True,
            )
            for index, name in enumerate(self._spec.secrets)
        ]
        in_memory = {"emptyDir": {"medium": "Memory"}}
        return [*mounted, _volume("secrets", f"{ROOT}/secrets", in_memory)] if mounted else []


def pod_security(options: Options) -> dict[str, Any]:
    """Return whose processes run in a pod, and whose its volumes are."""
    user = options.uid_gid
    run_as = {"runAsUser": user[0], "runAsGroup": user[1], "runAsNonRoot": user[0] != 0} if user else {}
    return {
        **run_as,
        "fsGroup": user[1] if user else NOBODYS_GROUP,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(options: Options) -> dict[str, Any]:
    """Return what a container's processes may not do."""
    unprivileged = {"capabilities": {"drop": ["ALL"]}} if options.user else {}
    return {"allowPrivilegeEscalation": False, **unprivileged}


def quantity(size: int) -> str:
    """Return bytes as a Kubernetes quantity, in the largest unit that is exact."""
    for power, suffix in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{suffix}"
    return str(size)


def _volume(
    name: str, path: str, source: dict[str, Any], *, read_only: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    mount = {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
    return {"name": name, **source}, mount


def _platform_volume(volume: Volume) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"name": volume.name, **volume.source}, volume.mount(to_write=not volume.read_only)
