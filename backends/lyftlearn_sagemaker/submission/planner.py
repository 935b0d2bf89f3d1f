"""From a job to the two requests that submit it, and everything that stands against them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn.backend import Fault, Plan, Request, bundle, runtime_archive
from lyftlearn.types import JobKind
from lyftlearn_sagemaker.submission import documented_rules, hosting, instances, notebooks, service_limits
from lyftlearn_sagemaker.submission.channels import plan_channels, uri_faults
from lyftlearn_sagemaker.submission.fault_words import FaultTranslator
from lyftlearn_sagemaker.submission.file_systems import mount_faults
from lyftlearn_sagemaker.submission.images import region_of, resolve
from lyftlearn_sagemaker.submission.queueing import SUBMIT, goes_by_queue, submit_request
from lyftlearn_sagemaker.submission.request import (
    LONGEST_GRACE,
    checkpoints_uri,
    create_request,
    shown_hyperparameters,
)

if TYPE_CHECKING:
    from lyftlearn.backend import BackendSettings, JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions
    from lyftlearn_sagemaker.options import Options
    from lyftlearn_sagemaker.submission.channels import InputChannels

Unmet: TypeAlias = "Callable[[JobKind, int, int], list[tuple[str, str]]]"
PUT, CREATE = "s3:PutObject", "sagemaker:CreateTrainingJob"


class Planner:
    """Plans jobs with one configuration."""

    def __init__(self, settings: BackendSettings, options: Options, unmet: Unmet) -> None:
        self._name = settings.name
        self._storage_url = settings.storage_url
        self._home = settings.home
        self._options = options
        self._unmet = unmet
        self._choices: dict[tuple[Any, str], instances.Choice] = {}

    def plan(self, spec: JobSpec) -> Plan:
        """Return the requests for `spec`, its faults and its notes."""
        options = self._options.of(spec.name)
        choice = self._choice(spec, options)
        image = resolve(spec.image or options.image, self._options.region, choice.instance)
        region = self._options.region or region_of(image.uri)
        document, channels = self._bundle(spec, options, region)
        output_path = spec.output_uri.removesuffix(f"/{spec.id}/output")
        body = create_request(
            spec,
            options,
            image=image.uri,
            instances=choice.instances,
            channels=channels,
            output_path=output_path,
            checkpoints=checkpoints_uri(spec, options, self._storage_url),
            region=region,
        )
        faults = [
            *self._options.faults,
            *self._unmet(spec.kind, spec.nodes, spec.retries),
            *self._place_faults(spec),
            *([("resources", choice.fault)] if choice.fault else []),
            *([("image", image.fault)] if image.fault else []),
            *mount_faults(self._name, spec, options, self._options.mounts),
            *_isolation_faults(self._name, spec, options, channels),
            *_time_faults(spec),
            *_spark_faults(spec),
            *self._request_faults(body, spec, options, region),
        ]
        return Plan(
            spec=spec,
            backend=self._name,
            requests=(
                _put_request(channels.bundle_uri, document),
                Request(operation=SUBMIT, body=submit_request(spec, options, body))
                if goes_by_queue(spec, options)
                else Request(operation=CREATE, body=body),
            ),
            faults=tuple(dict.fromkeys(faults)),
            notes=(*_notes(spec, options, channels, choice.instances), *_spark_notes(spec, options)),
        )

    def plan_endpoint(self, spec: JobSpec) -> Plan:
        """Return the requests for an endpoint that serves a model, their faults and notes."""
        options = self._options.of(spec.name)
        choice = self._choice(spec, options)
        image = resolve(spec.image or options.image, self._options.region, choice.instance)
        region = self._options.region or region_of(image.uri)
        document = bundle(
            spec, **self._settings(options, region), grace=min(spec.grace.total_seconds(), hosting.LONGEST_GRACE)
        )
        uri = self._bundle_uri(spec, document)
        made = hosting.requests(spec, options, image=image.uri, instance=choice.instance, bundle_uri=uri, region=region)
        faults = [
            *self._options.faults,
            *([("resources", choice.fault)] if choice.fault else []),
            *([("image", image.fault)] if image.fault else []),
            *uri_faults(spec, self._storage_url, ()),
            *hosting.faults(self._name, spec, options, uri),
        ]
        return Plan(
            spec=spec,
            backend=self._name,
            requests=(_put_request(uri, document), *made),
            faults=tuple(dict.fromkeys(faults)),
            notes=tuple(hosting.notes(spec, uri)),
        )

    @property
    def runtime(self) -> Path:
        """The runtime on this machine, whole."""
        return runtime_archive(self._home / "cache" / "runtime")

    @cached_property
    def runtime_sha256(self) -> str:
        """The SHA-256 of the runtime's bytes."""
        return sha256(self.runtime.read_bytes()).hexdigest()

    @property
    def runtime_key(self) -> str:
        """Where in the storage the runtime is: its place follows from its content."""
        return f"runtime/{self.runtime_sha256[:32]}/runtime.pyz"

    def _choice(self, spec: JobSpec, options: JobOptions) -> instances.Choice:
        """Jobs of one model ask for the same again and again."""
        key = (spec.resources, spec.name if spec.name in self._options.models else "")
        if key not in self._choices:
            self._choices[key] = instances.choose(spec.resources, options)
        return self._choices[key]

    def _bundle(self, spec: JobSpec, options: JobOptions, region: str | None) -> tuple[dict[str, Any], InputChannels]:
        """Return the bundle and how files travel. The bundle's own place follows from the rest of it."""
        runtime_uri = f"{self._storage_url}/{self.runtime_key}"
        channels = plan_channels(spec, options, self._options.mounts, self._storage_url, runtime_uri)
        document = bundle(
            spec,
            **self._settings(options, region),
            pack="runtime" if goes_by_queue(spec, options) else "substrate",
            checkpoints={"mode": "mounted"} if checkpoints_uri(spec, options, self._storage_url) else None,
            notebook=notebooks.bundle_fields(spec.id),
            inputs=channels.inputs,
            outputs=channels.outputs,
            source=channels.source,
            artifact=channels.artifact,
            spark_pod={},
            grace=min(spec.grace.total_seconds(), LONGEST_GRACE),
        )
        channels.bundle_uri = self._bundle_uri(spec, document)
        return document, channels

    def _settings(self, options: JobOptions, region: str | None) -> dict[str, Any]:
        """Return what the bundle of a job and that of an endpoint have of this backend."""
        return {
            "provider": {**({"region": region} if region else {}), **options.secrets},
            "metrics": {"relay": True, "gateway": options.metrics, "socket": None},
            "user": {"uid": options.user_uid, "gid": options.user_gid} if options.user_uid is not None else None,
        }

    def _bundle_uri(self, spec: JobSpec, document: Mapping[str, Any]) -> str:
        digest = sha256(encode(document)).hexdigest()[:32]
        return f"{self._storage_url}/bundles/{spec.id}/{digest}/bundle.json"

    def _place_faults(self, spec: JobSpec) -> Iterator[Fault]:
        yield from uri_faults(spec, self._storage_url, self._options.mounts)
        if not self._storage_url.startswith("s3://"):
            yield Fault(
                "storage.url",
                f"is {self._storage_url}, which SageMaker cannot reach: name a bucket, s3://bucket/prefix",
            )
        if not (spec.output_uri.startswith("s3://") and spec.output_uri.endswith(f"/{spec.id}/output")):
            place = spec.output_uri.replace(spec.id, "<job id>")
            yield Fault("jobs.output", f"is {place}: SageMaker writes to s3://.../<job id>/output only")

    def _request_faults(
        self, body: Mapping[str, Any], spec: JobSpec, options: JobOptions, region: str | None
    ) -> Iterator[tuple[str, str]]:
        faults = [*service_limits.faults(body), *documented_rules.faults(body, region)]
        return FaultTranslator(self._name, spec, options, self._storage_url, body).translate(faults)


