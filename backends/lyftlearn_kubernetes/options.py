"""The configuration table `[kubernetes]`: all that the platform decides, and no call site can."""

from __future__ import annotations

import os
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from lyftlearn.backend import (
    NO_PRICES,
    PRICE_OPTIONS,
    Fault,
    Location,
    Option,
    Prices,
    mount_of,
    options,
    read_model_options,
    read_options,
    take_prices,
)
from lyftlearn_kubernetes.mounts import Volume, platform_volumes, read_mounts
from lyftlearn_kubernetes.names import ANNOTATIONS, LABELLED_NAME, LABELS, OBJECT_NAME
from lyftlearn_kubernetes.notebook_options import DNS_LABEL, NAME, NOTEBOOK_OPTIONS, NotebookOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lyftlearn.backend import BackendSettings

GPU_RESOURCE = "nvidia.com/gpu"
ELASTIC = frozenset(
    f"kueue.x-k8s.io/{name}" for name in ("job-min-parallelism", "job-completions-equal-parallelism", "elastic-job")
)
_VOLUME_KEYS = ("hostPath", "persistentVolumeClaim", "mountPath", "readOnly")


def _container(value: Any) -> Mapping[str, Any]:
    """Return a container; the cluster checks what else is in it."""
    if not isinstance(value, dict) or not isinstance(value.get("image"), str) or not value["image"]:
        raise ValueError
    return value


def _sidecar(value: Any) -> Mapping[str, Any]:
    name = options.matching(DNS_LABEL, "").read(_container(value).get("name"))
    if name == "main":
        raise ValueError
    return _container(value)


