"""Checkpoints: restored at the start, copied while the command runs and at its end.

At every moment the storage holds what is whole: a file is copied when it stands still, and given up if it changes
meanwhile; what a program deletes stays until everything is copied that it wrote before. So a rotation of checkpoints
never leaves the storage without one, whenever the machine goes. A file that cannot be copied is named in the log, and
holds up no other.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress

from .faults import PLATFORM, RuntimeFailure
from .storage import copy_into, join, store_for
from .transfer import fetch
from .tree import FILE, LINK, Tree, make_readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Tuple

    from .bundle import Bundle
    from .checkpoint_links import CheckpointLinks
    from .layout import Layout

    Stamp = Tuple[int, int, int, int]

INTERVAL = 30.0
"""Seconds between looks at the directory."""
RESTLESS = 40
"""Looks after which a file that never stands still, such as a growing log, or that cannot be copied, keeps no deleted
file in the storage."""
MOST_NAMED = 5
"""Files that one message names."""
MOST_LOST = 120.0
"""Seconds that one look spends on copies which fail one after another: the storage is away, and each takes long."""
AWAY = "the storage takes nothing"
LARGEST_NOTES = 16 << 20
NOTES = ".lyftlearn.json"
"""In the storage alone, where needed: `links`, path to relative target; `started_at`, the command's first start.

