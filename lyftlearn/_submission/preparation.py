"""From a checked call to a plan: which id, which files, what digest. Reads local files and asks nobody."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from lyftlearn import _telemetry
from lyftlearn._contract import ids
from lyftlearn._contract.mounts import Mount, mount_of, plain_path
from lyftlearn._contract.private import make_private
from lyftlearn._contract.spec import JobSpec
from lyftlearn._submission.routes import InputRoutes, LocalInput
from lyftlearn.backend import Plan
from lyftlearn.errors import InvalidJob, LyftLearnError
from lyftlearn.runtime.location import Location
from lyftlearn.types import JobKind, JobStatus

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn._contract.spec_parts import NotebookSpec, Packages, Source
    from lyftlearn._registry import Registry
    from lyftlearn._storage import Storage
    from lyftlearn._submission.claims import Scope
    from lyftlearn._transfer import Packed
    from lyftlearn.backend import Backend
    from lyftlearn.config import Config
    from lyftlearn.rollout import Decision

_encode = json.JSONEncoder(sort_keys=True).encode
JUPYTER = ("jupyter", "lab")
"""The command of a notebook. The runtime adds its options."""
_LONGEST = timedelta(days=365)
"""For which a notebook runs that nobody stops: platforms want a number, and a working day is nobody's timeout."""

EMPTY = "empty"
"""The directory with nothing in it, in the archive that stands for one."""


class Content(NamedTuple):
    """What a call says and brings, read once. Wherever it is sent, now or later, exactly this is sent.

    local: path of the argument to the input on this machine. is_uploaded: whether all of it is in the storage already.
    """

    arguments: Arguments
    scope: Scope | None
    source: Packed | None
    local: Mapping[str, LocalInput]
    digest: str
    is_uploaded: bool = False


class Submission(NamedTuple):
    """A job that is ready to be sent.

    uploads: paths of inputs with the SHA-256 of their content. They and the source must be in the storage before.
    """

    content: Content
    decision: Decision
    spec: JobSpec
    plan: Plan
    uploads: tuple[tuple[Path, str], ...]


