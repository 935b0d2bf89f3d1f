"""What follows a job while its task is deferred: one listener of the one watch that its backend has in this process."""

# Airflow has an environment of its own.
# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from lyftlearn._jobs.job import Job
from lyftlearn.airflow.clients import client_of
from lyftlearn.backend import Backoff
from lyftlearn.errors import BackendUnavailable, LyftLearnError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class JobTrigger(BaseTrigger):
    """Fires when the job has finished. It keeps no state but ids, so any triggerer may take it up again."""

    def __init__(self, job_id: str, config: str | None = None) -> None:
        super().__init__()
        self.job_id = job_id
        self.config = config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again, in this process or another."""
        return "lyftlearn.airflow.trigger.JobTrigger", {"job_id": self.job_id, "config": self.config}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the job to its end, and say in the task's log what becomes of it."""
        job = await self._find()
        news: asyncio.Queue[LyftLearnError | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(error: LyftLearnError | None) -> None:
            with suppress(RuntimeError):  # the triggerer is ending, and its loop is closed
                loop.call_soon_threadsafe(news.put_nowait, error)

        leave = await asyncio.to_thread(job._listen, tell)  # noqa: SLF001 - a friend of the handle
        try:
            await self._follow(job, news)
        finally:
            leave()
        yield TriggerEvent({"job_id": self.job_id, "status": str(job.state.status)})

    async def on_kill(self) -> None:
        """Stop the job: a person marked or cleared the task. A triggerer that merely ends does not come here."""
        job = await asyncio.to_thread(client_of(self.config).job, self.job_id)
        await asyncio.to_thread(job.stop)

    async def _find(self) -> Job:
        """Return the job's handle, as soon as its backend answers."""
        for pause in Backoff(_FIRST_PAUSE, _LONGEST_PAUSE):
            try:
                return await asyncio.to_thread(client_of(self.config).job, self.job_id)
            except BackendUnavailable as exc:
                self.log.warning("%s", exc)
            await asyncio.sleep(pause)
        raise AssertionError  # pauses do not end

    async def _follow(self, job: Job, news: asyncio.Queue[LyftLearnError | None]) -> None:
        status = None
        while True:
            if job.state.status != status:
                status = job.state.status
                self.log.info("%s is %s", self.job_id, status)
            if job.state.status.finished:
                return
            error = await news.get()
            if error is not None:
                raise error
