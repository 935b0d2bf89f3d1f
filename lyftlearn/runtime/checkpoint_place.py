"""What a place holds of a job's checkpoints: files, and notes about those that are whole only together.

One write of the notes shows them all. Until then the notes hide new files, and what replaces others lies aside.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from .faults import RuntimeFailure
from .storage import Entry, join, store_for
from .transfer import fetch_entries
from .tree import LINK, Tree, name_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

LARGEST_NOTES = 16 << 20
NOTES = ".lyftlearn.json"
"""In the storage, where needed: `links`, path to relative target; `started_at`, the command's first start; `hidden`,
files that are not to be restored; `moved`, those that are to be restored from aside.

What the command itself calls so, with any number of `~` behind it, has one `~` more there.
"""
ASIDE = ".lyftlearn.new"
CHANGES = 9
"""Attempts to restore what another container still changes."""


class Place:
    """One URI, and what is at it."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._aside: list[str] = []
        self._strays: list[str] = []
        self._unsure = False
        self.notes: dict[str, Any] = read_notes(b"")

    @property
    def is_open(self) -> bool:
        """Whether something waits for others before it is shown."""
        return bool(self.hidden or self.notes["moved"] or self._strays)

    @property
    def hidden(self) -> set[str]:
        """Files that were begun and are not shown, or not as they are now."""
        return {*self.notes["hidden"], *self._aside}

    def uri_of(self, name: str) -> str:
        """Where a file is written to now."""
        return self._uri_of(name, aside=name in self._aside)

    def _uri_of(self, name: str, *, aside: bool = False) -> str:
        return join(self._uri, f"{ASIDE}/{_kept_name(name)}" if aside else _kept_name(name))

    def restore(self, directory: str) -> None:
        """Bring what is shown into a directory, in the order of its writing by its times.

        A machine that was given up may still run, and change it meanwhile: what comes was there at one moment.
        """
        for last in (*[False] * CHANGES, True):
            found = store_for(self._uri).find(self._uri)
            try:
                if self._bring(found, directory, last):
                    break
            except RuntimeFailure:
                if last or self._holds(found):
                    raise

    def _holds(self, found: list[Entry]) -> bool:
        return [*map(vars, found)] == [*map(vars, store_for(self._uri).find(self._uri))]

    def _bring(self, found: list[Entry], directory: str, last: bool) -> bool:
        """Whether nothing has changed while it was fetched; else nothing of it is left."""
        brought = self._select({entry.relative: entry for entry in found})
        try:
            fetch_entries(self._uri, brought, directory)
            last = last or self._holds(found)
        finally:
            for entry in brought:
                path = os.path.join(directory, entry.relative)
                with suppress(OSError):
                    os.utime(path, (entry.modified, entry.modified)) if last else os.unlink(path)
        return last

    def _select(self, found: dict[str, Entry]) -> list[Entry]:
        """What is to be restored. What an earlier container began and did not show is to be removed."""
        self.notes = read_notes(_content(found.pop(NOTES, None)))
        top = ASIDE + "/"
        aside = {name[len(top) :]: found.pop(name) for name in list(found) if name.startswith(top)}
        moved = {name: aside.pop(name) for name in map(_kept_name, self.notes["moved"]) if name in aside}
        files = {**found, **moved}
        strays = [files.pop(name) for name in map(_kept_name, self.notes["hidden"]) if name in files]
        in_the_way = [name for name in files if any(above in files for above in directories_above(name))]
        strays += [files.pop(name) for name in in_the_way]  # of a file and a directory, the file is whole
        self._strays = [entry.uri for entry in (*strays, *aside.values())]
        names = [name for name in files if not name_fault([name]) and os.path.normpath(name) == name]
        return [Entry(e.uri, _own_name(name), e.size, e.modified) for name in names for e in [files[name]]]

    def begin(self, names: Iterable[str], shown: Collection[str]) -> None:
        """Show none of these until `show`, or raise RuntimeFailure. shown: the files that whoever restores gets now."""
        self._settle()
        self._aside += [name for name in names if name in shown and name not in self._aside]
        self.note(hidden=sorted({*self.notes["hidden"], *(name for name in names if name not in shown)}))

    def show(self, ready: Collection[str], left: Collection[str]) -> None:
        """Show what is ready, all at once. left: new files that stay hidden."""
        moved = [name for name in self._aside if name in ready]
        self.note(hidden=sorted(left), moved=moved)
        self._aside = [name for name in self._aside if name not in ready]
        self._settle()

    def _settle(self) -> None:
        store = store_for(self._uri)
        for name in self.notes["moved"]:
            store.move(self._uri_of(name, aside=True), self._uri_of(name), top=self._uri)
        for uri in self._strays:
            store.remove(uri, top=self._uri)
        strays, self._strays = self._strays, []
        self.note(moved=[], hidden=[] if strays else self.notes["hidden"])

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, wherever they are: all at once for whoever restores."""
        store, gone = store_for(self._uri), set(names)
        if len(gone) > 1:
            self.note(hidden=sorted({*self.notes["hidden"], *gone}))
        for name in gone:
            for aside in {name in self._aside, False}:
                store.remove(self._uri_of(name, aside=aside), top=self._uri)
        self._aside = [name for name in self._aside if name not in gone]
        self.note(hidden=[name for name in self.notes["hidden"] if name not in gone])

    def note(self, **changes: Any) -> None:
        """Change the notes in the storage; after no answer, write them again."""
        notes = {**self.notes, **changes}
        if notes == self.notes and not self._unsure:
            return
        self._unsure, uri = True, join(self._uri, NOTES)
        if any(notes.values()):
            _put(uri, {name: value for name, value in notes.items() if value or name in ("links", "started_at")})
        else:
            store_for(uri).remove(uri)
        self._unsure, self.notes = False, notes


def _put(uri: str, notes: dict[str, Any]) -> None:
    sink = store_for(uri).sink(uri)
    try:
        sink.write(json.dumps(notes, sort_keys=True).encode())
        sink.commit()
    except BaseException:
        sink.abort()
        raise


def _content(entry: Entry | None) -> bytes:
    return store_for(entry.uri).read(entry.uri) if entry and entry.size <= LARGEST_NOTES else b""


def directories_above(name: str) -> list[str]:
    """Those of a relative path, the largest first."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _kept_name(name: str) -> str:
    """The name that a file of the command has in the storage, where the runtime has its own."""
    first, slash, rest = name.partition("/")
    return f"{first}~{slash}{rest}" if first.rstrip("~") in (NOTES, ASIDE) else name


