"""Sending a plan: the bundle to S3, which harms nobody if it is all that is ever sent, then the create that commits."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord, Plan, Storage
from lyftlearn.errors import BackendUnavailable, Conflict, JobNotFound
from lyftlearn_sagemaker._plan import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from lyftlearn_sagemaker._calls import Calls
    from lyftlearn_sagemaker._plan import Planner

_TRIES = 3  # a name that was taken and is free again a moment later was deleted in between


class Submitter:
    """Sends plans. A steady submission is two requests: one to S3, one to SageMaker."""

    def __init__(
        self, calls: Calls, planner: Planner, storage: Callable[[], Storage], describe: Callable[[str], JobRecord]
    ) -> None:
        self._calls = calls
        self._planner = planner
        self._storage = storage
        self._describe = describe
        self._runtime_is_there = False
        self._lock = threading.Lock()

    def submit(self, plan: Plan) -> JobRecord:
        """Send the plan, or find what was sent before."""
        put, create = plan.requests
        storage = self._storage()
        self._send_runtime(storage)
        storage.create(_relative(storage, put.body), encoded(put.body["Body"]))
        return self._create(plan, dict(create.body))

    def _send_runtime(self, storage: Storage) -> None:
        """Look once in the life of this process whether the runtime is there."""
        with self._lock:
            if not self._runtime_is_there:
                storage.upload(self._planner.runtime_key, self._planner.runtime, self._planner.runtime_sha256)
                self._runtime_is_there = True

    def _create(self, plan: Plan, body: dict[str, Any]) -> JobRecord:
        from lyftlearn_sagemaker._errors import code_of  # noqa: PLC0415 - loads botocore

        for _ in range(_TRIES):
            try:
                self._calls.call("sagemaker", "create_training_job", body, job_id=plan.spec.id)
            except Exception as exc:
                if code_of(exc.__cause__ if isinstance(exc.__cause__, Exception) else exc) != "ResourceInUse":
                    raise
                found = self._settle(plan)
                if found:
                    return found
            else:
                return JobRecord.of(plan.spec, datetime.now(UTC))
        message = f"{plan.spec.id} is taken and free in turn: someone deletes it"
        raise BackendUnavailable(message, plan.spec.id)

    def _settle(self, plan: Plan) -> JobRecord | None:
        """Return the job that has the name if it is this one; None if the name is free again."""
        try:
            record = self._describe(plan.spec.id)
        except JobNotFound:
            return None
        except BackendUnavailable as exc:
            raise BackendUnavailable(str(exc), plan.spec.id) from exc
        if record.digest != plan.spec.digest:
            message = f"{plan.spec.id} exists with other arguments (or other content of source or inputs)"
            raise Conflict(message, plan.spec.id)
        return record


def _relative(storage: Storage, put: Any) -> str:
    return f"s3://{put['Bucket']}/{put['Key']}".removeprefix(f"{storage.url}/")
