"""The client: what was asked becomes a submission, what was submitted becomes a handle."""

from __future__ import annotations

import copyreg
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from os import PathLike

import lyftlearn
from lyftlearn._json import JSON
from lyftlearn.errors import JobNotFound

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from lyftlearn._annotations import Any, Literal, cast
if TYPE_CHECKING:
    from typing import Any, Literal, cast

    from lyftlearn._jobs.job import Job, Notebook
    from lyftlearn._jobs.tuning import TuningJob
    from lyftlearn._jobs.watcher import SharedWatch
    from lyftlearn._registry import Registry
    from lyftlearn._session import Session
    from lyftlearn._submission.preparation import Submission
    from lyftlearn._submission.submitter import AcceptedJob
    from lyftlearn.backend import JobRecord
    from lyftlearn.config import Config
    from lyftlearn.events import ObservedState
    from lyftlearn.types import JobKind

SHADOW_LABEL = "lyftlearn/shadow"


class Client:
    """Submits and finds jobs. Threads may share a client and its jobs.

    The module-level functions are methods of a default client. `config` is the path of a configuration file, or a
    mapping in place of its content. By default, the client reads the repository's `lyftlearn.toml` over the platform's
    file, at its first use.
    """

    def __init__(self, *, config: str | PathLike[str] | Mapping[str, Any] | None = None) -> None:
        self._given = config
        self._made: Session | None = None
        self._begin()
        _clients.add(self)

    def train(
        self,
        model: str,
        *,
        command: str | Sequence[str],
        image: str | None = None,
        source: str | PathLike[str] | None = None,
        hyperparameters: Mapping[str, JSON] | None = None,
        inputs: Mapping[str, str | PathLike[str]] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        resources: lyftlearn.Resources | None = None,
        nodes: int = 1,
        timeout: lyftlearn.Duration | None = None,
        retries: int = 0,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> lyftlearn.Job:
        """Train `model`, which is what the command leaves in the directory `LYFTLEARN_MODEL_DIR`, and nothing else.

        For example, a command calls `joblib.dump(model, os.path.join(os.environ["LYFTLEARN_MODEL_DIR"], "m.joblib"))`.
        Raises InvalidJob (nothing was sent), Conflict, AccessDenied, QuotaExceeded, BackendUnavailable.

        command: a list is executed as it is; a string goes through `/bin/sh -c`. In both, `$(NAME)` becomes the value
            of the job's variable NAME, by Kubernetes' rules. `$$(NAME)` is the literal text.
        image: the container image; by default the platform's base image.
        source: a directory or archive of code, which is the working directory of every node. Left out are `.git`,
            caches, virtual environments, what lyftlearn wrote, and what `.gitignore` and `.lyftlearnignore` name.
        hyperparameters: any JSON of up to 16 MiB. It arrives in the container with its types intact.
        inputs: names of channels to URIs. Each is a directory in the container, complete on every node. A directory's
            URI means what is under it and nothing else. A single file keeps its name. Nothing there fails the job.
        env: variables of the command.
        secrets: names of secrets. Each key of a secret is a variable and a file in the container, and nowhere else.
        resources: what each node needs; by default `Resources()`.
        nodes: how many containers run the command together. They know each other's names and ranks.
        timeout: from the command's first start, all attempts together; None means the platform's `[jobs] timeout`.
        retries: how often the command runs again after a non-zero exit, but not after it ran out of memory.
        labels: labels of the job, by Kubernetes' rules. `jobs` finds jobs by them.
        key: an idempotency key within this project, function and name. Calls with one key give one job, also when one
            died, when they run at once, and when the flag moved. With other arguments, source or inputs: Conflict.
        """
        return self._submit("train", model=model, command=command, image=image, source=source,
            hyperparameters=hyperparameters, inputs=inputs, env=env, secrets=secrets, resources=resources, nodes=nodes,
            timeout=timeout, retries=retries, labels=labels, key=key)  # fmt: skip

    def process(
        self,
        name: str,
        *,
        command: str | Sequence[str],
        outputs: Sequence[str] | Mapping[str, str | None] = ("output",),
        image: str | None = None,
        source: str | PathLike[str] | None = None,
        hyperparameters: Mapping[str, JSON] | None = None,
        inputs: Mapping[str, str | PathLike[str]] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        resources: lyftlearn.Resources | None = None,
        nodes: int = 1,
        timeout: lyftlearn.Duration | None = None,
        retries: int = 0,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> lyftlearn.Job:
        """Run a data-processing job.

        outputs: names of outputs. Each is a directory in the container, which is kept when the job succeeds: in the
            job's own place, or at the URI that a mapping gives.

        The other arguments and the errors are those of `train`.
        """
        return self._submit("process", name=name, command=command, outputs=outputs, image=image, source=source,
            hyperparameters=hyperparameters, inputs=inputs, env=env, secrets=secrets, resources=resources, nodes=nodes,
            timeout=timeout, retries=retries, labels=labels, key=key)  # fmt: skip

    def predict(
        self,
        model: str,
        *,
        artifact: str | lyftlearn.Job,
        command: str | Sequence[str],
        inputs: Mapping[str, str | PathLike[str]],
        outputs: Sequence[str] | Mapping[str, str | None] = ("predictions",),
        image: str | None = None,
        source: str | PathLike[str] | None = None,
        hyperparameters: Mapping[str, JSON] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        resources: lyftlearn.Resources | None = None,
        nodes: int = 1,
        timeout: lyftlearn.Duration | None = None,
        retries: int = 0,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> lyftlearn.Job:
        """Predict in a batch.

        artifact: a finished train job, or the URI of its model. The job finds it in the model directory.
        outputs: as in `process`.

        The other arguments and the errors are those of `train`.
        """
        return self._submit("predict", model=model, artifact=artifact, command=command, inputs=inputs,
            outputs=outputs, image=image, source=source, hyperparameters=hyperparameters, env=env, secrets=secrets,
            resources=resources, nodes=nodes, timeout=timeout, retries=retries, labels=labels, key=key)  # fmt: skip

    def tune(
        self,
        model: str,
        *,
        command: str | Sequence[str],
        space: Mapping[str, lyftlearn.Uniform | lyftlearn.IntUniform | lyftlearn.Choice],
        objective: lyftlearn.Objective,
        trials: int,
        parallel: int = 1,
        strategy: Literal["bayesian", "random", "grid"] = "bayesian",
        image: str | None = None,
        source: str | PathLike[str] | None = None,
        hyperparameters: Mapping[str, JSON] | None = None,
        inputs: Mapping[str, str | PathLike[str]] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        resources: lyftlearn.Resources | None = None,
        nodes: int = 1,
        timeout: lyftlearn.Duration | None = None,
        retries: int = 0,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> lyftlearn.TuningJob:
        """Search `space` for the best `objective`.

        hyperparameters: those that every trial has.
        strategy: how values are chosen. A grid needs a space of Choice and IntUniform only.

        `timeout` and `retries` hold for each trial. The same call tries the same values on every backend. The other
        arguments and the errors are those of `train`.
        """
        job = self._submit("tune", model=model, command=command, space=space, objective=objective, trials=trials,
            parallel=parallel, strategy=strategy, image=image, source=source, hyperparameters=hyperparameters,
            inputs=inputs, env=env, secrets=secrets, resources=resources, nodes=nodes, timeout=timeout, retries=retries,
            labels=labels, key=key)  # fmt: skip
        return cast("TuningJob", job)

    def notebook(
        self,
        name: str,
        *,
        image: str | None = None,
        resources: lyftlearn.Resources | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        idle_timeout: lyftlearn.Duration | None = "4h",
        labels: Mapping[str, str] | None = None,
    ) -> lyftlearn.Notebook:
        """Open the caller's notebook `name`. Create it if it does not exist.

        A notebook belongs to its owner, the configuration's `owner`, and has one run at a time. If one is open, it is
        found, whatever the other arguments say. Otherwise a new run is opened with these arguments, and with the files
        that earlier runs left in the directory `LYFTLEARN_NOTEBOOK_DIR`. All runs are on the backend of the first.

        idle_timeout: how long nothing may be computed before the notebook stops. A running cell, a busy kernel and an
            open terminal are activity; an open page of a browser is none. None means that it never stops by itself.

        The other arguments and the errors are those of `train`.
        """
        job = self._submit("notebook", name=name, image=image, resources=resources, env=env, secrets=secrets,
            idle_timeout=idle_timeout, labels=labels)  # fmt: skip
        return cast("Notebook", job)

    def job(self, job_id: str) -> lyftlearn.Job:
        """Find a job by its id, from any process, whatever the flag says now.

        Raises JobNotFound when neither its backend keeps the job any more, nor the history knows how it ended.
        """
        watch = self._watch_of(job_id)
        try:
            job = self._handle(watch.describe(job_id))
        except JobNotFound as absence:
            from lyftlearn.history.recall import find_ended  # noqa: PLC0415 - only for jobs that are gone

            return self._handle(find_ended(self._session.history, job_id, absence), kept=False)
        job._note_end()  # noqa: SLF001 - a friend of its handles
        return job

    def jobs(
        self,
        *,
        name: str | None = None,
        kind: lyftlearn.JobKind | str | None = None,
        status: lyftlearn.JobStatus | str | None = None,
        labels: Mapping[str, str] | None = None,
        since: lyftlearn.Duration | datetime | None = None,
        limit: int = 100,
    ) -> Iterator[lyftlearn.Job]:
        """List the jobs of every backend in use, newest first; also those that only the history knows.

        In use are the configured backend, both sides of its migration, and the one that `LYFTLEARN_BACKEND` names.

        Shadows of a migration are left out, unless `labels` asks for the shadow of a job: `{"lyftlearn/shadow": <id>}`.
        If a backend cannot be asked, a warning names it, and the jobs of the others are listed. If it is the only
        backend, its error is raised. Raises InvalidJob.
        """
        from lyftlearn._call.query import check_query  # noqa: PLC0415 - an import of lyftlearn does not pay for it
        from lyftlearn._jobs.listing import JobListing  # noqa: PLC0415 - as above
        from lyftlearn.history.recall import list_records  # noqa: PLC0415 - as above

        query, most = check_query(name=name, kind=kind, status=status, labels=labels, since=since, limit=limit)
        session = self._session
        found = list_records(session.registry, session.history, session.in_use(), query)
        wanted = (one for one in found if SHADOW_LABEL in query.labels or SHADOW_LABEL not in one[0].labels)
        return JobListing(self._handle(record, kept=kept) for record, kept in islice(wanted, most))

    def wait(
        self,
        jobs: Sequence[lyftlearn.Job],
        timeout: lyftlearn.Duration | None = None,
        *,
        check: bool = True,
        on_update: Callable[[lyftlearn.Job, lyftlearn.JobState], None] | None = None,
        progress: bool | None = None,
    ) -> list[lyftlearn.JobState]:
        """Wait until all jobs have finished, and return their states in the order of `jobs`.

        check: whether to raise JobFailed or JobStopped then, for the first job that did not succeed.
        on_update: called with a job and its state whenever the state changes.

        `timeout` and `progress` are those of `Job.wait`.
        """
        from lyftlearn._jobs.wait import wait  # noqa: PLC0415 - brings what draws

        return wait(jobs, timeout, check=check, on_update=on_update, progress=progress)

    @classmethod
    def _of(cls, session: Session) -> Client:
        """Return a client of a session that was made elsewhere."""
        client = cls()
        client._keep(session)
        return client

    def _watch_of(self, job_id: str) -> SharedWatch:
        """Return the shared watch of the backend that the id names. Raises JobNotFound."""
        return self._session.watch_of(job_id)

    @property
    def _config(self) -> Config:
        return self._session.config

    @property
    def _registry(self) -> Registry:
        return self._session.registry

    def _prepare(self, function: str, backend: str | None, /, **given: Any) -> Submission:
        """Return what a call would send; what stands against it is in its plan. Raises InvalidJob; nothing was sent."""
        session = self._session
        arguments = session.check(lyftlearn.JobKind(function), given)
        decision = session.decide(arguments, backend)
        return session.builder.build(session.builder.read(arguments), decision)

    def _submit(self, function: str, **given: Any) -> Job:
        from lyftlearn import _telemetry  # noqa: PLC0415 - an import of lyftlearn does not pay for it

        session, kind = self._session, lyftlearn.JobKind(function)
        with _telemetry.submission(function):
            arguments = session.check(kind, given)
            if kind is lyftlearn.JobKind.NOTEBOOK:
                return self._handle_accepted(session.notebooks.open(arguments))
            accepted = session.submitter.submit(arguments, session.decide(arguments))
            _telemetry.remember_job(accepted.record.id)
        return self._handle_accepted(accepted if accepted.new else accepted._replace(notes=()))

    def _handle_accepted(self, accepted: AcceptedJob) -> Job:
        """Return the handle of an accepted job, with what there is to record and to tell beside it."""
        self._session.recorder.record_submission(accepted)
        if accepted.notes:
            from lyftlearn._submission import notes  # noqa: PLC0415 - only where there are some

            notes.tell(accepted.notes)
        job = self._handle(accepted.record, kept=accepted.kept)
        job._note_end()  # noqa: SLF001 - a friend of its handles
        return job

    def _handle(self, record: JobRecord, *, kept: bool = True) -> Job:
        handle = _handles().get(record.kind, lyftlearn.Job)(self._watch_of, record, kept=kept)
        if isinstance(handle, lyftlearn.Notebook):
            handle._reopen = self._reopen  # noqa: SLF001 - a friend of its handles
        return handle

    def _reopen(self, name: str, job_id: str) -> tuple[JobRecord, bool]:
        accepted = self._session.notebooks.start(name, job_id)
        self._handle_accepted(accepted)
        return accepted.record, accepted.kept

    @property
    def _session(self) -> Session:
        with self._lock:
            if self._made is not None:
                return self._made
            from lyftlearn import _session  # noqa: PLC0415 - an import of lyftlearn does not pay for it

            return self._keep(_session.make(self._given))

    def _keep(self, session: Session) -> Session:
        self._made = session
        self._closing = weakref.finalize(self, session.close)
        return session

    def _begin(self) -> None:
        """Begin without a session; again in a forked child, which cannot use its parent's connections and locks."""
        self._lock = threading.RLock()
        if self._made is not None:
            self._closing.detach()
            _of_the_parent.append(self._made)
            self._made = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the configuration: where it is read, a client opens connections of its own."""
        return _client_of, (None if self is default_client else (self._given,),)


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_of_the_parent: list[Session] = []  # kept for ever, so that nothing in a child closes or locks what is its parent's


def _begin_all() -> None:
    for client in list(_clients):
        client._begin()  # noqa: SLF001 - the same class's other half


os.register_at_fork(after_in_child=_begin_all)


def _client_of(given: tuple[Any] | None) -> Client:
    return default_client if given is None else Client(config=given[0])


default_client = Client()


def _reduce(job: Job) -> tuple[Any, ...]:
    """Pickle a handle, also one inside an error; where it is read, it belongs to the default client."""
    return _revived, (type(job), job._record, job._observed, job._kept)  # noqa: SLF001 - a friend of its handles


def _revived(handle: type[Job], record: JobRecord, progress: ObservedState, kept: bool) -> Job:
    del handle  # it follows from the record; pickles of 1.0 name it
    job = default_client._handle(record, kept=kept)  # noqa: SLF001
    job._observed = progress  # noqa: SLF001
    return job


def _handles() -> Mapping[JobKind, type[Job]]:
    """Return which handle a job of each kind has. Nobody has one before this has said how they are pickled."""
    from lyftlearn._jobs.handles import HANDLES  # noqa: PLC0415 - an import of lyftlearn does not pay for it

    if lyftlearn.Job not in copyreg.dispatch_table:
        for handle in (*HANDLES.values(), lyftlearn.Job):
            copyreg.pickle(handle, _reduce)
    return HANDLES