class SubmissionBuilder:
    """Prepares jobs with one configuration."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.config = config
        self.registry = registry

    @cached_property
    def storage(self) -> Storage:
        """The platform's storage, opened when a job first needs it: a client for S3 takes its time."""
        from lyftlearn._storage import open_storage  # noqa: PLC0415 - as it says

        return open_storage(self.config.storage_url)

    def make_directories(self) -> None:
        """Make the home, for this user alone, and a storage that is a directory: jobs that write there come later."""
        from lyftlearn._storage import make_storage_directory  # noqa: PLC0415 - as above

        with suppress(OSError):  # whoever needs it will say what is wrong
            make_private(self.config.home)
        with suppress(OSError):
            make_storage_directory(self.config.storage_url)

    def read(self, arguments: Arguments, *, as_first_version: bool = False) -> Content:
        """Read what the call brings from this machine. Raises LyftLearnError where it cannot be read.

        as_first_version: whether the source has all that version 1.0.0 took along.
        """
        scope = self.scope(arguments)
        packed = self._pack_source(arguments, as_first_version=as_first_version)
        local = self._local_inputs(arguments)
        return Content(
            arguments=arguments,
            scope=scope,
            source=packed,
            local=local,
            digest=content_digest(arguments, packed, _compared_texts(local) if scope is not None else {}),
        )

    def build_valid(self, content: Content, decision: Decision, job_id: str | None = None) -> Submission:
        """Return the job on the backend that was decided. Raises InvalidJob with every fault."""
        with _telemetry.span("plan", backend=decision.backend):
            submission = self.build(content, decision, job_id)
        if submission.plan.faults:
            raise InvalidJob(submission.plan.faults)
        return submission

    def build(self, content: Content, decision: Decision, job_id: str | None = None) -> Submission:
        """Return the job on the backend that was decided; what stands against it is in its plan.

        Raises InvalidJob where there is no plan: for a kind of job that the backend does not know at all.
        """
        arguments, backend = content.arguments, self.registry.get(decision.backend)
        faults = backend.unmet(arguments.kind, arguments.nodes, arguments.retries)
        if faults and arguments.kind in (JobKind.TUNE, JobKind.NOTEBOOK):
            raise InvalidJob(faults)
        routes = InputRoutes(arguments, content.local, backend, self.config.mounts(backend.name))
        uploads = routes.uploads()
        spec = self._spec(
            content,
            backend=backend.name,
            job_id=job_id or self.job_id(content, backend.name),
            places={path: self._uri(local, uploads.get(path)) for path, local in content.local.items()},
            decision=decision,
        )
        plan = self._plan_search(content, spec, backend) if spec.kind is JobKind.TUNE else backend.plan(spec)
        plan = _with_faults(plan, [*faults, *routes.faults()])
        return Submission(
            content=content,
            decision=decision,
            spec=plan.spec,
            plan=replace(plan, notes=(*plan.notes, *routes.notes())),
            uploads=tuple((local.path, local.sha256) for local in uploads.values()),
        )

    def _plan_search(self, content: Content, spec: JobSpec, backend: Backend) -> Plan:
        from lyftlearn._submission import searches  # noqa: PLC0415 - only for tuning jobs

        return searches.plan(self.config, content, spec, backend)

    def job_id(self, content: Content, backend: str) -> str:
        """Return an id for the job on `backend`: with a key always the same."""
        arguments, scope = content.arguments, content.scope
        letter = self.registry.letter(backend)
        return ids.new_id(arguments.name, arguments.kind, letter, json.dumps(scope) if scope else None)

    def is_id_of(self, content: Content, job_id: str) -> bool:
        """Whether a job of this call with a key can have this id, whatever letter its backend had then."""
        parsed, arguments = ids.parse(job_id), content.arguments
        if parsed is None:
            return False
        return job_id == ids.new_id(arguments.name, arguments.kind, parsed.letter, json.dumps(content.scope))

    def _spec(
        self, content: Content, *, backend: str, job_id: str, places: Mapping[str, str], decision: Decision
    ) -> JobSpec:
        arguments = content.arguments
        notebook = self._notebook(arguments)
        inputs = {name: places.get(f"inputs.{name}", location.uri) for name, location in arguments.inputs.items()}
        return JobSpec(
            id=job_id,
            kind=arguments.kind,
            name=arguments.name,
            command=JUPYTER if notebook else arguments.command,
            image=self.config.image_on(backend, arguments.image),
            source=self._source(content.source),
            packages=self._packages() if content.source else None,
            hyperparameters=arguments.hyperparameters,
            inputs=MappingProxyType(inputs),
            outputs=arguments.outputs,
            output_uri=f"{self.config.output_url}/{job_id}/output",
            artifact=places.get("artifact") or (arguments.artifact.uri if arguments.artifact else None),
            env=MappingProxyType({**_telemetry.environment(), **arguments.env}),
            secrets=arguments.secrets,
            resources=arguments.resources,
            nodes=arguments.nodes,
            timeout=_LONGEST if notebook else arguments.timeout or self.config.timeout,
            grace=self.config.grace,
            retries=arguments.retries,
            labels=arguments.labels,
            digest=content.digest,
            decision=decision.as_json(),
            notebook=notebook,
            spark=None if arguments.kind is JobKind.TUNE else self.config.spark(arguments.image),
        )

    def _notebook(self, arguments: Arguments) -> NotebookSpec | None:
        if arguments.kind is not JobKind.NOTEBOOK:
            return None
        from lyftlearn._contract.spec_parts import NotebookSpec  # noqa: PLC0415 - only for notebooks

        return NotebookSpec(files=notebook_files(self.config, arguments.name), idle_timeout=arguments.idle_timeout)

    def _packages(self) -> Packages | None:
        if not self.config.installs_requirements:
            return None
        from lyftlearn._contract.spec_parts import Packages  # noqa: PLC0415 - only for jobs that bring code

        return Packages(uri=f"{self.config.storage_url}/packages", index=self.config.package_index)

    def _source(self, packed: Packed | None) -> Source | None:
        if packed is None:
            return None
        from lyftlearn._contract.spec_parts import Source  # noqa: PLC0415 - only for jobs that bring code
        from lyftlearn._transfer import source_uri  # noqa: PLC0415 - as above

        return Source(uri=source_uri(self.storage, packed), sha256=packed.sha256)

    def scope(self, arguments: Arguments) -> Scope | None:
        """Return within what the key of the call is unique; None without a key."""
        if arguments.key is None:
            return None
        return (self.config.project, str(arguments.kind), arguments.name, arguments.key)

    def _pack_source(self, arguments: Arguments, *, as_first_version: bool) -> Packed | None:
        if arguments.source is None:
            return None
        from lyftlearn._transfer import SourceRules, pack_source  # noqa: PLC0415 - only for jobs that bring code

        cache = self.config.home / "cache" / "sources"
        rules = SourceRules(by_git=False, by_mark=False) if as_first_version else SourceRules.of(self.config)
        return pack_source(arguments.source, cache, rules)

    def _local_inputs(self, arguments: Arguments) -> dict[str, LocalInput]:
        """Return path of the argument to what is on this machine, or stands in for what a job did not leave."""
        mounts = self.config.mounts()
        found: dict[str, LocalInput] = {}
        for path, location in _locations(arguments).items():
            mount = mount_of(mounts, location.uri)
            if self._was_left_empty(path, location, mount):
                found[path] = LocalInput(self._empty_archive(), member=EMPTY, stands_in=True)
            elif mount is not None:
                place = plain_path(location.path) + ("/" if location.path.endswith("/") else "")
                uri = location.at(place).uri
                found[path] = LocalInput(Path(place), uri, location.member, mount=mount.name)
            elif location.is_file:
                uri = location.at(Location.of_path(location.path).path).uri
                found[path] = LocalInput(Path(location.path), uri, location.member)
        return found

    def _was_left_empty(self, path: str, location: Location, mount: Mount | None) -> bool:
        """Whether an archive is absent because its job, which succeeded, had nothing to put into it.

        Not every substrate makes an archive of nothing. Nobody can tell of a mount that is not on this machine. Raises
        InvalidJob for what is not on this machine otherwise.
        """
        job_id = ids.job_of_output(location)
        if job_id is None or (mount is not None and not Path(mount.path).is_dir()) or self._exists(location):
            return False
        if self._has_succeeded(job_id):
            return True
        if location.is_file:
            raise InvalidJob([(path, f"{location.uri!r} is not there: {job_id} has not succeeded")])
        return False

    def _exists(self, location: Location) -> bool:
        from lyftlearn._transfer.download import exists  # noqa: PLC0415 - only for what jobs have left

        try:
            return exists(location)
        except LyftLearnError:
            return True  # the job will find out, and say so

    def _has_succeeded(self, job_id: str) -> bool:
        name = self.registry.named_in(job_id)
        try:
            return name is not None and self.registry.get(name).describe(job_id).event.status is JobStatus.SUCCEEDED
        except LyftLearnError:
            return False

    def _empty_archive(self) -> Path:
        from lyftlearn._transfer.archives import empty_archive  # noqa: PLC0415 - as above

        return empty_archive(self.config.home / "cache" / "empty", EMPTY)

    def _uri(self, local: LocalInput, uploaded: LocalInput | None) -> str:
        if uploaded is None:
            return local.uri
        from lyftlearn._transfer import input_uri  # noqa: PLC0415 - only for inputs that travel

        uri = input_uri(self.storage, local.path, local.sha256)
        return f"{uri}#{local.member}" if local.member else uri


