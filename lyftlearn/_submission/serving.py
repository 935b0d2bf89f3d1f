"""From a train job to the server of its model: the job's image, code, variables, secrets and user, and its model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._call import checks
from lyftlearn._contract import ids
from lyftlearn._contract.fault import Fault
from lyftlearn._contract.spec import JobSpec, ResourceRequest
from lyftlearn._contract.spec_parts import Packages, ServingSpec, Source
from lyftlearn._transfer.download import fetch_archive
from lyftlearn._transfer.packing import source_key
from lyftlearn.errors import InvalidJob, LyftLearnError
from lyftlearn.rollout.decision import of_caller
from lyftlearn.runtime import selftest
from lyftlearn.runtime.archives import unpack
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind, JobStatus, Resources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from lyftlearn._submission.preparation import SubmissionBuilder
    from lyftlearn.backend import JobRecord, StoredJob
    from lyftlearn.runtime.selftest import SelfTest

PORT = 8080
"""That SageMaker asks, and that KServe asks by default."""
_LARGEST_FIELD = 64 << 20
_MOST_PORT = (1 << 16) - 1
_NO_COMMAND = "write what serves the model after `--`, or set [serve] command"


@dataclass(frozen=True, kw_only=True)
class ServerArguments:
    """What somebody asks for. None stands for what the train job had; for the command, for `[serve] command`."""

    command: str | Sequence[str] | None = None
    image: str | None = None
    resources: Resources | None = None
    port: int = PORT


class ServerBuilder:
    """Builds the specification of a server with one configuration."""

    def __init__(self, builder: SubmissionBuilder) -> None:
        self._builder = builder
        self._config = builder.config

    def build(
        self, record: JobRecord, stored: StoredJob, given: ServerArguments, backend: str, digest: str | None = None
    ) -> JobSpec:
        """Return the server of the job's model, on `backend`. Equal models and arguments give equal servers.

        digest: SHA-256 of the model's archive, for whoever has read it. Raises InvalidJob with every fault, and
        LyftLearnError where the model is not there.
        """
        command = self.check(record, given)
        uri = model_uri(record)
        digest = digest or _archive_digest(uri)
        bundle = stored.bundle
        image = given.image or stored.image
        settings: dict[str, Any] = {
            "name": record.name,
            "command": command,
            "image": self._config.image_on(backend, image),
            "source": self._source(bundle),
            "packages": self._packages(bundle),
            "hyperparameters": json.dumps(self._field(bundle, "hyperparameters")),
            "env": MappingProxyType(dict(self._field(bundle, "env"))),
            "secrets": tuple(bundle["secrets"]["names"]),
            "resources": _resources(bundle["resources"], given.resources),
            "artifact": uri,
            "serving": ServingSpec(port=given.port, artifact_sha256=digest),
        }
        return self._spec(settings, backend, record)

    def check(self, record: JobRecord, given: ServerArguments) -> tuple[str, ...]:
        """Return the command, if nothing stands against the call. Raises InvalidJob with every fault."""
        faults = list(_record_faults(record))
        written = given.command or self._config.serve_command
        command = checks.command("command", written, faults) if written else ()
        if not written:
            faults.append(Fault("command", _NO_COMMAND))
        checks.image("image", given.image, faults)
        if given.resources is not None:
            checks.resources("resources", given.resources, faults)
        if not 0 < given.port <= _MOST_PORT:
            faults.append(Fault("port", f"is {given.port}: write a number from 1 to {_MOST_PORT}"))
        if faults:
            raise InvalidJob(faults)
        return command

    def _spec(self, settings: dict[str, Any], backend: str, record: JobRecord) -> JobSpec:
        plain = {name: value for name, value in settings.items() if name not in ("env", "serving", "resources")}
        written = {
            **plain,
            "env": dict(settings["env"]),
            "serving": {"port": settings["serving"].port, "artifact_sha256": settings["serving"].artifact_sha256},
            "resources": asdict(settings["resources"]),
        }
        digest = hashlib.sha256(json.dumps(written, sort_keys=True, default=asdict).encode()).hexdigest()
        letter = self._builder.registry.letter(backend)
        job_id = ids.new_id(record.name, JobKind.PREDICT, letter, digest)
        return JobSpec(
            id=job_id,
            kind=JobKind.PREDICT,
            inputs=MappingProxyType({}),
            outputs=MappingProxyType({}),
            output_uri=f"{self._config.output_url}/{job_id}/output",
            nodes=1,
            timeout=self._config.timeout,
            grace=self._grace,
            retries=0,
            labels=MappingProxyType({"lyftlearn/trained-by": record.id}),
            digest=digest,
            decision=of_caller(backend, {}).as_json(),
            **settings,
        )

    @property
    def _grace(self) -> timedelta:
        return self._config.grace

    def _source(self, bundle: Mapping[str, Any]) -> Source | None:
        """Return the job's source where the storage has it: a bundle names it as one platform's containers see it."""
        source = bundle.get("source")
        if not source:
            return None
        return Source(uri=self._builder.storage.uri(source_key(source["sha256"])), sha256=source["sha256"])

    def _packages(self, bundle: Mapping[str, Any]) -> Packages | None:
        """Return where the job's packages are kept: what it was trained with serves it, whatever is configured now."""
        packages = bundle.get("packages")
        return Packages(uri=f"{self._config.storage_url}/packages", index=packages["index"]) if packages else None

    def _field(self, bundle: Mapping[str, Any], name: str) -> Any:
        """Return a field of the bundle, wherever the platform has put it."""
        value = bundle.get(name, {})
        if not (isinstance(value, Mapping) and set(value) == {"$ref", "sha256"}):
            return value
        key = str(value["$ref"]).rpartition("/bundles/")[2]
        stored = self._builder.storage.read(f"bundles/{key}", _LARGEST_FIELD)
        if stored is None or hashlib.sha256(stored.data).hexdigest() != value["sha256"]:
            raise LyftLearnError(f"the job's {name} is not at {value['$ref']} any more: train the model again")
        return json.loads(stored.data)


