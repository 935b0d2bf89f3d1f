"""What happens in a namespace: one watch of Jobs and one of pods, for every job of this process."""

from __future__ import annotations

import json
import logging
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import JOBS, PODS, SILENCE
from lyftlearn_kubernetes.api.errors import GONE, ApiError, NoResponse, error_of_answer
from lyftlearn_kubernetes.api.patience import Patience
from lyftlearn_kubernetes.status import observed

if TYPE_CHECKING:
    from collections.abc import Callable

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.api.transport import Stream

SERVERS_END = 300  # seconds after which the server ends a watch by itself
FAILURES_TO_WARN = 10
AFTER_GONE, LONGEST_AFTER_GONE = 0.1, 3.0
SHORT = 1.0  # seconds: a watch that ends sooner is not asked for again at once
_log = logging.getLogger("lyftlearn")
_OBSERVE: dict[str, Callable[[Any], Any]] = {JOBS: observed.job, PODS: observed.pod}


class Relist:
    """A watch begins: what happened before must be asked for."""


class WatchEvent:
    """An object as it is now, or as it last was; `item` is observed as its `kind` is."""

    __slots__ = ("added", "deleted", "item", "kind")

    def __init__(self, kind: str, item: Any, what: str) -> None:
        self.kind = kind
        self.item = item
        self.added = what == "ADDED"
        self.deleted = what == "DELETED"


class Informer(threading.Thread):
    """Puts changes of one kind of object into a queue until it is closed, whatever happens to its connections."""

    def __init__(self, cluster: Cluster, kind: str, queue: SimpleQueue[Any], silence: float = SILENCE) -> None:
        super().__init__(name=f"lyftlearn-kubernetes-{kind}", daemon=True)
        self._cluster = cluster
        self._kind = kind
        self._queue = queue
        self._silence = silence
        self._closed = threading.Event()
        self._stream: Stream | None = None
        self._version: str | None = None
        self._failures = 0
        self._patience = Patience()

    def close(self) -> None:
        """End it, also while it waits for news."""
        self._closed.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def run(self) -> None:
        """Watch, and begin again where it broke."""
        while not self._closed.is_set():
            try:
                self._watch()
            except Exception as exc:  # noqa: BLE001 - told to who waits, instead of dying in silence
                pause = self._pause_after(exc)
                if pause is None:
                    self._queue.put(exc)
                    return
                self._closed.wait(pause)

    def _pause_after(self, error: Exception) -> float | None:
        """Return the seconds until the watch begins again, or None if it should not."""
        if isinstance(error, ApiError) and error.status == GONE:
            self._version = None
            self._failures += 1
            return min(LONGEST_AFTER_GONE, self._failures * AFTER_GONE)
        self._failures += 1
        if self._failures == FAILURES_TO_WARN:
            _log.warning("the watch of %s is broken and begun again and again: %s", self._kind, error)
        return self._patience.pause_after(error)

    def _watch(self) -> None:
        if self._version is None:
            self._version = self._current_version()
            self._queue.put(Relist())
        params = {
            "watch": "true",
            "labelSelector": labels.SELECTOR,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(SERVERS_END),
        }
        began = time.monotonic()
        with self._cluster.stream(self._cluster.path(self._kind), params, self._silence) as stream:
            self._stream = stream
            try:
                self._read(stream)
            finally:
                self._stream = None
        if time.monotonic() - began < SHORT:
            raise NoResponse("the watch ended at once", sent=False)
        self._failures = 0
        self._patience.reset()

    def _read(self, stream: Stream) -> None:
        if self._closed.is_set():  # before there was a stream to close
            return
        for line in stream.lines():
            if self._closed.is_set():
                return
            if line:
                self._take(line)

    def _current_version(self) -> str:
        """Return the version of now; the list itself is not asked for, since it holds everybody's jobs."""
        params = {"limit": 1, "labelSelector": labels.SELECTOR}
        metadata = self._cluster.ask("GET", self._cluster.path(self._kind), params=params).get("metadata") or {}
        if not metadata.get("resourceVersion"):
            raise NoResponse("a list came without its version", sent=False)
        return str(metadata["resourceVersion"])

    def _take(self, line: bytes) -> None:
        try:
            news = json.loads(line)
            what, document = news["type"], news["object"]
            if what == "ERROR":
                raise error_of_answer(document.get("code") or GONE, document, "the watch ended")
            version = document["metadata"]["resourceVersion"]
        except (AttributeError, ValueError, KeyError, RecursionError, TypeError) as exc:
            raise NoResponse("a line of the watch is none of the API's", sent=False) from exc
        if what != "BOOKMARK":
            for item in observed.each(_OBSERVE[self._kind], [document]):
                self._queue.put(WatchEvent(self._kind, item, what))
        self._version = version
        self._failures = 0
        self._patience.reset()


def start(cluster: Cluster, queue: SimpleQueue[Any], silence: float) -> list[Informer]:
    """Return the watches of Jobs and of their pods, started."""
    started = [Informer(cluster, kind, queue, silence) for kind in (JOBS, PODS)]
    for informer in started:
        informer.start()
    return started