def notebook_files(config: Config, name: str) -> str:
    """Return what names the files of the owner's notebook `name`, wherever they are kept."""
    return ids.notebook_files(name, json.dumps([config.project, config.owner, name]))


def _with_faults(plan: Plan, faults: list[tuple[str, str]]) -> Plan:
    if not faults:
        return plan
    paths = {path for path, _ in faults}
    return replace(plan, faults=(*faults, *(fault for fault in plan.faults if fault[0] not in paths)))


def _locations(arguments: Arguments) -> dict[str, Location]:
    locations = {f"inputs.{channel}": location for channel, location in arguments.inputs.items()}
    return locations | ({"artifact": arguments.artifact} if arguments.artifact else {})


def _compared_texts(local: Mapping[str, LocalInput]) -> dict[str, str]:
    """Return what a key compares of each input: its content; of what is under a mount, its name alone."""
    compared = {}
    for path, one in local.items():
        if one.mount is not None:
            compared[path] = one.uri.rstrip("/")
        elif one.path.exists() and not one.stands_in:
            compared[path] = f"sha256:{one.sha256}" + (f"#{one.member}" if one.member else "")
    return compared


def content_digest(arguments: Arguments, packed: Packed | None, compared: Mapping[str, str]) -> str:
    """Return the digest of a call: what it says, and what it brings."""
    places = {path: location.uri for path, location in _locations(arguments).items()}
    written = {
        **arguments.as_written(),
        "source": packed.content if packed else None,
        "places": {"artifact": "None", **places, **compared},
    }
    return hashlib.sha256(_encode(written).encode()).hexdigest()
