"""What a source leaves out because somebody said so: in `.gitignore` files, as git reads them, or in ours.

A file that git tracks is part of the source, whatever a `.gitignore` says: to git, too, its rules are for other files.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".lyftlearnignore"
_GIT_IGNORE = ".gitignore"
_TRACKED = (
    *("git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false"),  # the directory may be another user's
    *("ls-files", "--cached", "--ignored", "--exclude-standard", "-z"),
)
_GIT_SECONDS = 60


@dataclass
class Ignored:
    """The rules of one source. The last rule that fits a name decides, and those of deeper files come later.

    `.lyftlearnignore` at the top comes last of all, so that `!name` there takes back what git leaves out.
    """

    root: str
    by_git: bool
    _specs: dict[str, GitIgnoreSpec] = field(default_factory=dict)
    _own: GitIgnoreSpec | None = None
    _above: list[tuple[str, GitIgnoreSpec]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._own = _read(os.path.join(self.root, IGNORE_FILE))  # noqa: PTH118
        if self.by_git:
            self._above = list(_above(self.root))

    def enter(self, directory: str) -> None:
        """Read the rules of a directory, before the names in it are asked for. directory: from the root, or empty."""
        spec = _read(os.path.join(self.root, directory, _GIT_IGNORE)) if self.by_git else None  # noqa: PTH118
        if spec is not None:
            self._specs[directory] = spec

    def matches(self, name: str) -> bool:
        """Whether `name`, from the root, is left out; a directory's ends in `/`."""
        own = self._own.check_file(name).include if self._own else None
        return self._by_git(name) and name not in self._tracked_entries if own is None else own

    @cached_property
    def _tracked_entries(self) -> set[str]:
        """What git tracks although a rule of it would leave it out, and the directories on the way there."""
        names = _tracked_names(self.root)
        return {*names, *(f"{directory}/" for name in names for directory in _directories(name))}

    def _by_git(self, name: str) -> bool:
        for directory in _directories(name) if self._specs else ():
            spec = self._specs.get(directory)
            include = spec.check_file(name[len(directory) :].lstrip("/")).include if spec else None
            if include is not None:
                return include
        for prefix, spec in self._above:
            include = spec.check_file(prefix + name).include
            if include is not None:
                return include
        return False


def _tracked_names(root: str) -> list[str]:
    """Ask git, whose index has many forms. Without it, or outside of a repository, nothing is tracked."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of a hook that calls us
    try:
        answer = subprocess.run(_TRACKED, cwd=root, env=own, capture_output=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [os.fsdecode(name) for name in answer.stdout.split(b"\0") if name]


def _directories(name: str) -> Iterator[str]:
    """Every directory above `name`, the deepest first; the root is empty."""
    parent = name.rstrip("/")
    while parent:
        parent = parent.rpartition("/")[0]
        yield parent


def _above(root: str) -> Iterator[tuple[str, GitIgnoreSpec]]:
    """The rules above a source that is a part of a repository, the nearest first, with the way from there."""
    here, prefix = Path(root), ""
    top = next((one for one in (here, *here.parents) if (one / ".git").exists()), None)
    while top is not None:
        spec = _read(str(here / _GIT_IGNORE)) if prefix else None
        if spec is not None:
            yield prefix, spec
        if here == top:
            return
        prefix = f"{here.name}/{prefix}"
        here = here.parent


def _read(path: str) -> GitIgnoreSpec | None:
    """Return the rules in a file; None if it is not there, or holds none. Raises ValueError, which names the file."""
    if not Path(path).is_file():  # to open a pipe would wait for whoever writes into it
        return None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not text.strip():
        return None
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  # not every source has such a file

    try:
        return GitIgnoreSpec.from_lines(text.splitlines())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
