"""What is installed in this Python: what distributions register, and their versions.

`importlib.metadata` knows it, too, but loads a parser of e-mail and reads every group of every distribution, which was
a good part of a process that submits one job. It is asked where a distribution may be elsewhere than in a directory.
"""

# ruff: noqa: PTH119, PTH123, PTH208 - among hundreds of distributions, objects for paths would take most of the time

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any, NamedTuple

_INFORMATION = (".dist-info", ".egg-info")
_ABOUT = ("METADATA", "PKG-INFO")


class EntryPoint(NamedTuple):
    """What a distribution registers. value: `module:attribute [extra, ...]`. owner: the distribution's name."""

    name: str
    value: str
    owner: str

    @property
    def extras(self) -> list[str]:
        """The extras without which the distribution does not offer it."""
        return [extra.strip() for extra in self.value.partition("[")[2].partition("]")[0].split(",") if extra.strip()]

    def load(self) -> Any:
        """Import it. Raises whatever the module raises."""
        module, _, attribute = self.value.partition("[")[0].partition(":")
        return reduce(getattr, filter(None, attribute.strip().split(".")), import_module(module.strip()))


def entry_points(group: str) -> list[EntryPoint]:
    """Return what the installed distributions register in a group."""
    if _lies_elsewhere():
        from importlib.metadata import entry_points as ask  # noqa: PLC0415 - see above

        return [EntryPoint(one.name, one.value, one.dist.name if one.dist else one.value) for one in ask(group=group)]
    return [entry_point for directory in _distributions() for entry_point in _find_in(directory, group)]


def version(name: str) -> str:
    """Return the version of a distribution. Raises PackageNotFoundError."""
    for directory in [] if _lies_elsewhere() else _distributions():
        own, _, number = os.path.basename(directory).rpartition(".")[0].partition("-")
        if own == name and number:
            return number
    from importlib.metadata import version as ask  # noqa: PLC0415 - see above

    return ask(name)


def _lies_elsewhere() -> bool:
    """Whether a distribution may be in a zip file, or known to somebody's own finder."""
    finders = (finder for finder in sys.meta_path if finder is not PathFinder)
    return any(hasattr(finder, "find_distributions") for finder in finders) or any(map(os.path.isfile, sys.path))


def _distributions() -> Iterator[str]:
    """Yield the directories of information. Of one name the first on the path counts, as it does for an import."""
    seen = set()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith(_INFORMATION):
                own = name.rpartition(".")[0].partition("-")[0].lower().replace(".", "_")
                if own not in seen:
                    seen.add(own)
                    yield f"{folder or '.'}/{name}"


def _find_in(directory: str, group: str) -> Iterator[EntryPoint]:
    text, section = _read(directory, "entry_points.txt"), ""
    if f"[{group}]" not in text:
        return
    for line in map(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        if line.startswith("["):
            section = line.strip("[]")
        elif equals and section == group and not line.startswith("#"):
            yield EntryPoint(name.strip(), value.strip(), _owner(directory))


def _owner(directory: str) -> str:
    lines = (line for name in _ABOUT for line in _read(directory, name).splitlines())
    found = next((line for line in lines if line.startswith("Name:")), "")
    return found.partition(":")[2].strip() or os.path.basename(directory)


def _read(directory: str, name: str) -> str:
    try:
        with open(f"{directory}/{name}", "rb", 0) as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""
