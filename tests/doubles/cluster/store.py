"""Objects with versions, and the history of their changes."""

from __future__ import annotations

import copy
import json
import secrets
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Key = tuple[str, str, str]  # kind in the plural, namespace, name
Object = dict[str, Any]
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class ApiError(Exception):
    """A refusal, as a Status object.

    resume: where a list goes on whose beginning is too old. about: kind and name of the object, where it is about one.
    """

    def __init__(
        self, code: int, reason: str, message: str, resume: str = "", about: tuple[str, str] = ("", "")
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.resume, self.about = code, reason, message, resume, about

    def status(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.resume} if self.resume else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": {key: value for key, value in zip(("kind", "name"), self.about, strict=True) if value},
            "code": self.code,
        }


@dataclass(frozen=True)
class Change:
    version: int
    key: Key
    what: str
    item: Object
    before: Object | None


def now(later: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_name(length: int = 5) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


class Store:
    """Safe to share between threads; items that come out are nobody else's."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.version = 1
        self.oldest = 0
        self._items: dict[Key, str] = {}
        self._history: deque[Change] = deque(maxlen=50_000)

    def create(self, kind: str, namespace: str, item: Object) -> Object:
        with self.changed:
            metadata = item.setdefault("metadata", {})
            if "name" not in metadata:
                metadata["name"] = metadata.get("generateName", "x-") + random_name()
            self.check_free(kind, namespace, item)
            key = (kind, namespace, metadata["name"])
            metadata.update(namespace=namespace, uid=metadata.get("uid") or str(uuid.uuid4()), creationTimestamp=now())
            if "spec" in item:
                metadata["generation"] = 1
            return self._put(key, item, "ADDED", None)

    def check_free(self, kind: str, namespace: str, item: Object) -> None:
        """Refuse a name that is taken."""
        name = item["metadata"].get("name")
        if (kind, namespace, name) in self._items:
            raise ApiError(409, "AlreadyExists", f'{kind} "{name}" already exists', about=(kind, name))

    def get(self, kind: str, namespace: str, name: str) -> Object:
        with self.changed:
            text = self._items.get((kind, namespace, name))
        if text is None:
            raise ApiError(404, "NotFound", f'{kind} "{name}" not found', about=(kind, name))
        found: Object = json.loads(text)
        return found

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            return self.get(kind, namespace, name)
        except ApiError:
            return None

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        return list(self.each(kind, namespace))

    def each(self, kind: str, namespace: str | None = None, after: str = "") -> Iterator[Object]:
        """Yield objects in the order of their names: a page of many costs no more than a page."""
        with self.changed:
            texts = {key: text for key, text in self._items.items() if key[0] == kind and namespace in (None, key[1])}
        return (json.loads(texts[key]) for key in sorted(texts) if key[2] > after)

    def names(self, kind: str, namespace: str) -> list[str]:
        with self.changed:
            return sorted(key[2] for key in self._items if key[:2] == (kind, namespace))

    def modify(self, kind: str, namespace: str, name: str, change: Callable[[Object], None]) -> Object:
        """Apply `change` to an object; nothing happened if it changes nothing."""
        with self.changed:
            before = self.get(kind, namespace, name)
            after = copy.deepcopy(before)
            change(after)
            if after == before:
                return before
            metadata = after["metadata"]
            if after.get("spec") != before.get("spec"):
                metadata["generation"] = before["metadata"].get("generation", 1) + 1
            key = (kind, namespace, name)
            if _is_over(metadata):
                return self._remove(key, after)
            return self._put(key, after, "MODIFIED", before)

    def delete(self, kind: str, namespace: str, name: str, grace: int | None = None) -> Object:
        """Remove an object, or mark it where finalizers want to see it first. A pod that runs gets its grace.

        As the registry of pods does: none where no node has it, or where it has ended. The node asks for 0 at the end.
        """
        with self.changed:
            item = self.get(kind, namespace, name)
            seconds = _seconds_to_end(item, grace) if kind == "pods" else 0
            if not seconds and not item["metadata"].get("finalizers"):
                return self._remove((kind, namespace, name), item)
            return self.modify(kind, namespace, name, lambda item: _mark_deleted(item["metadata"], seconds))

    def since(self, version: int) -> list[Change]:
        with self.changed:
            if version < self.oldest:
                raise ApiError(410, "Expired", f"too old resource version: {version} ({self.oldest})")
            found = []
            for change in reversed(self._history):
                if change.version <= version:
                    break
                found.append(change)
            return found[::-1]

    def compact(self) -> None:
        """Forget the history: every watch that begins in the past is told 410."""
        with self.changed:
            self._history.clear()
            self.oldest = self.version
            self.changed.notify_all()

    def wait(self, version: int, timeout: float) -> None:
        """Until something is newer than `version`."""
        with self.changed:
            self.changed.wait_for(lambda: self.version > version, timeout)

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self.changed:
            yield

    def _put(self, key: Key, item: Object, what: str, before: Object | None) -> Object:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        text = self._items[key] = json.dumps(item)
        self._note(Change(self.version, key, what, item, before))
        copied: Object = json.loads(text)
        return copied

    def _remove(self, key: Key, item: Object) -> Object:
        del self._items[key]
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self._note(Change(self.version, key, "DELETED", item, item))
        return copy.deepcopy(item)

    def _note(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self.oldest = self._history[0].version
        self._history.append(change)
        self.changed.notify_all()


def _seconds_to_end(pod: Object, grace: int | None) -> int:
    if not pod["spec"].get("nodeName") or pod["status"]["phase"] in ("Succeeded", "Failed"):
        return 0
    given: int = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
    return given


def _mark_deleted(metadata: Object, seconds: int) -> None:
    """Note when the object is to be gone; who asks again can only shorten that."""
    if seconds < metadata.get("deletionGracePeriodSeconds", seconds + 1):
        metadata["deletionTimestamp"] = now(seconds)
        metadata["deletionGracePeriodSeconds"] = seconds


def _is_over(metadata: Object) -> bool:
    return not metadata.get("deletionGracePeriodSeconds", "none") and not metadata.get("finalizers")


def wait_until(happened: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)
