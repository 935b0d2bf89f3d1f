"""The changes of one kind of object, as a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from tests.doubles.cluster import selectors
from tests.doubles.cluster.discovery import EXTENSIONS, GROUPS, KINDS
from tests.doubles.cluster.store import ApiError, Change, Object, Store

BOOKMARK_SECONDS = 1.0


def matches(params: dict[str, str], item: Object) -> bool:
    labels = item["metadata"].get("labels") or {}
    return selectors.labels_match(params.get("labelSelector", ""), labels) and selectors.fields_match(
        params.get("fieldSelector", ""), item
    )


class Watch:
    """The changes of one kind in one namespace, as lines of JSON."""

    def __init__(self, store: Store, kind: str, namespace: str, params: dict[str, str]) -> None:
        self._store = store
        self._key = (kind, namespace)
        self._params = params
        self._version = int(params.get("resourceVersion") or store.version)

    def lines(self) -> Iterator[bytes]:
        ends = time.monotonic() + float(self._params.get("timeoutSeconds") or 1800)
        bookmarks = self._params.get("allowWatchBookmarks") == "true"
        try:
            while time.monotonic() < ends:
                changes = self._store.since(self._version)
                yield b"".join(filter(None, map(self._line, changes)))
                if changes:
                    self._version = changes[-1].version
                self._store.wait(self._version, BOOKMARK_SECONDS)
                if bookmarks and self._store.version == self._version:
                    yield self._bookmark()
        except ApiError as error:
            yield _line("ERROR", error.status())

    def _line(self, change: Change) -> bytes | None:
        if change.key[:2] != self._key:
            return None
        now = change.what != "DELETED" and matches(self._params, change.item)
        before = change.before is not None and matches(self._params, change.before)
        if not (now or before):
            return None
        return _line(
            {(True, True): "MODIFIED", (True, False): "ADDED", (False, True): "DELETED"}[now, before], change.item
        )

    def _bookmark(self) -> bytes:
        """An object of the watched kind, as real servers send: clients read it as one."""
        kind = self._key[0]
        group = GROUPS.get(kind)
        metadata = {"resourceVersion": str(self._version), "creationTimestamp": None}
        named = {"kind": {**KINDS, **EXTENSIONS}[kind], "apiVersion": f"{group}/v1" if group else "v1"}
        return _line("BOOKMARK", {**named, "metadata": metadata})


def _line(what: str, item: Object) -> bytes:
    return json.dumps({"type": what, "object": item}).encode() + b"\n"
