"""Sending a plan: the bundle to S3, which harms nobody if it is all that is ever sent, then the create that commits."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord, Plan, Storage
from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound
from lyftlearn_sagemaker.api.errors import AwsError, Kind
from lyftlearn_sagemaker.submission.instances import on_first_instance, without_refused
from lyftlearn_sagemaker.submission.planner import encode
from lyftlearn_sagemaker.submission.queueing import SUBMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from lyftlearn_sagemaker.api.client import AwsClient
    from lyftlearn_sagemaker.submission.planner import Planner

_log = logging.getLogger("lyftlearn")
_ABOUT_TYPES = ("ResourceLimitExceeded", "ValidationException")
_TRIES = 3  # a name that was taken and is free again a moment later was deleted in between


class JobCreator:
    """Sends plans. A steady submission is two requests: one to S3, one to SageMaker.

    describe: finds a job. remember: is told the queue of a job and its id there.
    """

    def __init__(
        self,
        aws: AwsClient,
        planner: Planner,
        storage: Callable[[], Storage],
        *,
        describe: Callable[[str], JobRecord],
        remember: Callable[[str, str, str], None],
    ) -> None:
        self._aws = aws
        self._planner = planner
        self._storage = storage
        self._describe = describe
        self._remember = remember
        self._runtime_is_there = False

    def submit(self, plan: Plan) -> JobRecord:
        """Send the plan, or find what was sent before."""
        put, create = plan.requests
        storage = self._storage()
        self._send_runtime(storage)
        storage.create(_relative(storage, put.body), encode(put.body["Body"]))
        if create.operation == SUBMIT:
            return self._enqueue(plan, dict(create.body))
        return self._create_on_any(plan, self._in_words_of_client(dict(create.body)))

    def _enqueue(self, plan: Plan, body: dict[str, Any]) -> JobRecord:
        """Submit to a queue, where a name may be taken twice: a job that is there already is looked for before.

        Beside that, the client token makes repetitions one request, and Batch may refuse all but the first of them.
        """
        existing = self._settle(plan)
        if existing:
            return existing
        try:
            answer = self._aws.call("batch", "submit_service_job", body)
        except AwsError as exc:
            existing = self._settle(plan, exc) if exc.kind is Kind.REFUSED else None
            if existing:
                return existing
            if not exc.maybe_applied:
                raise
            raise _doubt(plan, exc) from exc.__cause__
        except Exception as exc:
            raise _doubt(plan, exc) from exc
        self._remember(plan.spec.id, body["jobQueue"], answer["jobId"])
        return JobRecord.of(plan.spec, datetime.now(UTC))

    def _in_words_of_client(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the create as the installed boto3 can send it: one of before 2026 knows no list of instance types."""
        resources = body["ResourceConfig"]
        if "InstancePreferences" not in resources or self._aws.knows("sagemaker", "InstancePreference"):
            return body
        alone = on_first_instance(resources)
        _log.warning(
            "%s: this boto3 knows no list of instance types, so only %s is asked for: upgrade boto3",
            body["TrainingJobName"],
            alone["InstanceType"],
        )
        return {**body, "ResourceConfig": alone}

    def _send_runtime(self, storage: Storage) -> None:
        """Look once in the life of this process whether the runtime is there. Threads may look at once: no harm."""
        if not self._runtime_is_there:
            storage.upload(self._planner.runtime_key, self._planner.runtime, self._planner.runtime_sha256)
            self._runtime_is_there = True

    def _create_on_any(self, plan: Plan, body: dict[str, Any]) -> JobRecord:
        """Create the job on the instance types that the account has: a refusal that names some leaves the others."""
        while True:
            try:
                return self._create(plan, body)
            except AwsError as exc:
                resources = None if exc.maybe_applied else without_refused(body["ResourceConfig"], exc.message)
                if exc.code not in _ABOUT_TYPES or resources is None:
                    raise
                _log.warning("%s is asked for on fewer instance types, because AWS says: %s", plan.spec.id, exc.message)
                body = {**body, "ResourceConfig": resources}

    def _create(self, plan: Plan, body: dict[str, Any]) -> JobRecord:
        """Send the create until it is settled. Once an answer may have been lost, nothing counts as a refusal."""
        in_doubt = False
        for _ in range(_TRIES):
            try:
                self._aws.call("sagemaker", "create_training_job", body)
            except AwsError as exc:
                in_doubt = in_doubt or exc.maybe_applied
                if exc.code != "ResourceInUse" and not in_doubt:
                    raise
                record = self._settle(plan, exc) if exc.kind is Kind.REFUSED else None
                if record:
                    return record
                if exc.code != "ResourceInUse":
                    raise _doubt(plan, exc) from exc.__cause__
            except Exception as exc:
                raise _doubt(plan, exc) from exc
            else:
                return JobRecord.of(plan.spec, datetime.now(UTC))
        message = f"{plan.spec.id} is taken and free in turn: someone deletes it"
        raise BackendUnavailable(message, plan.spec.id)

    def _settle(self, plan: Plan, *created: AwsError) -> JobRecord | None:
        """Return the job that has the name if it is this one; None if nothing is seen under the name."""
        try:
            record = self._describe(plan.spec.id)
        except JobNotFound:
            return None
        except AwsError as exc:
            if not created:
                exc.maybe_applied = False  # nothing but a look was asked for
                raise
            raise _doubt(plan, *created, exc) from exc.__cause__
        if record.digest != plan.spec.digest:
            message = f"{plan.spec.id} exists with other arguments (or other content of source or inputs)"
            raise Conflict(message, plan.spec.id)
        return record


def _doubt(plan: Plan, *errors: Exception) -> BackendUnavailable:
    """Return the error that says: nobody knows whether the job was accepted."""
    reasons = "; ".join(str(error) for error in errors)
    return BackendUnavailable(f"it is not known whether {plan.spec.id} was accepted: {reasons}", plan.spec.id)


def _relative(storage: Storage, put: Any) -> str:
    return f"s3://{put['Bucket']}/{put['Key']}".removeprefix(f"{storage.url}/")