def _put_request(uri: str, document: Mapping[str, Any]) -> Request:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Request(operation=PUT, body={"Bucket": bucket, "Key": key, "Body": document}, upload=True)


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a bundle as the bytes that are sent. Its order is kept: variables refer to those before them."""
    return json.dumps(document, separators=(",", ":")).encode()


def _isolation_faults(
    backend: str, spec: JobSpec, options: JobOptions, channels: InputChannels
) -> Iterator[tuple[str, str]]:
    if not options.network_isolation:
        return
    lost = {f"secret {name}": True for name in spec.secrets}
    lost |= {f"metrics to {options.metrics}": True} if options.metrics else {}
    placed = {name: uri for name, uri in spec.outputs.items() if uri and "within" not in channels.outputs[name]}
    lost |= {f"output {name} at {uri}": True for name, uri in placed.items()}
    lost |= {"the service, to which it is to submit its trials": True} if spec.kind is JobKind.TUNE else {}
    lost |= {"the session that forwards its port": True} if spec.notebook else {}
    lost |= {"packages that its source requires": True} if spec.packages else {}
    lost |= {"the cluster of its executors": True} if spec.spark and spec.spark.on_kubernetes else {}
    lost |= {f"{path}, which the job would fetch by itself": True for path in channels.via_runtime}
    if lost:
        yield Fault(
            f"{backend}.network_isolation",
            f"leaves the job without: {'; '.join(lost)}. Switch it off for {spec.name}, or do without",
        )


def _spark_faults(spec: JobSpec) -> Iterator[Fault]:
    if spec.spark is None or not spec.spark.on_kubernetes:
        return
    for key in ("server", "credentials", "namespace"):
        if getattr(spec.spark, key) is None:
            yield Fault(f"spark.{key}", "is not set, and a job on SageMaker finds no cluster for its executors: set it")


def _spark_notes(spec: JobSpec, options: JobOptions) -> Iterator[str]:
    if spec.spark and spec.spark.on_kubernetes and not options.vpc_subnets:
        yield "spark: executors can reach a driver in a VPC only: set vpc.subnets and vpc.security_groups"


def _time_faults(spec: JobSpec) -> Iterator[Fault]:
    if not spec.notebook and (spec.timeout + spec.grace).total_seconds() > documented_rules.LONGEST_RUN:
        yield Fault("timeout", f"is {spec.timeout}, and SageMaker ends every training job after 28 days: ask for less")


def _notes(spec: JobSpec, options: JobOptions, channels: InputChannels, types: Sequence[str]) -> Iterator[str]:
    first = next(iter(types), None)
    if options.keys_volume and documented_rules.has_local_storage(first):
        yield f"keys.volume: the disk of {first} is its own, and encrypted by its hardware with no key of yours"
    if types:
        yield f"resources: {spec.nodes} x {', else '.join(types)}"
    if goes_by_queue(spec, options):
        yield f"queue: the job waits in {options.queue}; the image's boto3 uploads its model and outputs"
    elif options.queue:
        yield f"queue: {spec.kind} jobs do not go through {options.queue}, and start at once"
    if options.training_plan and not options.instances_pin:
        yield f"training_plan: {first} must be the plan's instance type; instances.pin would name it"
    hidden = len(json.loads(spec.hyperparameters)) - len(shown_hyperparameters(spec))
    if hidden:
        yield f"hyperparameters: {hidden} do not fit into SageMaker's console; the job gets all of them"
    if spec.grace.total_seconds() > LONGEST_GRACE:
        grace = spec.grace.total_seconds()
        yield f"grace: {LONGEST_GRACE} s instead of {grace:.0f} s, since SageMaker kills after 120 s"
    for path in channels.via_runtime:
        yield f"{path}: fetched by the runtime, with the image's boto3; ended by `/`, SageMaker's own channel would"
    if options.keep_alive:
        yield f"{spec.name} keeps its instances warm for {options.keep_alive} s, which are paid for"
