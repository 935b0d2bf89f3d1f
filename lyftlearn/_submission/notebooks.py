"""Notebooks: each run is a job, and a record in the storage says which run is the last.

A run is a keyed job. Its key is the owner with the run's number, so its claim makes it exact: two callers open one run,
and whoever comes after a caller that died completes it. The record comes before the claim, and says what the run's
arguments are. It is written under a condition, so every caller sends the same. A run that has ended is followed by the
next, on the backend that accepted the first: there the files are.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from lyftlearn._call.arguments import Arguments, check
from lyftlearn._contract import ids
from lyftlearn._contract.backoff import Backoff
from lyftlearn._submission.claims import LONGEST_CREATE
from lyftlearn._submission.preparation import notebook_files
from lyftlearn._submission.submitter import AcceptedJob
from lyftlearn.backend import Backend, JobRecord
from lyftlearn.errors import DEFINITE_REFUSALS, BackendUnavailable, Conflict, InvalidJob, JobNotFound, LyftLearnError
from lyftlearn.types import JobKind, JobStatus, Resources

if TYPE_CHECKING:
    from lyftlearn._submission.preparation import SubmissionBuilder
    from lyftlearn._submission.submitter import JobSubmitter
    from lyftlearn.rollout import Decision

_log = logging.getLogger("lyftlearn")
_FORMAT = 1
_RACES = 100  # lost in a row; each means that another caller got on
_LOOKS = Backoff(0.1, 2.0)
_SECONDS_TO_END = 300.0  # beyond its grace, for a run that stops
_WRITTEN = ("image", "resources", "env", "secrets", "idle_timeout", "labels")


@dataclass(frozen=True)
class _Notebook:
    """run: the number of the last run. backend: where its files are; None before its first run was accepted.

    refused: whether the last run was, with these arguments: the next caller's are better.
    """

    run: int
    backend: str | None
    arguments: Arguments
    refused: bool = False


class _StoredNotebook(NamedTuple):
    notebook: _Notebook
    version: str
    age: timedelta


class Notebooks:
    """The notebooks of one owner, as a configuration names them."""

    def __init__(
        self, builder: SubmissionBuilder, submitter: JobSubmitter, decide: Callable[[Arguments], Decision]
    ) -> None:
        self._builder = builder
        self._submitter = submitter
        self._decide = decide

    def open(self, arguments: Arguments) -> AcceptedJob:
        """Return the run that is open. Where there is none, open one with these arguments."""
        for _ in range(_RACES):
            stored = self._read(arguments.name)
            if stored is None:
                self._write(_Notebook(1, None, arguments), None)
                continue
            notebook = stored.notebook
            if notebook.refused and notebook.arguments != arguments:
                self._write(replace(notebook, arguments=arguments, refused=False), stored)
                continue
            try:
                accepted = self._submit(notebook, stored.age)
            except DEFINITE_REFUSALS:
                self._write(replace(notebook, refused=True), stored)
                if notebook.arguments == arguments:
                    raise
                continue
            if accepted.new or not self._has_ended(accepted):
                self._write(replace(notebook, backend=self._builder.registry.of_job(accepted.record.id)), stored)
                return self._with_notes(accepted, notebook, arguments)
            self._write(self._next(notebook, accepted.record, arguments), stored)
        raise BackendUnavailable(f"the notebook {arguments.name} changed {_RACES} times while it was opened; try again")

    def find(self, name: str) -> str | None:
        """Return the id of the last run of the notebook `name`; None where there was none."""
        stored = self._read(name)
        if stored is None or stored.notebook.backend is None:
            return None
        arguments = self._keyed_arguments(stored.notebook.arguments, stored.notebook.run)
        letter = self._builder.registry.letter(stored.notebook.backend)
        return ids.new_id(name, JobKind.NOTEBOOK, letter, json.dumps(self._builder.scope(arguments)))

    def start(self, name: str, job_id: str) -> AcceptedJob:
        """Return the open run of the notebook that the job is a run of, with the arguments of its last one."""
        stored = self._read(name)
        notebook = stored and stored.notebook
        if notebook is None or not any(self._is_run(job_id, notebook, run) for run in range(1, notebook.run + 1)):
            owner, project = self._builder.config.owner, self._builder.config.project
            known = f"the notebook {name} of {owner} in project {project}" if notebook else f"{owner}'s in {project}"
            raise JobNotFound(f"{job_id} is no run of {known}: start it as its owner, with its configuration")
        return self.open(notebook.arguments)

    def _is_run(self, job_id: str, notebook: _Notebook, run: int) -> bool:
        parsed, scope = ids.parse(job_id), self._builder.scope(self._keyed_arguments(notebook.arguments, run))
        return parsed is not None and job_id == ids.new_id(
            notebook.arguments.name, JobKind.NOTEBOOK, parsed.letter, json.dumps(scope)
        )

    def _keyed_arguments(self, arguments: Arguments, run: int) -> Arguments:
        return replace(arguments, key=f"{self._builder.config.owner}/{run}")

    def _submit(self, notebook: _Notebook, age: timedelta) -> AcceptedJob:
        arguments = self._keyed_arguments(notebook.arguments, notebook.run)
        decision = self._decide(arguments)
        if notebook.backend is not None:
            why = "the notebook's files are there"
            decision = replace(decision, backend=notebook.backend, other=None, stage=None, reason=why)
        try:
            return self._submitter.submit(arguments, decision)
        except Conflict as held:
            return self._held_run(held, arguments, decision, age)

    def _held_run(self, held: Conflict, arguments: Arguments, decision: Decision, age: timedelta) -> AcceptedJob:
        """Return the run that a caller opened whose arguments another caller, who was refused, has replaced since.

        age: of the record, which is younger than that caller's claim. If the run is not there when its create can come
        no more, it never will be: then it counts as ended.
        """
        content = self._builder.read(arguments)
        try:
            record = self._backend(held.job_id).describe(held.job_id)
        except JobNotFound:
            if age <= LONGEST_CREATE:
                message = f"another call is opening the notebook {arguments.name}; try again"
                raise BackendUnavailable(message) from held
            record = JobRecord.of(self._builder.build(content, decision, held.job_id).spec, datetime.now(UTC))
            return AcceptedJob(record, content, decision, kept=False, new=False)
        return AcceptedJob(record, content, decision, new=False)

    def _has_ended(self, accepted: AcceptedJob) -> bool:
        """Whether a new run may begin. One that stops is waited for: two runs would share its files."""
        if not accepted.kept:
            return True
        job_id, deadline = accepted.record.id, time.monotonic() + _SECONDS_TO_END
        backend, status = self._backend(job_id), accepted.record.event.status
        for pause in _LOOKS:
            if status is not JobStatus.STOPPING:
                return status.finished
            if time.monotonic() >= deadline:
                raise BackendUnavailable(f"{job_id} is still stopping; try again when it has ended")
            time.sleep(pause)
            try:
                status = backend.describe(job_id).event.status
            except JobNotFound:
                return True
            except BackendUnavailable as exc:
                _log.warning("%s; it is asked again", exc)
        return True  # unreachable: the looks never end

    def _backend(self, job_id: str) -> Backend:
        registry = self._builder.registry
        return registry.get(registry.of_job(job_id))

    def _next(self, notebook: _Notebook, ended: JobRecord, arguments: Arguments) -> _Notebook:
        return _Notebook(notebook.run + 1, self._builder.registry.of_job(ended.id), arguments)

    def _with_notes(self, accepted: AcceptedJob, notebook: _Notebook, arguments: Arguments) -> AcceptedJob:
        """Say what a person may not expect: where the notebook is, and with which arguments it runs."""
        name, here = arguments.name, self._builder.registry.of_job(accepted.record.id)
        decided = self._decide(arguments).backend
        notes = list(accepted.notes if accepted.new else ())
        if decided != here:
            notes.append(f"notebook {name} stays on {here}, where its files are; it would go to {decided} now")
        differing = [one for one in _WRITTEN if getattr(notebook.arguments, one) != getattr(arguments, one)]
        if differing:
            remedy = "stop it and call again to change that"
            notes.append(f"notebook {name} runs already, with other arguments ({', '.join(differing)}): {remedy}")
        return accepted._replace(notes=tuple(notes))

    def _key(self, name: str) -> str:
        return f"notebooks/{notebook_files(self._builder.config, name)}.json"

    def _read(self, name: str) -> _StoredNotebook | None:
        key = self._key(name)
        stored = self._builder.storage.read(key)
        if stored is None:
            return None
        try:
            return _StoredNotebook(_decode(stored.data, name), stored.version, stored.age)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            remedy = "restore it, or delete it where no run of this notebook is open; its files stay"
            uri = self._builder.storage.uri(key)
            raise LyftLearnError(f"the record of notebook {name} at {uri} is damaged ({exc}): {remedy}") from exc

    def _write(self, notebook: _Notebook, before: _StoredNotebook | None) -> None:
        """Write it where nobody was faster; whoever was is read next."""
        self._builder.make_directories()
        data, key = _encode(notebook), self._key(notebook.arguments.name)
        if before is None:
            self._builder.storage.create(key, data)
        elif notebook != before.notebook:
            self._builder.storage.replace(key, data, before.version)


def _encode(notebook: _Notebook) -> bytes:
    arguments = notebook.arguments
    written = {
        "image": arguments.image,
        "resources": asdict(arguments.resources),
        "env": dict(arguments.env),
        "secrets": list(arguments.secrets),
        "idle_timeout": arguments.idle_timeout.total_seconds() if arguments.idle_timeout else None,
        "labels": dict(arguments.labels),
    }
    document = {"format": _FORMAT, "run": notebook.run, "backend": notebook.backend, "arguments": written}
    document |= {"refused": True} if notebook.refused else {}
    return json.dumps(document, indent=1).encode()


def _decode(data: bytes, name: str) -> _Notebook:
    """Read a record. Others can write to the storage, so what stands there is checked like a call."""
    document = json.loads(data)
    if document["format"] != _FORMAT:
        raise ValueError(f"it has format {str(document['format'])[:20]}, which this version does not know")
    run, backend = document["run"], document["backend"]
    if type(run) is not int or run < 1 or not (backend is None or isinstance(backend, str)):
        raise ValueError("its run or its backend cannot be")
    try:
        arguments = check(JobKind.NOTEBOOK, _call_arguments(document["arguments"], name))
        return _Notebook(run, backend, arguments, refused=bool(document.get("refused")))
    except InvalidJob as exc:
        raise ValueError(str(exc)) from exc


def _call_arguments(written: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what was written as the arguments of a call."""
    idle, resources = written["idle_timeout"], dict(written["resources"])
    sizes = {key: str(resources[key]) for key in ("memory", "disk", "shared_memory") if resources[key] is not None}
    return {
        "name": name,
        "image": written["image"],
        "resources": Resources(**{**resources, **sizes}),
        "env": written["env"],
        "secrets": written["secrets"],
        "idle_timeout": None if idle is None else timedelta(seconds=idle),
        "labels": written["labels"],
    }