What the command itself calls so, with any number of `~` behind it, has one `~` more in the storage.
"""


class Checkpoints:
    """One directory and the URI that it is copied to. timed: the time of the first start is kept for later runs."""

    def __init__(self, directory: str, uri: str, interval: float = INTERVAL, timed: bool = False) -> None:
        self._directory = directory
        self._uri = uri
        self._interval = interval
        self._timed = timed
        self._copied: dict[str, Stamp] = {}
        self._previous: dict[str, Stamp] = {}
        self._changes: dict[str, int] = {}
        self._gone: dict[str, dict[str, Stamp | None]] = {}
        self._failed: dict[str, str] = {}
        self._notes: dict[str, Any] = {"links": {}, "started_at": None}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_syncing, daemon=True, name="checkpoints")

    @property
    def first_start(self) -> float | None:
        """When an earlier container started the command first, in seconds since 1970; None in the first one."""
        started_at = self._notes["started_at"]
        return started_at if isinstance(started_at, float) else None

    def restore(self) -> None:
        """Bring back what an earlier run of the job left."""
        before = self._stamps()[0]
        fetch(self._uri, self._directory)
        path = os.path.join(self._directory, NOTES)
        if os.path.isfile(path):
            self._notes = read_notes(path)
            os.unlink(path)
        _restore_names(self._directory)
        for name, target in self._notes["links"].items():
            restore_link(self._directory, name, target)
        self._previous = self._stamps()[0]
        self._copied = {name: stamp for name, stamp in self._previous.items() if before.get(name) != stamp}

    def start(self) -> None:
        """Copy from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Copy what is left, after the command's end."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        stamps, links = self._stamps()
        self._copy(stamps)
        self._put_notes(links=links)
        gone = set(self._copied) - set(stamps)
        self._remove(gone)
        if gone and self._failed:  # a directory may have taken the place of a file, which was in its way
            self._copy(stamps)
        if self._failed:
            raise RuntimeFailure(PLATFORM, f"checkpoints: {_enumerate(sorted(self._failed))} could not be copied")

    def _keep_syncing(self) -> None:
        started_at = self.first_start or (time.time() if self._timed else None)
        while not self._end.wait(self._interval):
            try:
                self.sync()
                self._put_notes(started_at=started_at)
            except Exception as error:  # noqa: BLE001 - the next look may do better, and the last one says why not
                print(f"lyftlearn: checkpoints are not copied yet: {error}", file=sys.stderr)

    def sync(self) -> None:
        """Copy what has not changed since the last look, then delete what is gone and has been replaced."""
        stamps, links = self._stamps()
        settled = {name: stamp for name, stamp in stamps.items() if self._previous.get(name) == stamp}
        self._changes = {
            name: self._changes.get(name, 0) + (name not in settled)
            for name in stamps
            if name not in settled or name in self._failed
        }
        self._previous = stamps
        waiting = self._waiting(stamps)
        gone = {name: self._gone.get(name, waiting) for name in set(self._copied) - set(stamps)}
        self._copy(settled)
        for name in self._failed:
            self._changes[name] = self._changes.get(name, 0) + 1
        self._put_notes(links=self._ready_links(stamps, links))
        self._gone = {name: self._successors(stamps, before) for name, before in gone.items()}
        self._remove({name for name, successors in self._gone.items() if not successors})

    def _waiting(self, stamps: dict[str, Stamp]) -> dict[str, Stamp | None]:
        """Files that are to be copied, with the stamp of their last copy."""
        return {
            name: self._copied.get(name)
            for name, stamp in stamps.items()
            if self._copied.get(name) != stamp and self._changes.get(name, 0) <= RESTLESS
        }

    def _successors(self, stamps: dict[str, Stamp], before: dict[str, Stamp | None]) -> dict[str, Stamp | None]:
        """What a deleted file still waits for: those written before its end; for one of them that went, all of now."""
        left = {name: copy for name, copy in before.items() if self._copied.get(name) == copy}
        if all(name in stamps for name in left):
            return {name: copy for name, copy in left.items() if name in self._waiting(stamps)}
        return self._waiting(stamps)

    def _ready_links(self, stamps: dict[str, Stamp], links: dict[str, str]) -> dict[str, str]:
        """Each link once all of its target is copied; until then as it was."""
        ready = {}
        for name, target in links.items():
            top = os.path.normpath(os.path.join(os.path.dirname(name), target)) + os.sep
            below = [path for path in stamps if path.startswith(top)]
            if all(self._copied.get(path) == stamps[path] for path in below):
                ready[name] = target
            elif name in self._notes["links"]:
                ready[name] = self._notes["links"][name]
        return ready

    def _copy(self, stamps: dict[str, Stamp]) -> None:
        """In the order of their writing: what names the newest checkpoint comes after the checkpoint."""
        failed, self._failed = self._failed, {}
        lost = 0.0
        for name, stamp in sorted(stamps.items(), key=lambda item: (item[0] in failed, item[1][1], item[0])):
            if self._copied.get(name) == stamp:
                continue
            began = time.monotonic()
            problem = self._try_to_put(name, stamp) if lost < MOST_LOST else AWAY
            lost = lost + time.monotonic() - began if problem else 0.0
            if problem:
                self._failed[name] = problem
        _report({name: problem for name, problem in self._failed.items() if name not in failed})

    def _try_to_put(self, name: str, stamp: Stamp) -> str:
        """Why one file cannot be copied; nothing where it was, or will be when it stands still."""
        try:
            if self._put(name, stamp):
                self._copied[name] = stamp
        except (OSError, RuntimeFailure) as error:
            return str(error)
        return ""

    def _put(self, name: str, stamp: Stamp) -> bool:
        """Copy one file; False where it changed or vanished meanwhile, and nothing was copied."""
        path, uri = os.path.join(self._directory, name), join(self._uri, _kept_name(name))
        if _stamp(path) != stamp:
            return False
        sink = store_for(uri).sink(uri)
        try:
            copy_into(path, sink)
            if _stamp(path) == stamp:
                sink.commit()
                return True
        except FileNotFoundError:
            pass
        except BaseException:
            sink.abort()
            raise
        sink.abort()
        return False

    def _remove(self, names: set[str]) -> None:
        for name in names:
            store_for(self._uri).remove(join(self._uri, _kept_name(name)))
            del self._copied[name]

    def _put_notes(self, **notes: Any) -> None:
        notes = {**self._notes, **notes}
        if notes == self._notes:
            return
        uri = join(self._uri, NOTES)
        sink = store_for(uri).sink(uri)
        try:
            sink.write(json.dumps(notes, sort_keys=True).encode())
            sink.commit()
        except BaseException:
            sink.abort()
            raise
        self._notes = notes

    def _stamps(self) -> tuple[dict[str, Stamp], dict[str, str]]:
        """Every file's stamp, and the links to directories with their targets.

        What is in a directory that cannot be read is as it was, unless that is gone.
        """
        stamps: dict[str, Stamp] = {}
        links: dict[str, str] = {}
        closed: list[str] = []
        before = {**self._copied, **self._previous}
        tree = Tree(self._directory, keep_links=True, warn=lambda _: None, unreadable=closed.append)
        try:
            for entry in tree.entries():
                if entry.kind == LINK and os.path.isdir(entry.path):
                    links[entry.name] = entry.target
                elif entry.kind in (FILE, LINK) and (stamp := _stamp(entry.path)):
                    stamps[entry.name] = stamp
        except OSError:  # something that went while it was looked at: the next look sees the rest
            closed.append("")
        hidden = tuple(name for name in closed if os.path.isdir(os.path.join(self._directory, name)))
        return {**{name: before[name] for name in before if name.startswith(hidden)}, **stamps}, links


