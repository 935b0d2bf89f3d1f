"""How executors fare, seen from their driver's container: Spark itself would wait for them for ever."""

from __future__ import annotations

import calendar
import http.client
import json
import socket
import sys
import threading
import time

from ..faults import CONFIGURATION, IMAGE, RuntimeFailure
from ..report import PREFIX
from .cluster import Cluster, Refused
from .template import CONTAINER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HEALTHY_SECONDS = 75.0
"""After so long an executor that still runs has reached its driver: `executor.PATIENCE`, and some."""
CONNECT_SECONDS = 20.0
PAUSE = 2.0
_WAITING = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")


class ExecutorWatch:
    """Looks at the executors of one driver until it is told to end.

    first_port: at which executors are reached. enough: as many executors as cannot work, while none does, are a reason
    to give up. stop: gets the reason; None where somebody sits in front of the driver and reads its log.
    """

    def __init__(
        self, cluster: Cluster, selector: str, *, first_port: int, enough: int, stop: Callable[[str], None] | None
    ) -> None:
        self._cluster = cluster
        self._selector = selector
        self._first_port = first_port
        self._enough = enough
        self._stop = stop
        self._ended = threading.Event()
        self._failed: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._reached: bool | None = None
        self._said: set[str] = set()

    def start(self) -> Callable[[], None]:
        """Begin, in a thread of its own; what ends it."""
        threading.Thread(target=self._run, name="lyftlearn-spark", daemon=True).start()
        return self._ended.set

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                for pod in self._cluster.changes("pods", self._selector):
                    if self._ended.is_set():
                        return
                    self._look_at(pod)
            except (OSError, http.client.HTTPException, ValueError, KeyError, RuntimeFailure, Refused):
                pass  # whoever could not look for a while looks again
            self._ended.wait(PAUSE)

    def _look_at(self, pod: dict[str, Any]) -> None:
        statuses = pod.get("status", {}).get("containerStatuses", ())
        state: dict[str, Any] = next((one.get("state", {}) for one in statuses if one.get("name") == CONTAINER), {})
        if "running" in state:
            self._look_at_running(pod, state["running"].get("startedAt", ""))
        reason = state.get("waiting", {}).get("reason")
        if reason in _WAITING:
            self._say(f"an executor waits: {reason}: {state['waiting'].get('message', '')}")
        failure = _failure(state.get("terminated", {}).get("message") or "")
        if failure:
            self._failed[pod["metadata"]["uid"]] = failure
            self._say(f"an executor cannot work: {failure}")
            self._give_up_where_none_works(failure)

    def _look_at_running(self, pod: dict[str, Any], started_at: str) -> None:
        if time.time() - _seconds(started_at) > HEALTHY_SECONDS:
            self._reached = self._reached or True
        address = pod.get("status", {}).get("podIP")
        if self._reached is None and address and not is_reached(address, self._first_port):
            self._reached = False
            ports = f"TCP {self._first_port}-{self._first_port + 15}"
            silence = f"its port {self._first_port} gives no answer within {CONNECT_SECONDS:.0f} s"
            remedy = f"Allow {ports} from the driver to executors' pods"
            self._say(f"the driver cannot reach the executor at {address}: {silence}. {remedy}")

    def _give_up_where_none_works(self, failure: str) -> None:
        if self._stop and not self._reached and len(self._failed) >= self._enough:
            self._ended.set()
            self._stop(f"spark: no executor can work: {failure}")

    def _say(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            print(f"lyftlearn: spark: {words}", file=sys.stderr, flush=True)


def _failure(message: str) -> str:
    """The words of an executor's own runtime where it says that no repetition helps."""
    line, _, words = message.partition("\n")
    if not line.startswith(PREFIX):
        return ""
    try:
        reason = json.loads(line[len(PREFIX) :]).get("reason")
    except (ValueError, AttributeError):
        return ""
    return words.strip() if reason in (CONFIGURATION, IMAGE) else ""


def is_reached(host: str, port: int, seconds: float = CONNECT_SECONDS) -> bool:
    """Whether packets arrive there and answers come back: a refusal is an answer, too."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _seconds(moment: str) -> float:
    try:
        return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return time.time()
