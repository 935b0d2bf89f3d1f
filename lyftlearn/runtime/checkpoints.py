"""Checkpoints: restored at the start, copied while the command runs and at its end.

At every moment the storage holds what is whole: a file is copied when it stands still, and given up if it changes
meanwhile; what a program deletes stays until everything is copied that it wrote before, and for two looks.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress

from .checkpoint_place import LARGEST_NOTES, Place, directories_above, links_below, read_notes, restore_link
from .faults import PLATFORM, RuntimeFailure
from .storage import copy_into, store_for
from .thread import Thread
from .tree import FILE, LINK, Tree, make_readable, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Tuple

    from .bundle import Bundle
    from .layout import Layout

    Stamp = Tuple[int, int, int, int]

INTERVAL = 30.0
"""Seconds between looks at the directory."""
RESTLESS = 40
"""Looks for which a file that grows, such as a log, or that cannot be copied, keeps deleted files in the storage."""
MOST_NAMED = 5
"""Files that one message names."""
MOST_LOST = 120.0
"""Seconds that one look spends on copies which fail one after another: the storage is away, and each takes long."""
AWAY = "the storage takes nothing"
PATIENT = 4
"""Looks for which a file that is still written hides a new directory."""
UNKNOWN = (0, 0, 0, 0)
"""The stamp of a copy that may be there."""


class _Looks(Thread):
    """Looks at a directory again and again."""

    def __init__(self, look: Callable[[], None], interval: float) -> None:
        def run() -> None:
            while not self._ended.wait(interval):
                look()

        self._ended = threading.Event()
        super().__init__(run)

    def end(self) -> None:
        """Wait for the look that has begun."""
        self._ended.set()
        self.join()


class Checkpoints:
    """One directory and its copy. timed: the time of the first start is kept for later runs."""

    def __init__(self, directory: str, uri: str, interval: float = INTERVAL, timed: bool = False) -> None:
        self._directory = directory
        self._place = Place(uri)
        self._timed = timed
        self._copied: dict[str, Stamp] = {}
        self._shown: dict[str, Stamp] = {}
        self._previous: dict[str, Stamp] = {}
        self._changes: dict[str, int] = {}
        self._gone: dict[str, dict[str, Stamp | None]] = {}
        self._failed: dict[str, str] = {}
        self._written: set[str] = set()
        self._known: set[str] = set()
        self._looks = _Looks(self._look, interval)

    @property
    def first_start(self) -> float | None:
        """When an earlier container started the command first, in seconds since 1970; None in the first one."""
        started_at = self._place.notes["started_at"]
        return started_at if isinstance(started_at, float) else None

    def restore(self) -> None:
        """Bring back what an earlier run of the job left."""
        before = self._stamps()[0]
        self._place.restore(self._directory)
        for name, target in self._place.notes["links"].items():
            restore_link(self._directory, name, target)
        self._previous = self._stamps()[0]
        self._copied = {name: stamp for name, stamp in self._previous.items() if before.get(name) != stamp}
        self._shown = dict(self._copied)

    def start(self) -> None:
        """Copy from now on."""
        self._started_at = self.first_start or (time.time() if self._timed else None)
        self._looks.start()

    def finish(self) -> None:
        """Copy what is left, after the command's end."""
        self._looks.end()
        stamps, links = self._stamps()
        self._written = set()
        self._copy(stamps)
        self._place.note(links=self._ready_links(stamps, links))
        gone = set(self._copied) - set(stamps)
        in_the_way = {name for name in gone if any(_in_the_way(name, other) for other in self._failed)}
        if in_the_way:  # a directory has taken the place of a file, or the other way round
            self._remove(in_the_way)
            self._copy(stamps)
        if not self._incomplete():
            self._remove(gone - in_the_way)
        if self._failed:
            raise RuntimeFailure(PLATFORM, f"checkpoints: {_enumerate(sorted(self._failed))} could not be copied")

    def _look(self) -> None:
        try:
            self.sync()
            self._place.note(started_at=self._started_at)
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
        self._written = {name for name, looks in self._changes.items() if name not in settled and looks <= PATIENT}
        self._previous = stamps
        waiting = self._waiting(stamps)
        gone = {name: self._gone.get(name, waiting) for name in set(self._copied) - set(stamps)}
        self._copy(settled)
        for name in self._failed:
            self._changes[name] = self._changes.get(name, 0) + 1
        self._place.note(links=self._ready_links(stamps, links))
        seen, self._gone = self._gone, {name: self._successors(stamps, before) for name, before in gone.items()}
        self._remove({name for name, successors in self._gone.items() if name in seen and not successors})

    def _waiting(self, stamps: dict[str, Stamp]) -> dict[str, Stamp | None]:
        """Files that are to be shown, with the stamp of the copy that is shown."""
        return {
            name: self._shown.get(name)
            for name, stamp in stamps.items()
            if self._shown.get(name) != stamp and self._changes.get(name, 0) <= RESTLESS
        }

    def _successors(self, stamps: dict[str, Stamp], before: dict[str, Stamp | None]) -> dict[str, Stamp | None]:
        """What a deleted file still waits for: those written before its end; for one of them that went, all of now."""
        left = {name: copy for name, copy in before.items() if self._shown.get(name) == copy}
        if all(name in stamps for name in left):
            return {name: copy for name, copy in left.items() if name in self._waiting(stamps)}
        return self._waiting(stamps)

    def _ready_links(self, stamps: dict[str, Stamp], links: dict[str, str]) -> dict[str, str]:
        """Each link once all of its target is shown; until then as it was."""
        ready, before = {}, self._place.notes["links"]
        for name, target in links.items():
            top = os.path.normpath(os.path.join(os.path.dirname(name), target)) + os.sep
            below = [path for path in stamps if path.startswith(top)]
            if all(self._shown.get(path) == stamps[path] for path in below):
                ready[name] = target
            elif name in before:
                ready[name] = before[name]
        return ready

    def _copy(self, stamps: dict[str, Stamp]) -> None:
        """In the order of their writing. Several are shown at once; if one changes meanwhile, all wait for a look."""
        failed, self._failed = self._failed, {}
        self._known = {above for name in self._shown for above in directories_above(name)}
        batch = {name: stamp for name, stamp in stamps.items() if self._copied.get(name) != stamp}
        names = sorted(batch, key=lambda name: (name in failed, batch[name][1], name))
        if not self._place.is_open and not self._belong_together(names):
            self._put_all(names, batch)
        elif self._begin(names):
            self._put_all(names, batch)
            if all(name in self._failed or self._copied.get(name) == batch[name] for name in names):
                self._show(stamps)
        _report({name: problem for name, problem in self._failed.items() if name not in failed})
        hidden = self._place.hidden | {name for name in self._copied if self._copied[name] == UNKNOWN}
        before = {name: stamp for name, stamp in self._shown.items() if name in hidden}
        self._shown = {**{name: self._copied[name] for name in self._copied.keys() - hidden}, **before}

    def _belong_together(self, names: list[str]) -> bool:
        return len(names) > 1 or any(self._group_of(name) in self._incomplete() for name in names)

    def _begin(self, names: list[str]) -> bool:
        try:
            self._place.begin(names, self._shown)
        except RuntimeFailure as error:
            if not names:
                raise
            self._failed = dict.fromkeys(names, str(error))
        return not self._failed

    def _put_all(self, names: list[str], stamps: dict[str, Stamp]) -> None:
        lost = 0.0
        for name in names:
            began = time.monotonic()
            problem = self._try_to_put(name, stamps[name]) if lost < MOST_LOST else AWAY
            lost = lost + time.monotonic() - began if problem else 0.0
            if problem:
                self._failed[name] = problem

    def _show(self, stamps: dict[str, Stamp]) -> None:
        """Show what is copied as it is now, but for incomplete directories."""
        incomplete, place = self._incomplete(), self._place
        ready = {
            name
            for name in place.hidden & stamps.keys()
            if self._copied.get(name) == stamps[name] and self._group_of(name) not in incomplete
        }
        left = [name for name in place.notes["hidden"] if name not in ready]
        left = [name for name in left if "/" in name or name not in self._failed]
        place.show(ready, [name for name in left if name in self._copied or self._group_of(name) in incomplete])

    def _incomplete(self) -> set[str]:
        """Directories that have a file which could not be copied yet, and new ones in which one is still written."""
        failed = {self._group_of(name) for name in self._failed if self._changes.get(name, 0) <= RESTLESS}
        written = {self._group_of(name) for name in self._written}
        return (failed | (written - self._known)) - {""}

    def _group_of(self, name: str) -> str:
        """The largest directory around a file that is all new, else the one that it is in."""
        above = directories_above(name)
        return next((directory for directory in above if directory not in self._known), (above or [""])[-1])

    def _try_to_put(self, name: str, stamp: Stamp) -> str:
        """Why one file cannot be copied; nothing where it was, or will be when it stands still."""
        try:
            if self._put(name, stamp):
                self._copied[name] = stamp
        except RuntimeFailure as error:
            self._copied[name] = UNKNOWN
            return str(error)
        except OSError as error:  # of reading, which no patience mends
            self._changes[name] = RESTLESS + 1
            return str(error)
        return ""

    def _put(self, name: str, stamp: Stamp) -> bool:
        """Copy one file; False where it changed or vanished meanwhile, and nothing was copied."""
        path, uri = os.path.join(self._directory, name), self._place.uri_of(name)
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
        self._place.remove(names)
        for name in names:
            del self._copied[name]
            self._shown.pop(name, None)

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


