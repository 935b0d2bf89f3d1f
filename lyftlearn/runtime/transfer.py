"""Inputs, source and artifacts on their way in; outputs on their way out."""

from __future__ import annotations

import os

from .faults import PLATFORM, Fault, configuration
from .storage import disk_fault, join, put, store_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bundle import Bundle
    from .layout import Layout
    from .storage import Entry, Store

PARALLEL = 8
ARCHIVES = (".tar.gz", ".tgz", ".tar")


def fetch_inputs(bundle: Bundle, layout: Layout) -> None:
    """Every channel in its place; all that is missing is named at once."""
    faults: list[str] = []
    for channel, entry in bundle["inputs"].items():
        place = layout.at("inputs", channel)
        if entry.get("mode") != "mounted":
            faults += _fetch_channel(channel, entry["uri"], place)
        elif not _has_files(place):
            faults.append(f"inputs.{channel}: nothing was found at {entry.get('uri') or place}")
    if faults:
        raise configuration(*faults)


def _fetch_channel(channel: str, uri: str, place: str) -> list[str]:
    archive, _, member = uri.partition("#")
    found = _fetch_member(archive, member, place) if member else fetch(uri, place)
    return [] if found else [f"inputs.{channel}: nothing is at {uri}"]


def _has_files(path: str) -> bool:
    if os.path.isfile(path):
        return True
    return any(files for _, _, files in os.walk(path, followlinks=True))


def fetch(uri: str, place: str) -> int:
    """Everything at `uri` into the directory `place`; how many files."""
    store = store_for(uri)
    entries = store.find(uri)
    _refuse_outside(entries, place)
    try:
        _fetch_all(store, entries, place)
    except OSError as error:
        raise disk_fault(error, f"fetching {uri}") from error
    return len(entries)


def _refuse_outside(entries: list[Entry], place: str) -> None:
    for entry in entries:
        normal = os.path.normpath(os.path.join(place, entry.relative))
        if entry.relative.startswith("/") or not normal.startswith(os.path.normpath(place) + os.sep):
            raise configuration(f"{entry.uri} would be written outside of {place}")


def _fetch_all(store: Store, entries: list[Entry], place: str) -> None:
    if len(entries) == 1:
        _fetch_one(store, entries[0], place)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(PARALLEL)
    waiting = [pool.submit(_fetch_one, store, entry, place) for entry in entries]
    try:
        for future in waiting:
            future.result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=False)


def _fetch_one(store: Store, entry: Entry, place: str) -> None:
    path = os.path.join(place, entry.relative)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    store.fetch(entry.uri, path)
    size = os.path.getsize(path)
    if size != entry.size:
        raise Fault(PLATFORM, f"{entry.uri} has {entry.size} bytes, {size} arrived")


def _fetch_member(archive: str, member: str, place: str) -> int:
    """One output of another job, out of its archive."""
    from .archives import unpack

    with _Downloaded(archive, place) as path:
        return unpack(path, place, only=member, called=archive) if path else 0


class _Downloaded:
    """One object as a local file for as long as it is needed."""

    def __init__(self, uri: str, near: str) -> None:
        self._uri = uri
        self._path = f"{near}.{os.getpid()}.part"

    def __enter__(self) -> str | None:
        entries = store_for(self._uri).find(self._uri)
        if len(entries) != 1:
            return None
        try:
            store_for(self._uri).fetch(entries[0].uri, self._path)
        except OSError as error:
            raise disk_fault(error, f"fetching {self._uri}") from error
        return self._path

    def __exit__(self, *_: object) -> None:
        if os.path.exists(self._path):
            os.unlink(self._path)


def fetch_artifact(bundle: Bundle, layout: Layout) -> None:
    """The model to predict with: an archive is unpacked, a directory copied."""
    uri = bundle["artifact"]
    if uri is None:
        return
    place = os.path.realpath(layout.at("model"))
    found = _unpack_at(uri, place) if uri.endswith(ARCHIVES) else fetch(uri, place)
    if not found:
        raise configuration(f"artifact: nothing is at {uri}")


def _unpack_at(uri: str, place: str) -> int:
    from .archives import unpack

    with _Downloaded(uri, place) as path:
        return unpack(path, place, called=uri) if path else 0


def fetch_source(bundle: Bundle, layout: Layout) -> None:
    """The user's code."""
    source = bundle["source"]
    if source is None or source.get("mode") == "mounted":
        return
    from .archives import unpack

    place = os.path.realpath(layout.at("source"))
    with _Downloaded(source["uri"], place) as path:
        if path is None:
            raise configuration(f"source: nothing is at {source['uri']}")
        _check_digest(path, source)
        unpack(path, place, called=source["uri"])


def _check_digest(path: str, source: dict[str, str]) -> None:
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    if source.get("sha256") not in (None, digest.hexdigest()):
        raise configuration(f"source: {source['uri']} has sha256 {digest.hexdigest()}, expected {source['sha256']}")


def upload_directory(path: str, uri: str) -> None:
    """Every file under `path`, links followed, to the same place under `uri`."""
    for entry in store_for(path).find(path):
        put(entry.uri, join(uri, entry.relative))
