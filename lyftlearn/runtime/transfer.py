"""Inputs, source and artifacts on their way in; outputs on their way out."""

from __future__ import annotations

import os
from itertools import chain, islice

from .faults import PLATFORM, RuntimeFailure, configuration_failure
from .mounts import LINKED, link_channel
from .storage import disk_failure, join, locate, part_path, put, store_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .bundle import Bundle
    from .layout import Layout
    from .location import Location
    from .storage import Entry, Store

PARALLEL = 8
IN_FLIGHT = 2 * PARALLEL
"""Calls that are begun or wait for a thread: one that takes long keeps no thread idle."""
SMALL = 1 << 20
"""Bytes of a file that is sent beside others. A larger one fills the way by itself, and its parts are in memory."""
ARCHIVES = (".tar.gz", ".tgz", ".tar")


def fetch_inputs(bundle: Bundle, layout: Layout) -> None:
    """Every channel into its directory; all missing ones are named at once."""
    faults: list[str] = []
    for channel, entry in bundle["inputs"].items():
        directory = layout.at("inputs", channel)
        if not _bring(entry, directory) and not entry.get("optional"):
            faults.append(f"inputs.{channel}: nothing is at {entry.get('uri') or directory}")
    if faults:
        raise configuration_failure(*faults)


def _bring(entry: dict[str, str], directory: str) -> bool:
    """Whether there are files in the channel's directory, which this brings there unless the substrate has."""
    mode = entry.get("mode")
    if mode == LINKED:
        return link_channel(entry, directory) and _has_files(directory)
    return _has_files(directory) if mode == "mounted" else _fetch_channel(entry["uri"], directory)


def _fetch_channel(uri: str, directory: str) -> bool:
    location = locate(uri)
    return _fetch_member(location, directory) if location.member else fetch(uri, directory) > 0


def _has_files(path: str) -> bool:
    """Whether a file is at or below `path`. Each directory is looked into once: links may lead in circles."""
    waiting, seen = [path], set()
    while waiting:
        real = os.path.realpath(waiting.pop())
        if os.path.isfile(real):
            return True
        if real not in seen:
            seen.add(real)
            waiting += _names_in(real)
    return False


def _names_in(directory: str) -> list[str]:
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory)]
    except OSError:  # no directory, or none that may be read
        return []


def fetch(uri: str, directory: str) -> int:
    """Everything at `uri` into the directory `directory`; how many files."""
    entries = store_for(uri).find(uri)
    _refuse_names(uri, entries)
    fetch_entries(uri, entries, directory)
    return len(entries)


def fetch_entries(uri: str, entries: list[Entry], directory: str) -> None:
    """What was found at `uri` into a directory."""
    try:
        _fetch_all(store_for(uri), entries, directory)
    except OSError as error:
        raise disk_failure(error, f"fetching {uri}") from error


def _refuse_names(uri: str, entries: list[Entry]) -> None:
    """Raise for what no directory can hold, before two objects are written into one file."""
    from .tree import name_fault

    fault = name_fault(entry.relative for entry in entries)
    if fault:
        raise configuration_failure(f"{uri} cannot be a directory: {fault}")


def _fetch_all(store: Store, entries: list[Entry], directory: str) -> None:
    _call_for_all(_fetch_one, ((store, entry, directory) for entry in entries))