def _own_name(name: str) -> str:
    first, slash, rest = name.partition("/")
    return f"{first[:-1]}{slash}{rest}" if first.rstrip("~") in (NOTES, ASIDE) else name


def read_notes(content: bytes) -> dict[str, Any]:
    """The notes of an earlier container; none where it is something else."""
    try:
        notes = json.loads(content)
        links = {name: target for name, target in notes["links"].items() if isinstance(target, str)}
        hidden, moved = ([name for name in notes.get(key, ()) if isinstance(name, str)] for key in ("hidden", "moved"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {"links": {}, "started_at": None, "hidden": [], "moved": []}
    return {"links": links, "started_at": notes.get("started_at"), "hidden": hidden, "moved": moved}


def links_below(directory: str) -> dict[str, str]:
    """Each link to a directory that stays inside, by its path, with its relative target."""
    entries = Tree(directory, keep_links=True, warn=lambda _: None).entries()
    return {entry.name: entry.target for entry in entries if entry.kind == LINK and os.path.isdir(entry.path)}


def restore_link(directory: str, name: str, target: str) -> None:
    """Make a link again, if nothing stands there, and it leads to something in the directory."""
    top, path = os.path.realpath(directory), os.path.join(directory, name)
    with suppress(OSError, ValueError):  # what the notes say may be no path at all
        parent = os.path.realpath(os.path.dirname(path))
        leads_to = os.path.realpath(os.path.join(parent, target))
        inside = all(place == top or place.startswith(top + os.sep) for place in (parent, leads_to))
        if inside and os.path.isdir(parent) and not os.path.lexists(path):
            os.symlink(target, path)
