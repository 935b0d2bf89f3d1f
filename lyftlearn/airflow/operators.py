"""The operators: a task is a job of the frozen API, found again by whoever runs the task again."""

# Airflow has an environment of its own.
# pyright: reportMissingImports=false
from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferralTimeout

from lyftlearn._client import Client
from lyftlearn._jobs.job import Job
from lyftlearn._jobs.tuning import TuningJob
from lyftlearn.airflow.clients import client_of
from lyftlearn.airflow.identity import base_key, keys, needs_another, state_document
from lyftlearn.airflow.links import LINKS, links_of
from lyftlearn.airflow.trigger import JobTrigger
from lyftlearn.errors import (
    AccessDenied,
    Conflict,
    InvalidJob,
    JobFailed,
    JobNotFound,
    JobStopped,
    LyftLearnError,
)
from lyftlearn.types import JobStatus

LOG_LINES = 10_000
"""Of each node, the last lines that the task's log gets when the job has ended."""
_OTHER_NAMES = {"retries": "command_retries"}  # `retries` is Airflow's own
_PATIENCE = 30.0  # seconds for a stop, within Airflow's own patience with a task that it ends
_JOB_ID = "job_id"


def _accept(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a constructor with the arguments of a function of the API, all by keyword, and Airflow's own."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = {_OTHER_NAMES.get(one.name, one.name): one for one in parameters}

    def construct(self: JobOperator, **kwargs: Any) -> None:
        arguments = {one.name: kwargs.pop(name) for name, one in names.items() if name in kwargs}
        JobOperator.__init__(self, arguments=arguments, **kwargs)

    kind = inspect.Parameter
    by_keyword = [one.replace(name=name, kind=kind.KEYWORD_ONLY) for name, one in names.items()]
    ours = [kind("self", kind.POSITIONAL_ONLY), *by_keyword, kind("kwargs", kind.VAR_KEYWORD)]
    construct.__signature__ = inspect.Signature(ours)  # type: ignore[attr-defined]
    return construct


class JobOperator(BaseOperator):
    """What the operators have in common. Every argument of the API is templated.

    config: the path of a configuration file, as of `lyftlearn.Client`. deferrable: whether the task leaves its worker
    while the job runs; without, the worker follows the job's log.
    """

    function: ClassVar[str]
    template_fields: Sequence[str] = ("arguments", "config")
    template_fields_renderers: ClassVar[dict[str, str]] = {"arguments": "json"}
    operator_extra_links = LINKS

    def __init__(
        self, *, arguments: Mapping[str, Any], config: str | None = None, deferrable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        self.config = config
        self.deferrable = deferrable
        self.links: dict[str, str] = {}
        self._job: Job | None = None
        self._is_killed = False

    def execute(self, context: Any) -> dict[str, Any]:
        """Find the task instance's job, or submit it; then leave the worker until it has ended."""
        with self._airflow_errors():
            job = self._find_or_submit(context["ti"])
            self._show(context["ti"], job)
            if self.deferrable and not job.state.status.finished:
                trigger = JobTrigger(job.id, self.config)
                self.defer(trigger=trigger, method_name="complete", timeout=self.execution_timeout)
            return self._finish(job)

    def complete(self, context: Any, event: Mapping[str, Any]) -> dict[str, Any]:
        """End the task as the job ended."""
        with self._airflow_errors():
            job = client_of(self.config).job(event[_JOB_ID])
            self._show(context["ti"], job)
            return self._finish(job)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Stop the job of a task that took longer than its `execution_timeout`, as a task on a worker does."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            ti = context["ti"]
            job_id = ti.xcom_pull(task_ids=self.task_id, key=_JOB_ID, map_indexes=ti.map_index)
            self.log.info("execution_timeout has passed: %s is asked to stop", job_id)
            client_of(self.config).job(job_id).stop()
            raise

    def on_kill(self) -> None:
        """Stop the job. Airflow calls this in a signal's handler, so a thread of its own asks, by a client of its own.

        The main thread may be interrupted anywhere, and may hold any lock of the client that it uses.
        """
        self._is_killed = True
        if self._job is not None:
            thread = threading.Thread(target=_stop, args=(self.config, self._job.id), daemon=True)
            thread.start()
            thread.join(_PATIENCE)

    def _find_or_submit(self, ti: Any) -> Job:
        own_key = self.arguments.get("key")
        succession = keys(own_key or base_key(ti))
        job = self._submit(next(succession), adopts=own_key is None)
        while needs_another(job.state):
            self.log.info("%s is %s (%s): another job is started", job.id, job.state.status, job.state.reason)
            job = self._submit(next(succession), adopts=own_key is None)
        self._job = job
        if self._is_killed:
            job.stop()
        return job

    def _submit(self, key: str, *, adopts: bool) -> Job:
        """Submit the job with this key, or find it.

        adopts: whether a job with other arguments is taken as well. The key is the task instance's, so its job is, too:
        an earlier try submitted it, before a template or the source changed.
        """
        client = client_of(self.config)
        try:
            job: Job = getattr(client, self.function)(**{**self._call_arguments(client), "key": key})
        except Conflict as exc:
            if not adopts:
                raise
            self.log.warning("%s. An earlier try submitted this task's job, which goes on as it is", exc)
            return client.job(exc.job_id)
        return job

    def _call_arguments(self, client: Client) -> dict[str, Any]:
        """Return the arguments of the call; an artifact may be what a LyftLearnTrain returned."""
        artifact = self.arguments.get("artifact")
        if isinstance(artifact, Mapping):
            return {**self.arguments, "artifact": client.job(artifact["id"])}
        return self.arguments

    def _show(self, ti: Any, job: Job) -> None:
        """Keep the job's id and its links, so that they can be seen while it runs."""
        self._job = job
        self.links = links_of(client_of(self.config), job.id)
        self.log.info("the job is %s", job.id)
        for key, value in {_JOB_ID: job.id, **self.links}.items():
            ti.xcom_push(key=key, value=value)

    def _finish(self, job: Job) -> dict[str, Any]:
        """Put the job's log into the task's, and return what XCom gets. Raises JobFailed and JobStopped."""
        self._print_log(job)
        state = job.wait(progress=False)
        best = {"best": _best_document(job)} if isinstance(job, TuningJob) else {}
        return {"id": job.id, "state": state_document(state), "outputs": dict(job.outputs), **best}

    def _print_log(self, job: Job) -> None:
        follow = not job.state.status.finished
        try:
            for line in job.logs(follow=follow, tail=None if follow else LOG_LINES):
                self.log.info("%s", line)
        except LyftLearnError as exc:
            self.log.warning("the job's log cannot be read: %s", exc)

    @contextmanager
    def _airflow_errors(self) -> Iterator[None]:
        """Turn errors into Airflow's: to be retried where the same may succeed, else to fail at once."""
        try:
            yield
        except (InvalidJob, AccessDenied, Conflict, JobNotFound) as exc:
            raise AirflowFailException(str(exc)) from exc
        except (JobFailed, JobStopped) as exc:
            is_passing = self._is_killed if exc.state.status is JobStatus.STOPPED else needs_another(exc.state)
            raise (AirflowException if is_passing else AirflowFailException)(str(exc)) from None
        except LyftLearnError as exc:
            raise AirflowException(str(exc)) from exc


def _stop(config: str | None, job_id: str) -> None:
    with suppress(LyftLearnError):
        Client(config=config).job(job_id).stop()


def _best_document(job: TuningJob) -> dict[str, Any]:
    """Return the best trial, whose hyperparameters a LyftLearnTrain can take."""
    best = job.best()
    return {
        "number": best.number,
        "hyperparameters": dict(best.hyperparameters),
        "objective": best.objective,
        "id": best.job.id,
    }


class LyftLearnTrain(JobOperator):
    """Train a model: the arguments of `lyftlearn.train`, with `command_retries` for its `retries`."""

    function = "train"
    __init__ = _accept(Client.train)


class LyftLearnProcess(JobOperator):
    """Process data: the arguments of `lyftlearn.process`, with `command_retries` for its `retries`."""

    function = "process"
    __init__ = _accept(Client.process)


class LyftLearnPredict(JobOperator):
    """Predict in a batch: the arguments of `lyftlearn.predict`, with `command_retries` for its `retries`.

    artifact: also what a LyftLearnTrain returned, its `.output`.
    """

    function = "predict"
    __init__ = _accept(Client.predict)


class LyftLearnTune(JobOperator):
    """Search hyperparameters: the arguments of `lyftlearn.tune`, with `command_retries` for its `retries`."""

    function = "tune"
    __init__ = _accept(Client.tune)
