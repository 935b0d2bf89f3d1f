"""Links to directories among checkpoints that the substrate copies: it does not say what becomes of links.

They are noted in a file beside the command's own checkpoints, which the substrate brings back with them.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from .checkpoints import INTERVAL, links_below, read_notes, restore_link
from .tree import remove_tree


class CheckpointLinks:
    """The links below one directory, and the file that they are noted in."""

    def __init__(self, directory: str, path: str, interval: float = INTERVAL) -> None:
        self._directory = directory
        self._path = path
        self._interval = interval
        self._noted: dict[str, str] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_noting, daemon=True, name="checkpoint-links")

    def restore(self) -> None:
        """Make the links again that an earlier container left. What they showed may have come in their place."""
        self._noted = read_notes(self._path)["links"]
        for name, target in self._noted.items():
            place = os.path.join(self._directory, name)
            shown = os.path.join(os.path.dirname(place), target)
            if os.path.isdir(place) and not os.path.islink(place) and os.path.isdir(shown) and self._holds(place):
                remove_tree(place)
            restore_link(self._directory, name, target)

    def start(self) -> None:
        """Note links from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Note those that the command left."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        self._note()

    def _holds(self, place: str) -> bool:
        return os.path.realpath(place).startswith(os.path.realpath(self._directory) + os.sep)

    def _keep_noting(self) -> None:
        while not self._end.wait(self._interval):
            self._note()

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