class CheckpointLinks:
    """The links of a directory that the substrate copies, in a file that it brings back: of links it says nothing."""

    def __init__(self, directory: str, path: str, interval: float) -> None:
        self._directory = directory
        self._path = path
        self._noted: dict[str, str] = {}
        self._looks = _Looks(self._note, interval)

    def restore(self) -> None:
        """Make the links again that an earlier container left. What they showed may have come in their place."""
        with suppress(OSError), open(self._path, "rb") as file:
            self._noted = read_notes(file.read(LARGEST_NOTES))["links"]
        for name, target in self._noted.items():
            place = os.path.join(self._directory, name)
            shown = os.path.join(os.path.dirname(place), target)
            if os.path.isdir(place) and not os.path.islink(place) and os.path.isdir(shown) and self._holds(place):
                remove_tree(place)
            restore_link(self._directory, name, target)

    def start(self) -> None:
        """Note links from now on."""
        self._looks.start()

    def finish(self) -> None:
        """Note those that the command left."""
        self._looks.end()
        self._note()

    def _holds(self, place: str) -> bool:
        return os.path.realpath(place).startswith(os.path.realpath(self._directory) + os.sep)

    def _note(self) -> None:
        try:
            links = links_below(self._directory)
            if links != self._noted:
                temporary = f"{self._path}.new"
                with open(temporary, "w", encoding="utf-8") as file:
                    json.dump({"links": links}, file, sort_keys=True)
                os.replace(temporary, self._path)
                self._noted = links
        except OSError as error:
            print(f"lyftlearn: links among checkpoints are not noted: {error}", file=sys.stderr)


def _in_the_way(name: str, other: str) -> bool:
    return name.startswith(other + "/") or other.startswith(name + "/")


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
        from .sagemaker_paths import LINKS

        return CheckpointLinks(directory, os.path.join(layout.ml, LINKS), interval)
    return Checkpoints(directory, destination["uri"], interval, timed=bundle["timeout"] is not None)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(make_readable(path))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