def _volume(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= set(_VOLUME_KEYS):
        raise ValueError
    sources = value.keys() & {"hostPath", "persistentVolumeClaim"}
    if len(sources) != 1 or not isinstance(value.get("readOnly", False), bool):
        raise ValueError
    for key in (*sources, "mountPath"):
        options.TEXT.read(value.get(key))
    return value


_CONTAINER = options.Kind("a table of a container with an image", _container, {"type": "object", "required": ["image"]})
_SIDECAR = options.Kind(
    'a container with name (not "main") and image', _sidecar, {"type": "object", "required": ["name", "image"]}
)
_VOLUME = options.Kind(
    "a table of hostPath or persistentVolumeClaim, mountPath, readOnly",
    _volume,
    {"type": "object", "properties": {key: {} for key in _VOLUME_KEYS}, "required": ["mountPath"]},
)
OWN_GANGS = ("scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha2")
"""PodGroups of Kubernetes 1.37 and 1.36, the newest first."""
GANGS = (*OWN_GANGS, "scheduling.x-k8s.io/v1alpha1", "scheduling.volcano.sh/v1beta1")
"""All PodGroups: Kubernetes' own, those of the scheduler plugins (coscheduling), and those of Volcano."""
NO_GANG = "none"
_USER = options.matching(r"[0-9]{1,9}:[0-9]{1,9}", '"<uid>:<gid>"')
GPU_OPTIONS = (
    Option(
        key="resource",
        kind=options.TEXT,
        default=GPU_RESOURCE,
        doc="The extended resource that the device plugin offers.",
        example="nvidia.com/gpu",
    ),
    Option(
        key="selector",
        kind=LABELS,
        doc="Labels of the nodes that have this type.",
        example={"nvidia.com/gpu.product": "NVIDIA-A10G"},
    ),
    Option(
        key="tolerations",
        kind=options.TABLES,
        doc="Tolerations of the taints of these nodes.",
        example=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
    ),
)
_KEYS = (
    Option(
        key="kubeconfig",
        kind=options.PATH,
        doc="The kubeconfig, or several as in `KUBECONFIG`, which are merged. What kubectl uses, where it is not set.",
        example="~/.kube/config",
    ),
    Option(
        key="context",
        kind=options.TEXT,
        doc="The context of the kubeconfig; its current one, where it is not set.",
        example="prod",
    ),
    Option(
        key="namespace",
        kind=NAME,
        doc="Where jobs are created and looked for; the context's, where it is not set.",
        example="ml",
    ),
    Option(
        key="service_account",
        kind=OBJECT_NAME,
        doc="The service account of the pods, which gives them access to the object storage.",
        example="trainer",
    ),
    Option(
        key="tune.service_account",
        kind=OBJECT_NAME,
        doc="The service account of searches' drivers, which submit Jobs. By default `service_account`.",
        example="tuner",
    ),
    Option(
        key="spark.service_account",
        kind=OBJECT_NAME,
        doc="The service account of drivers of Spark, which create executors. By default `service_account`.",
        example="spark",
    ),
    Option(
        key="image_pull_secrets",
        kind=options.TEXTS,
        doc="Secrets with which images are pulled.",
        example=["registry"],
    ),
    Option(
        key="node_selector",
        kind=LABELS,
        doc="Labels of the nodes on which pods may run.",
        example={"pool": "ml"},
    ),
    Option(
        key="tolerations",
        kind=options.TABLES,
        doc="Tolerations of the pods, as Kubernetes has them.",
        example=[{"key": "ml", "operator": "Exists"}],
    ),
    Option(key="priority_class", kind=OBJECT_NAME, doc="The PriorityClass of the pods.", example="batch"),
    Option(
        key="queue",
        kind=LABELLED_NAME,
        doc="A Kueue LocalQueue: the label `kueue.x-k8s.io/queue-name` of each Job.",
        example="research",
    ),
    Option(
        key="priority",
        kind=LABELLED_NAME,
        doc="A Kueue WorkloadPriorityClass: the label `kueue.x-k8s.io/priority-class` of each Job. Needs `queue`.",
        example="nightly",
    ),
    Option(
        key="multikueue",
        kind=options.FLAG,
        default=False,
        doc="Whether MultiKueue runs the jobs of `queue` on other clusters. Logs then come from the storage.",
        example=True,
    ),
    Option(
        key="gang",
        kind=options.one_of(*GANGS, NO_GANG),
        doc="The API of the PodGroup by which all nodes of a job start together. Without it Kubernetes' own, if there.",
        example="scheduling.k8s.io/v1beta1",
    ),
    Option(
        key="scheduler",
        kind=options.TEXT,
        doc="The scheduler of the pods (`schedulerName`), where it is not the default one.",
        example="volcano",
    ),
    Option(key="labels", kind=LABELS, doc="Further labels of every Job and pod.", example={"repository": "eta"}),
    Option(
        key="annotations",
        kind=ANNOTATIONS,
        doc="Further annotations of every Job and pod.",
        example={"sidecar.istio.io/inject": "false"},
    ),
    Option(
        key="gpus",
        kind=options.mapping_of(
            options.table_of(GPU_OPTIONS), "tables of resource, selector and tolerations by type of GPU"
        ),
        doc="How each type of GPU is asked for; the key is what `resources.gpu_type` names.",
        example={"A10G": {"selector": {"nvidia.com/gpu.product": "NVIDIA-A10G"}}},
    ),
    Option(
        key="user",
        kind=_USER,
        doc="The uid and gid of the command; with it pods have no capabilities. The image's own, where it is not set.",
        example="1000:1000",
    ),
    Option(
        key="metrics",
        kind=options.GATEWAY,
        doc="The StatsD gateway to which the runtime's relay passes metrics on.",
        example="statsd.example.com:8125",
    ),
    Option(
        key="statsd",
        kind=_CONTAINER,
        doc="A container that listens at 127.0.0.1:8125 in every pod, in place of the relay.",
        example={"image": "example.com/statsd:1"},
    ),
    Option(
        key="sidecars",
        kind=options.list_of(_SIDECAR, 'a list of containers with name (not "main") and image'),
        doc="Further containers. They cannot fail the job. After it they get SIGTERM, then SIGKILL in `grace` + 60 s.",
        example=[{"name": "proxy", "image": "example.com/proxy:1"}],
    ),
    Option(
        key="volumes",
        kind=options.list_of(_VOLUME, "a list of tables: hostPath or persistentVolumeClaim, mountPath, readOnly"),
        doc="Volumes of every pod. `file://` URIs below a `mountPath` can be used.",
        example=[{"persistentVolumeClaim": "shared", "mountPath": "/data"}],
    ),
    *(option._replace(key=f"notebook.{option.key}") for option in NOTEBOOK_OPTIONS),
    *PRICE_OPTIONS,
    Option(
        key="opencost",
        kind=options.matching(r"https?://[^\s?#@]+", "http://<host>:<port> or https://<host>"),
        doc="Where OpenCost answers, which says what jobs have cost. Where it has no word, `prices` count.",
        example="http://opencost.opencost:9003",
    ),
    Option(
        key="restarts",
        kind=options.whole_number(0, 100),
        default=3,
        doc="How often a job of one node starts anew because its node was lost or its pod was evicted.",
        example=3,
    ),
    Option(
        key="keep",
        kind=options.POSITIVE_DURATION,
        default="7d",
        doc="How long a finished Job is kept (`ttlSecondsAfterFinished`).",
        example="7d",
    ),
    Option(
        key="pending",
        kind=options.POSITIVE_DURATION,
        default="24h",
        doc="How long a job may wait for room in a quota, for a node, or for its container. It travels with the job.",
        example="24h",
    ),
    Option(
        key="starting",
        kind=options.POSITIVE_DURATION,
        default="10m",
        doc="How long an image that cannot be pulled, or a missing Secret, is waited for. It travels with the job.",
        example="10m",
    ),
)
_OF_THE_BACKEND = ("kubeconfig", "context", "namespace", "keep", "notebook", "prices", "opencost")
MODEL_OPTIONS = tuple(option for option in _KEYS if option.key.partition(".")[0] not in _OF_THE_BACKEND)
"""What a table `[kubernetes.models.<name>]` may change. What it does not set stays what it is for every job."""
OPTIONS = (
    *_KEYS,
    options.model_tables(MODEL_OPTIONS, example={"eta": {"queue": "research", "priority": "nightly"}}),
)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Gpu(NamedTuple):
    """How a type of GPU is asked for."""

    resource: str = GPU_RESOURCE
    selector: Mapping[str, str] = _NOTHING
    tolerations: tuple[Mapping[str, Any], ...] = ()


class Options(NamedTuple):
    """`[kubernetes]` with every default filled in; `OPTIONS` says what each key means."""

    multikueue: bool
    restarts: int
    keep: timedelta
    pending: timedelta
    starting: timedelta
    notebook: NotebookOptions
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    tune_service_account: str | None = None
    spark_service_account: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = _NOTHING
    tolerations: tuple[Mapping[str, Any], ...] = ()
    priority_class: str | None = None
    queue: str | None = None
    priority: str | None = None
    gang: str | None = None
    scheduler: str | None = None
    labels: Mapping[str, str] = _NOTHING
    annotations: Mapping[str, str] = _NOTHING
    gpus: Mapping[str, Gpu] = _NOTHING
    user: str | None = None
    metrics: str | None = None
    statsd: Mapping[str, Any] | None = None
    sidecars: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Volume, ...] = ()
    prices: Prices = NO_PRICES
    opencost: str | None = None
    models: Mapping[str, Options] = _NOTHING
    faults: tuple[Fault, ...] = ()

    def of(self, model: str) -> Options:
        """Return what jobs of `model` get."""
        return self.models.get(model, self)

    @property
    def file_systems(self) -> tuple[Volume, ...]:
        """Every file system that pods can see."""
        return (*self.mounts, *platform_volumes(self.volumes))

    @property
    def uid_gid(self) -> tuple[int, int] | None:
        """The user that jobs run as, or None for the image's own."""
        if self.user is None:
            return None
        uid, gid = self.user.split(":")
        return int(uid), int(gid)


