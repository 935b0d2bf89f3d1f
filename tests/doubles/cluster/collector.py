"""The garbage collector: what is owned by an object that is gone goes, too. It runs in clusters with a network."""

from __future__ import annotations

import threading

from tests.doubles.cluster.store import Object, Store

OWNERS = {"Pod": "pods", "Secret": "secrets"}
"""Kinds of owners that are looked at; the controller of Jobs removes their pods itself."""
OWNED = ("pods", "secrets", "configmaps")


class Collector(threading.Thread):
    """Looks at every change of the store."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True, name="garbage-collector")
        self._store = store
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def run(self) -> None:
        while not self._closed.is_set():
            version = self._store.version
            with self._store.lock():  # what is looked at is what is removed
                for kind in OWNED:
                    for item in filter(self._is_orphaned, self._store.all(kind)):
                        self._store.delete(kind, item["metadata"]["namespace"], item["metadata"]["name"])
            self._store.wait(version, 0.5)

    def _is_orphaned(self, item: Object) -> bool:
        metadata = item["metadata"]
        owners = [owner for owner in metadata.get("ownerReferences") or () if owner["kind"] in OWNERS]
        return bool(owners) and "deletionTimestamp" not in metadata and not any(map(self._exists, owners))

    def _exists(self, owner: Object) -> bool:
        there = self._store.all(OWNERS[owner["kind"]])
        return any(item["metadata"]["uid"] == owner["uid"] for item in there)