def _call_for_all(function: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Call `function` with each of `arguments`, several at a time; the first that fails ends the rest.

    `arguments` are taken as they are needed: of a million files, a few are in memory.
    """
    left = iter(arguments)
    begun = list(islice(left, 2))
    if len(begun) <= 1:
        for given in begun:
            function(*given)
        return
    _call_at_once(function, chain(begun, left))


def _call_at_once(function: Callable[..., None], arguments: Iterator[tuple[Any, ...]]) -> None:
    from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, wait

    pool, waiting = ThreadPoolExecutor(PARALLEL), set()
    try:
        for given in arguments:
            waiting.add(pool.submit(function, *given))
            if len(waiting) >= IN_FLIGHT:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                _raise_first(done)
        _raise_first(wait(waiting, return_when=FIRST_EXCEPTION)[0])
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=False)


def _raise_first(done: set[Any]) -> None:
    for future in done:
        future.result()


def _fetch_one(store: Store, entry: Entry, directory: str) -> None:
    path = os.path.join(directory, entry.relative)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    store.fetch(entry, path)
    size = os.path.getsize(path)
    if size != entry.size:
        raise RuntimeFailure(PLATFORM, f"{entry.uri} has {entry.size} bytes, {size} arrived")


def _fetch_member(location: Location, directory: str) -> bool:
    """One output of another job, out of its archive; an output may be empty."""
    from .archives import unpack

    archive = location.archive.uri
    with LocalCopy(archive, directory) as path:
        return path is not None and unpack(path, directory, only=location.member, called=archive) > 0


class LocalCopy:
    """One object as a local file for as long as it is needed."""

    def __init__(self, uri: str, near: str) -> None:
        self._uri = uri
        self._path = part_path(near)

    def __enter__(self) -> str | None:
        entries = store_for(self._uri).find(self._uri)
        if len(entries) != 1:
            return None
        try:
            store_for(self._uri).fetch(entries[0], self._path)
        except OSError as error:
            raise disk_failure(error, f"fetching {self._uri}") from error
        return self._path

    def __exit__(self, *_: object) -> None:
        if os.path.exists(self._path):
            os.unlink(self._path)


def fetch_artifact(bundle: Bundle, layout: Layout) -> None:
    """The model to predict with: an archive is unpacked, a directory copied."""
    uri = bundle["artifact"]
    if uri is None:
        return
    directory = os.path.realpath(layout.at("model"))
    if not _fetch_artifact(uri, directory, bundle["artifact_sha256"]):
        raise configuration_failure(f"artifact: nothing is at {uri}")


def _fetch_artifact(uri: str, directory: str, digest: str | None) -> bool:
    location = locate(uri)
    if location.member:
        return _fetch_member(location, directory)
    return unpack_at(uri, directory, digest) if uri.endswith(ARCHIVES) else fetch(uri, directory) > 0


def unpack_at(uri: str, directory: str, digest: str | None = None) -> bool:
    """Whether there is an archive; it may be empty, as the model of a job is that left none."""
    from .archives import unpack

    with LocalCopy(uri, directory) as path:
        if path is not None:
            _check_digest(path, "artifact", uri, digest)
            unpack(path, directory, called=uri)
        return path is not None


def fetch_source(bundle: Bundle, layout: Layout) -> None:
    """The user's code."""
    source = bundle["source"]
    if source is None or source.get("mode") == "mounted":
        return
    from .archives import unpack

    directory = os.path.realpath(layout.at("source"))
    with LocalCopy(source["uri"], directory) as path:
        if path is None:
            raise configuration_failure(f"source: nothing is at {source['uri']}")
        _check_digest(path, "source", source["uri"], source.get("sha256"))
        unpack(path, directory, called=source["uri"])


def _check_digest(path: str, field: str, uri: str, expected: str | None) -> None:
    if expected is None:
        return
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    actual = digest.hexdigest()
    if actual != expected:
        raise configuration_failure(f"{field}: {uri} has sha256 {actual}, expected {expected}")


def upload_directory(path: str, uri: str) -> None:
    """Every file under `path`, links followed, to the same path under `uri`."""
    _call_for_all(_put_if_there, _small_files(path, uri))


def _put_if_there(path: str, uri: str) -> None:
    """Write a file to a URI, unless what a command has left running has just removed it."""
    from .tree import make_readable, warn_on_stderr

    try:
        put(make_readable(path), uri)
    except FileNotFoundError as error:  # of reading: sinks translate their own
        if error.filename != path:
            raise
        warn_on_stderr(f"{path} is not kept: it is gone")


def _small_files(path: str, uri: str) -> Iterator[tuple[str, str]]:
    """Each small file and where it goes; a larger one is sent on the way to the next."""
    from .tree import FILE, Tree

    for entry in Tree(path).entries():
        if entry.kind == FILE:
            file = (entry.path, join(uri, entry.name))
            if os.path.exists(entry.path) and os.path.getsize(entry.path) > SMALL:
                _put_if_there(*file)
            else:
                yield file
