"""How a job's files reach it: as channels, which SageMaker fills, or through the runtime.

A channel means every object whose key starts with a text. That is exact for a URI that ends in `/`, for one object of
ours, whose key follows from its content, and for an archive of which the runtime picks one member. A URI without `/` at
its end may be a directory, with siblings that start alike, or a single file, and only a look tells: the runtime looks,
unless `inputs = "directories"` says what they all are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Fault, Location, mount_of
from lyftlearn_sagemaker.record import ARTIFACT, SOURCE
from lyftlearn_sagemaker.submission.file_systems import DATA, MOST_CHANNELS, FileSystemChannels

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker.job_options import JobOptions
    from lyftlearn_sagemaker.mounts import FileSystem

BUNDLE, RUNTIME = "lyftlearn", "lyftlearn-runtime"
RUNTIME_FILE = f"{DATA}/{RUNTIME}/runtime.pyz"
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclass
class InputChannels:
    """How every file but the bundle travels.

    config: the request's InputDataConfig. via_runtime: the fields whose files the runtime fetches by itself. The other
    fields replace the bundle's.
    """

    config: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: dict[str, str] | None = None
    artifact: str | None = None
    via_runtime: list[str] = field(default_factory=list)

    @property
    def bundle_uri(self) -> str:
        """Where the bundle is, which follows from all the rest."""
        uri: str = self.config[0]["DataSource"]["S3DataSource"]["S3Uri"]
        return uri

    @bundle_uri.setter
    def bundle_uri(self, uri: str) -> None:
        self.config[0]["DataSource"]["S3DataSource"]["S3Uri"] = uri


def bundle_uri_of(job: Mapping[str, Any]) -> str | None:
    """Return where the bundle of a described training job is; None for a job without one."""
    channels = job.get("InputDataConfig", ())
    uris = (one["DataSource"]["S3DataSource"]["S3Uri"] for one in channels if one["ChannelName"] == BUNDLE)
    return next(uris, None)


def plan_channels(
    spec: JobSpec, options: JobOptions, mounts: Sequence[FileSystem], storage_url: str, runtime_uri: str
) -> InputChannels:
    """Return how every file of the job but the bundle reaches it."""
    channels = InputChannels()
    channels.config += [_channel(BUNDLE, ""), _channel(RUNTIME, runtime_uri)]
    if spec.source:
        channels.config.append(_channel(SOURCE, spec.source.uri))
        channels.source = {"uri": f"{DATA}/{SOURCE}/{_last(spec.source.uri)}", "sha256": spec.source.sha256}
    file_systems = FileSystemChannels(mounts, channels.config)
    channels.outputs = {name: file_systems.output(uri) for name, uri in spec.outputs.items()}
    if spec.artifact:
        mounted = file_systems.artifact(spec.artifact)
        channels.artifact = mounted or _plan_artifact(spec.artifact, channels)
    linked = {name: file_systems.input(name, uri) for name, uri in spec.inputs.items()}
    for name, uri in spec.inputs.items():
        channels.inputs[name] = linked[name] or _plan_input(name, uri, options, storage_url, channels)
    return channels


def uri_faults(spec: JobSpec, storage_url: str, mounts: Sequence[FileSystem]) -> Iterator[Fault]:
    """Yield every place that is neither in S3 nor on a file system that jobs mount.

    Those in a storage that is not in S3 are left out: that is a fault of its own.
    """
    places = {f"inputs.{name}": uri for name, uri in spec.inputs.items()}
    places |= {f"outputs.{name}": uri for name, uri in spec.outputs.items() if uri}
    places |= {"artifact": spec.artifact} if spec.artifact else {}
    places |= {"source": spec.source.uri} if spec.source else {}
    for path, uri in places.items():
        is_mounted = path != "source" and mount_of(mounts, uri) is not None
        if not (is_mounted or uri.startswith(("s3://", f"{storage_url}/"))):
            remedy = "give an s3:// URI, or mount what holds it with [mounts]"
            yield Fault(path, f"is at {uri}, which SageMaker cannot reach: {remedy}")


def _plan_artifact(uri: str, channels: InputChannels) -> str:
    location = Location.parse(uri)
    if location.path.endswith(_ARCHIVES):
        channels.config.append(_channel(ARTIFACT, location.archive.uri))
        return _in_channel(ARTIFACT, location)
    if uri.endswith("/"):
        channels.config.append(_channel(ARTIFACT, uri))
        return f"{DATA}/{ARTIFACT}"
    channels.via_runtime.append("artifact")
    return uri


def _plan_input(name: str, uri: str, options: JobOptions, storage_url: str, channels: InputChannels) -> dict[str, str]:
    location = Location.parse(uri)
    prefix = location.archive.uri if location.member else _as_prefix(uri, options, storage_url)
    if prefix is None or name.startswith("lyftlearn") or len(channels.config) == MOST_CHANNELS:
        channels.via_runtime.append(f"inputs.{name}")
        return {"uri": uri, "mode": "fetch"}
    channels.config.append(_channel(name, prefix, options.input_mode))
    if location.member:
        return {"uri": _in_channel(name, location), "mode": "fetch"}
    return {"uri": uri, "mode": "mounted"}


def _in_channel(name: str, location: Location) -> str:
    """Return where the job finds one file that a channel brings, and which directory of it is meant."""
    path = f"{DATA}/{name}/{_last(location.path)}"
    return f"{path}#{location.member}" if location.member else path


def _as_prefix(uri: str, options: JobOptions, storage_url: str) -> str | None:
    """Return the prefix that means `uri` and nothing else, or None if only a look tells."""
    if uri.endswith("/") or uri.startswith(f"{storage_url}/inputs/"):
        return uri
    return f"{uri}/" if options.inputs == "directories" else None


def _channel(name: str, uri: str, mode: str = "File") -> dict[str, Any]:
    place = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": place}, "InputMode": mode}


def _last(uri: str) -> str:
    return uri.rpartition("/")[2]
