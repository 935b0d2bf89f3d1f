"""One file or object that keeps a whole fleet on the old backend, whatever flags and settings say.

Whoever may write it needs no flag service and no deployment. It is looked at as often as the flag is asked, and for as
long. What was last seen is also kept on disk, so that a storage that is away neither pulls it nor lets it go.
"""

from __future__ import annotations

import contextlib
import threading
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from lyftlearn._contract.private import make_private
from lyftlearn._storage import open_storage, storage_directory

if TYPE_CHECKING:
    from pathlib import Path

    from lyftlearn.config import Config

PULLED, ABSENT = "it is there", "it is not there"


class KillSwitch:
    """The switch of one configuration: `[migration] kill_switch`. Safe to share between threads.

    budget: seconds that a look may take; by default those of a submission.
    """

    def __init__(self, config: Config, budget: float | None = None) -> None:
        self._config = config
        self._budget = config.migration_budget if budget is None else budget
        self._seen = config.home / "flags" / _file_for(str(config.kill_switch))
        self._known: tuple[float, tuple[bool, str]] | None = None
        self._asking: threading.Thread | None = None

    def look(self) -> tuple[bool, str]:
        """Return whether everything is to stay on the old backend, and what was seen. Never raises.

        The answer holds for `[migration] cache`, and takes the budget at most.
        """
        now = time.monotonic()
        if self._known is None or now >= self._known[0]:
            self._known = now + self._config.migration_cache, self._look_within_budget()
        return self._known[1]

    def _look_within_budget(self) -> tuple[bool, str]:
        if self._asking is not None and self._asking.is_alive():
            return self._last_seen("an earlier look has no answer yet")
        answers: list[bool | Exception] = []
        self._asking = threading.Thread(target=lambda: answers.append(self._is_there()), daemon=True)
        try:
            self._asking.start()
        except RuntimeError as exc:  # this process may have no more threads
            return self._last_seen(str(exc))
        self._asking.join(self._budget)
        answer = answers[0] if answers else TimeoutError(f"no answer within {self._budget:g} s")
        if isinstance(answer, Exception):
            return self._last_seen(str(answer) or type(answer).__name__)
        _remember(self._seen, pulled=answer)
        return answer, PULLED if answer else ABSENT

    def _is_there(self) -> bool | Exception:
        switch = str(self._config.kill_switch)
        place, _, name = switch.rpartition("/")
        try:
            path = storage_directory(switch)  # a URI of a file has quoted characters
            place, name = (place, name) if path is None else (str(path.parent), path.name)
            return open_storage(place).read(name) is not None
        except Exception as exc:  # noqa: BLE001 - a broken storage must never cost a submission
            return exc

    def _last_seen(self, trouble: str) -> tuple[bool, str]:
        pulled = self._known[1][0] if self._known else self._seen.exists()
        return pulled, f"it cannot be looked at ({trouble}); when last seen, {PULLED if pulled else ABSENT}"


def _file_for(switch: str) -> str:
    """Return the name of the file that remembers one switch: a user's repositories may have several."""
    return f"kill-switch-{sha256(switch.encode()).hexdigest()[:32]}"


def _remember(path: Path, *, pulled: bool) -> None:
    """Keep what was seen for processes that begin while the storage is away. Without a disk to write on, nothing is."""
    with contextlib.suppress(OSError):
        if pulled:
            make_private(path.parent)
            path.touch()
        else:
            path.unlink(missing_ok=True)
