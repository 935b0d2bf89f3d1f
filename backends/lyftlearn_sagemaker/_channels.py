"""How a job's files reach it: as channels, which SageMaker fills, or through the runtime.

A channel means every object whose key starts with a text. That is exact for a URI that ends in `/`, for one object of
ours, whose key follows from its content, and for an archive of which the runtime picks one member. A URI without `/` at
its end may be a directory, with siblings that start alike, or a single file, and only a look tells: the runtime looks,
unless `inputs = "directories"` says what they all are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker._options import JobOptions

DATA = "/opt/ml/input/data"
BUNDLE, RUNTIME, SOURCE, ARTIFACT = "lyftlearn", "lyftlearn-runtime", "lyftlearn-source", "lyftlearn-artifact"
RUNTIME_FILE = f"{DATA}/{RUNTIME}/runtime.pyz"
_MOST = 20  # of the API; a test holds it against the service model
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclass
class Files:
    """channels: of the request. fetched: what the runtime gets by itself. The other fields replace the bundle's."""

    channels: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    source: dict[str, str] | None = None
    artifact: str | None = None
    fetched: list[str] = field(default_factory=list)

    @property
    def bundle_uri(self) -> str:
        """Where the bundle is, which follows from all the rest."""
        uri: str = self.channels[0]["DataSource"]["S3DataSource"]["S3Uri"]
        return uri

    @bundle_uri.setter
    def bundle_uri(self, uri: str) -> None:
        self.channels[0]["DataSource"]["S3DataSource"]["S3Uri"] = uri


def plan_files(spec: JobSpec, options: JobOptions, storage_url: str, runtime_uri: str) -> Files:
    """Return how every file of the job but the bundle reaches it."""
    files = Files()
    files.channels += [_channel(BUNDLE, ""), _channel(RUNTIME, runtime_uri)]
    if spec.source:
        files.channels.append(_channel(SOURCE, spec.source.uri))
        files.source = {"uri": f"{DATA}/{SOURCE}/{_last(spec.source.uri)}", "sha256": spec.source.sha256}
    if spec.artifact:
        files.artifact = _plan_artifact(spec.artifact, files)
    for name, uri in spec.inputs.items():
        files.inputs[name] = _plan_input(name, uri, options, storage_url, files)
    return files


def field_of(channel: str) -> str:
    """Return the field of the job that a channel carries."""
    return {SOURCE: "source", ARTIFACT: "artifact"}.get(channel, f"inputs.{channel}")


def uri_faults(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Yield every place that is not in S3."""
    places = {f"inputs.{name}": uri for name, uri in spec.inputs.items()}
    places |= {f"outputs.{name}": uri for name, uri in spec.outputs.items() if uri}
    places |= {"artifact": spec.artifact} if spec.artifact else {}
    places |= {"source": spec.source.uri} if spec.source else {}
    for path, uri in places.items():
        if not uri.startswith("s3://"):
            yield path, f"is at {uri}, which SageMaker cannot reach: give an s3:// URI"


def _plan_artifact(uri: str, files: Files) -> str:
    if uri.endswith(_ARCHIVES):
        files.channels.append(_channel(ARTIFACT, uri))
        return f"{DATA}/{ARTIFACT}/{_last(uri)}"
    if uri.endswith("/"):
        files.channels.append(_channel(ARTIFACT, uri))
        return f"{DATA}/{ARTIFACT}"
    files.fetched.append("artifact")
    return uri


def _plan_input(name: str, uri: str, options: JobOptions, storage_url: str, files: Files) -> dict[str, str]:
    archive, _, member = uri.partition("#")
    prefix = archive if member else _as_prefix(uri, options, storage_url)
    if prefix is None or name.startswith("lyftlearn") or len(files.channels) == _MOST:
        files.fetched.append(f"inputs.{name}")
        return {"uri": uri, "mode": "fetch"}
    files.channels.append(_channel(name, prefix, options.input_mode))
    if member:
        return {"uri": f"{DATA}/{name}/{_last(archive)}#{member}", "mode": "fetch"}
    return {"uri": uri, "mode": "mounted"}


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