def _kept_name(name: str) -> str:
    """The name that a file of the command has in the storage, where the notes have theirs."""
    first, slash, rest = name.partition("/")
    return f"{first}~{slash}{rest}" if first.rstrip("~") == NOTES else name


def _restore_names(directory: str) -> None:
    """Give what is called like the notes the names that the command gave it."""
    for name in sorted(name for name in os.listdir(directory) if name != NOTES == name.rstrip("~")):
        with suppress(OSError):  # a directory stands there, which is nothing that this wrote
            os.replace(os.path.join(directory, name), os.path.join(directory, name[:-1]))


def _report(problems: dict[str, str]) -> None:
    if problems:
        text = f"checkpoints are not copied yet: {_enumerate(list(problems))}: {next(iter(problems.values()))}"
        print(f"lyftlearn: {text}", file=sys.stderr)


def _enumerate(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def checkpoints_of(bundle: Bundle, layout: Layout, *, copied: bool) -> Checkpoints | CheckpointLinks:
    """What keeps a job's checkpoints; where the substrate copies them itself, what keeps the links among them."""
    destination, directory = bundle["checkpoints"], layout.at("checkpoints")
    interval = destination.get("interval", INTERVAL)
    if copied:
        from .checkpoint_links import CheckpointLinks
        from .sagemaker_paths import LINKS

        return CheckpointLinks(directory, os.path.join(layout.ml, LINKS), interval)
    return Checkpoints(directory, destination["uri"], interval, timed=bundle["timeout"] is not None)


def links_below(directory: str) -> dict[str, str]:
    """Each link to a directory that stays inside, by its path, with its relative target."""
    entries = Tree(directory, keep_links=True, warn=lambda _: None).entries()
    return {entry.name: entry.target for entry in entries if entry.kind == LINK and os.path.isdir(entry.path)}


def read_notes(path: str) -> dict[str, Any]:
    """The notes of an earlier container; none where the file holds something else."""
    try:
        with open(path, encoding="utf-8") as file:
            notes = json.loads(file.read(LARGEST_NOTES))
        links = {name: target for name, target in notes["links"].items() if isinstance(target, str)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {"links": {}, "started_at": None}
    return {"links": links, "started_at": notes.get("started_at")}


def restore_link(directory: str, name: str, target: str) -> None:
    """Make a link again, if nothing stands there, and it leads to something in the directory."""
    top, path = os.path.realpath(directory), os.path.join(directory, name)
    parent = os.path.realpath(os.path.dirname(path))
    leads_to = os.path.realpath(os.path.join(parent, target))
    inside = all(place == top or place.startswith(top + os.sep) for place in (parent, leads_to))
    if inside and os.path.isdir(parent) and not os.path.lexists(path):
        os.symlink(target, path)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(make_readable(path))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