def read(settings: BackendSettings) -> Options:
    """Return the options; what is wrong with them becomes a fault of every plan."""
    values, faults = read_options(settings.name, settings.table, OPTIONS)
    tables = values.pop("models")
    prices = take_prices(values, f"[{settings.name}.prices]")
    given = _fields(values)
    if "kubeconfig" in given:
        paths = given["kubeconfig"].split(os.pathsep)
        given["kubeconfig"] = os.pathsep.join(str(settings.path("kubeconfig", path)) for path in paths if path)
    changes, model_faults = read_model_options(settings.name, tables, settings.models, MODEL_OPTIONS)
    mounts, mount_faults = read_mounts(settings.name, settings.mounts)
    faults += mount_faults
    base = Options(**given, prices=prices, mounts=tuple(mounts))
    models = {model: base._replace(**_fields(changed)) for model, changed in changes.items()}
    faults += model_faults
    named = {settings.name: base, **{f"{settings.name}.models.{name}": of for name, of in models.items()}}
    for where, options_of in named.items():
        faults += _contradictions(where, options_of)
    every = tuple(faults)
    return base._replace(models={name: of._replace(faults=every) for name, of in models.items()}, faults=every)


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    given = {key.replace(".service", "_service"): value for key, value in values.items() if value is not None}
    if "gpus" in given:
        given["gpus"] = {name: Gpu(**table) for name, table in given["gpus"].items()}
    notebook = {key.partition(".")[2]: given.pop(key) for key in list(given) if key.startswith("notebook.")}
    return {**given, "notebook": NotebookOptions(**notebook)} if notebook else given


DEFAULTS = Options(**_fields({option.key: option.default_value() for option in _KEYS if option not in PRICE_OPTIONS}))
"""What holds where nobody has configured anything."""


def _contradictions(where: str, given: Options) -> Iterator[Fault]:
    if given.queue is None:
        for key in ("priority", "multikueue"):
            if getattr(given, key):
                yield Fault(f"{where}.{key}", "belongs to a queue of Kueue: name one as `queue`, or take this out")
    if given.multikueue and given.gang not in (None, NO_GANG):
        yield Fault(f"{where}.gang", "MultiKueue copies no PodGroup, and Kueue admits all nodes or none: take this out")
    for key in sorted(ELASTIC & {*given.labels, *given.annotations}):
        yield Fault(
            f"{where}.labels", f"{key} lets Kueue change a job's number of nodes, which its nodes rely on: take it out"
        )


def is_visible(options: Options, uri: str) -> bool:
    """Whether pods can reach `uri`: S3 always, files where a file system that they can mount holds them."""
    try:
        location = Location.parse(uri)
    except ValueError:
        return False
    return not location.is_file or mount_of(options.file_systems, uri) is not None
