"""One training job after another: its statuses, and the thread that steps them."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn.runtime.tree import remove_tree

from .containers import Containers, Ended
from .resources import count_of, types_of
from .surroundings import MissingInput, NotMounted

if TYPE_CHECKING:
    from . import Conduct
    from .surroundings import Surroundings

_LONGEST_PENDING = 28 * 86400
ENDS = ("Completed", "Failed", "Stopped")
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Pending": "Training job waiting for capacity",
    "Downloading": "Downloading the training image",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Interrupted": "Training job interrupted: spot capacity was reclaimed",
    "Restarting": "Restarting the training job after an infrastructure failure",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
}


def _now() -> float:
    return round(time.time(), 3)


class Job:
    """A job as Describe tells it."""

    def __init__(self, request: dict[str, Any], arn: str, conduct: Conduct, around: Surroundings, home: Path) -> None:
        self.request = request
        self.name: str = request["TrainingJobName"]
        self.tags: list[dict[str, str]] = list(request.get("Tags", []))
        self.created = _now()
        self._conduct = conduct
        self._around = around
        self._home = home
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._wake = threading.Event()
        self._restart: str | None = None
        self._restarts_left = request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        self._containers: Containers | None = None
        self._selected: str | None = None
        self._count = count_of(request["ResourceConfig"])
        self._told: dict[str, Any] = {
            "CreationTime": self.created,
            "TrainingJobArn": arn,
            "SecondaryStatusTransitions": [],
        }
        self.status = "InProgress"
        self._enter("Pending")
        self.thread = threading.Thread(target=self._run, daemon=True, name=self.name)

    def described(self) -> dict[str, Any]:
        """Return the answer of Describe."""
        with self._lock:
            kept = {name: value for name, value in self.request.items() if name != "Tags"}
            path = f"{self.request['OutputDataConfig']['S3OutputPath']}/{self.name}/output/model.tar.gz"
            transitions = [dict(one) for one in self._told["SecondaryStatusTransitions"]]
            told = {**self._told, "SecondaryStatusTransitions": transitions}
            if self._selected and "InstancePreferences" in kept["ResourceConfig"]:
                selected = {"SelectedInstanceType": self._selected, "SelectedInstanceCount": self._count}
                kept["ResourceConfig"] = {**kept["ResourceConfig"], **selected}
            return {**kept, **told, "TrainingJobStatus": self.status, "ModelArtifacts": {"S3ModelArtifacts": path}}

    def summary(self) -> dict[str, Any]:
        """Return the line of a list."""
        names = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime",
                 "TrainingJobStatus", "SecondaryStatus")  # fmt: skip
        described = self.described()
        return {name: described[name] for name in names if name in described}

    def uses(self, kind: str) -> bool:
        """Whether the job holds an instance of this type."""
        held = [self._selected] if self._selected else types_of(self.request["ResourceConfig"])
        return self.status not in ENDS and kind in held

    def hands_over_to(self, job: Job) -> bool:
        """Whether the instances that this one has kept warm are taken over by `job`; if so, it says so itself."""
        own, resources = self.request["ResourceConfig"], job.request["ResourceConfig"]
        warm = self._told.get("WarmPoolStatus", {}).get("Status") == "Available"
        age = _now() - self._told.get("TrainingEndTime", 0)
        if not warm or own != resources or age > own["KeepAlivePeriodInSeconds"]:
            return False
        self._told["WarmPoolStatus"] = {"Status": "Reused", "ReusedByJob": job.name}
        return True

    def stop(self) -> bool:
        """Begin to stop; False if the job has ended."""
        with self._lock:
            if self.status in ENDS:
                return False
            if self.status != "Stopping":
                self.status = "Stopping"
                self._enter("Stopping")
            self._stopping.set()
        self._wake.set()
        return True

    def break_off(self, secondary: str) -> None:
        """Take the machines away: `Interrupted` (spot) or `Restarting` (a fault of the infrastructure)."""
        self._restart = secondary
        self._wake.set()
        if self._containers:
            self._containers.kill()

    def finish(self, status: str = "Completed", reason: str | None = None, **told: Any) -> None:
        """End the job as told: for jobs that run no containers, and for ends that no container brings about."""
        with self._lock:
            if self.status in ENDS:
                return
            self._told |= told | ({"FailureReason": reason[:1024]} if reason else {})
            self._end(status, status)
        self._finished.set()
        self._wake.set()
        if self._containers:
            self._containers.kill()

    def _run(self) -> None:
        try:
            while not self._run_once():
                pass
        except MissingInput as error:
            self._fail(f"ClientError: Data download failed:{error}")
        except NotMounted as error:
            self._fail(f"ClientError: {error}")
        except Exception as error:  # noqa: BLE001 - a job must end
            self._fail(f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            with suppress(OSError):
                remove_tree(self._home)

    def _run_once(self) -> bool:
        """Return whether the job is over; else the infrastructure starts it anew."""
        if not self._find_capacity():
            return True
        for secondary in ("Starting", "Downloading", "Training"):
            if self._pause() or not self._advance(secondary):
                return True
        if not self._conduct.containers:
            while not (self._finished.is_set() or self._stopping.is_set()):
                if self._restart:
                    return not self._begin_anew()
                self._wake.wait()
                self._wake.clear()
            if self._stopping.is_set():
                self._ended_by_stop("Stopped")
            return True
        self._containers = Containers(self.request, self._home, self._around, self._conduct)
        ended = self._containers.run(self._stopping)
        self._containers = None
        if self._restart:
            return not self._begin_anew()
        self._conclude(ended)
        return True

    def _find_capacity(self) -> bool:
        """Take the first instance type that has capacity; False if the job is over before there is one."""
        seconds = self.request.get("StoppingCondition", {}).get("MaxPendingTimeInSeconds", _LONGEST_PENDING)
        deadline = time.monotonic() + seconds / self._conduct.hurry
        while True:
            free = [kind for kind in types_of(self.request["ResourceConfig"]) if kind not in self._conduct.scarce]
            self._selected = next(iter(free), None)
            if self._selected:
                return True
            if time.monotonic() > deadline:
                self._give_up_waiting(seconds)
                return False
            if self._finished.is_set():
                return False
            if self._stopping.wait(0.02):
                self._ended_by_stop("Stopped")
                return False

    def _give_up_waiting(self, seconds: float) -> None:
        with self._lock:
            self._told["CreationTime"] = self.created = min(self.created, _now() - seconds)  # the hurry is the test's
            if self._conduct.pending_ends == "Failed":
                self._fail("CapacityError: MaxPendingTimeInSeconds was exceeded. Please retry later.")
                return
            if self._conduct.pending_ends == "Stopping":
                self._enter("Stopping")
            self._ended_by_stop("Stopped")

    def _pause(self) -> bool:
        """Let a step take its time; True if the job is to stop before it has begun."""
        if self._stopping.wait(self._conduct.step):
            self._ended_by_stop("Stopped")
            return True
        return self._finished.is_set()

    def _advance(self, secondary: str) -> bool:
        with self._lock:
            if self.status != "InProgress":
                return self._pause()
            if secondary == "Training":
                self._told.setdefault("TrainingStartTime", _now())
            self._enter(secondary)
        return True

    def _begin_anew(self) -> bool:
        secondary, self._restart = self._restart or "Restarting", None
        if secondary == "Restarting" and self._restarts_left == 0:
            self._fail("InternalServerError: We encountered an internal error. Please try again.")
            return False
        self._restarts_left -= secondary == "Restarting"
        with suppress(OSError):  # another machine
            remove_tree(self._home)
        self._enter(secondary)
        return True

    def _conclude(self, ended: Ended) -> None:
        self._note_metrics(ended)
        if ended.stopped or self._stopping.is_set():
            self._around.upload(self.request, self._home, model=True)
            self._ended_by_stop("Stopped")
        elif ended.timed_out:
            self._around.upload(self.request, self._home, model=True)
            self._ended_by_stop("MaxRuntimeExceeded")
        elif ended.code == 0:
            self._enter("Uploading")
            self._around.upload(self.request, self._home, model=True)
            self._end_with("Completed", "Completed")
        else:
            self._around.upload(self.request, self._home, model=False)
            self._fail(f"AlgorithmError: {ended.failure}, exit code: {ended.code}")

    def _note_metrics(self, ended: Ended) -> None:
        """The last value that each metric's expression found in the log."""
        found = []
        for metric in self.request["AlgorithmSpecification"].get("MetricDefinitions", []):
            values = [match[1] for line in ended.lines if (match := re.search(metric["Regex"], line))]
            if values:
                found.append(
                    {"MetricName": metric["Name"], "Value": float(values[-1]), "Timestamp": float(int(_now()))}
                )
        self._told |= {"FinalMetricDataList": found} if found else {}

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self.status not in ENDS:
                self._told["FailureReason"] = reason[:1024]
                self._end("Failed", "Failed")

    def _ended_by_stop(self, secondary: str) -> None:
        self._end_with("Stopped", secondary)

    def _end_with(self, status: str, secondary: str) -> None:
        with self._lock:
            if self.status not in ENDS:
                self._end(status, secondary)

    def _end(self, status: str, secondary: str) -> None:
        self._told["TrainingEndTime"] = _now()
        if "KeepAlivePeriodInSeconds" in self.request["ResourceConfig"]:
            self._told["WarmPoolStatus"] = {"Status": "Available"}
        self.status = status
        self._enter(secondary)

    def _enter(self, secondary: str) -> None:
        with self._lock:
            now, transitions = _now(), self._told["SecondaryStatusTransitions"]
            if transitions:
                transitions[-1]["EndTime"] = now
            transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": _MESSAGES.get(secondary, "")})
            self._told |= {"SecondaryStatus": secondary, "LastModifiedTime": now}
            told = {**self.described(), "Tags": {tag["Key"]: tag["Value"] for tag in self.tags}}
        self._around.publish(told)


class Jobs:
    """Every job, by name."""

    def __init__(self, conduct: Conduct, around: Surroundings, directory: Path) -> None:
        self._conduct = conduct
        self._around = around
        self._directory = directory
        self._jobs: dict[str, Job] = {}

    def start(self, request: dict[str, Any], arn: str) -> None:
        """Accept a job."""
        name = request["TrainingJobName"]
        job = Job(request, arn, self._conduct, self._around, self._directory / name)
        any(other.hands_over_to(job) for other in self.all())
        self._jobs[name] = job
        job.thread.start()

    def find(self, name: str) -> Job | None:
        """Return the job with this name."""
        return self._jobs.get(name)

    def all(self) -> list[Job]:
        """Return every job."""
        return list(self._jobs.values())

    def remove(self, job: Job) -> None:
        """Forget a job: its name is free again."""
        self._jobs.pop(job.name, None)

    def clear(self) -> None:
        """End every job and forget it."""
        ended, self._jobs = self.all(), {}
        for job in ended:
            job.finish("Stopped")
        for job in ended:
            job.thread.join(120)