def _record_faults(record: JobRecord) -> Iterator[Fault]:
    if record.kind is not JobKind.TRAIN:
        yield Fault("model", f"{record.id} is a {record.kind} job: name a train job, which has a model")
    elif record.event.status is not JobStatus.SUCCEEDED:
        status = record.event.status
        yield Fault("model", f"{record.id} has status {status}: only a job that succeeded has a model")


def again(spec: JobSpec, job_id: str) -> JobSpec:
    """Return the same server as a job of its own: one that ended does not keep the next from starting."""
    return replace(spec, id=job_id, output_uri=spec.output_uri.replace(spec.id, job_id))


def _resources(trained: Mapping[str, Any], given: Resources | None) -> ResourceRequest:
    """Return what the job had, but no GPU: who wants one to serve, or anything else, says so."""
    default, asked = checks.resources("resources", Resources(), []), given or Resources()
    wanted = checks.resources("resources", asked, [])
    had = replace(default, cpu=trained["cpu"], memory=trained["memory"], shared_memory=trained["shared_memory"])
    written = {name for name in asdict(default) if getattr(wanted, name) != getattr(default, name)}
    return replace(had, **{name: getattr(wanted, name) for name in written})


def tested_by_caller(spec: JobSpec) -> JobSpec:
    """Return the same server, which leaves the model's self-tests to its caller."""
    return replace(spec, serving=spec.serving and replace(spec.serving, tested_by_caller=True))


def model_uri(record: JobRecord) -> str:
    """Return where the model of a train job is."""
    return (record.outputs or {}).get("model", "")


def read_model(uri: str) -> tuple[str, list[SelfTest]]:
    """Return the SHA-256 of a model's archive, as it is now, and the self-tests in it.

    Raises LyftLearnError if there is no such archive, or if its tests are none.
    """
    with _archive(uri) as (archive, directory):
        try:
            unpack(str(archive), str(directory / selftest.DIRECTORY), selftest.DIRECTORY, uri, warn=_ignore)
            return _sha256(archive), selftest.load(str(directory))
        except (RuntimeFailure, selftest.SelfTestFault) as failure:
            raise LyftLearnError(f"the self-tests of {uri} cannot be read: {failure}") from failure


def _archive_digest(uri: str) -> str:
    """Return the SHA-256 of a model's archive, as it is now."""
    with _archive(uri) as (archive, _):
        return _sha256(archive)


@contextmanager
def _archive(uri: str) -> Iterator[tuple[Path, Path]]:
    """Give a model's archive as a file of this machine, and a directory that is removed afterwards."""
    with TemporaryDirectory(prefix="lyftlearn-") as directory:
        archive = fetch_archive(Location.parse(uri), Path(directory, "model.tar.gz"))
        if archive is None:
            raise LyftLearnError(f"there is no model at {uri}: the job left none, or somebody has removed it")
        yield archive, Path(directory)


def _sha256(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ignore(_message: str) -> None:
    """Say nothing of what is left out: the runtime says it where it counts."""
