"""SageMaker's `/opt/ml` under the contract's paths.

Containers there may not mount, and `/opt/ml` is another file system than `/lyftlearn`. So directories of the contract
are links into it. What is below them are true directories, because most ways of walking a tree enter no links.
"""

from __future__ import annotations

import os

from .faults import configuration_failure
from .layout import NOTEBOOK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .bundle import Bundle
    from .layout import Layout
    from .tree import Entry

KEPT = {"model": "model", "outputs": "output/data"}
"""What SageMaker packs, and where it looks for it."""
LINKED = {**KEPT, "checkpoints": "checkpoints/files", "tmp": "lyftlearn/tmp"}
APART = {"model": "lyftlearn/model", "outputs": "lyftlearn/outputs"}
"""Where SageMaker does not look: of a job whose model and outputs the runtime packs itself."""
STARTED = "checkpoints/started"
"""Beside the command's own checkpoints: when it started first. SageMaker brings it back with them."""
LINKS = "checkpoints/links"
"""Beside them, too: the links to directories among them."""
DATA = "input/data"
INPUTS = "input/data/lyftlearn/inputs"
"""Beside the bundle, in a channel of our own: surely on the file system of the others, unless each has its own."""


def link(layout: Layout, bundle: Bundle) -> None:
    """Link the contract's directories into `/opt/ml`, and show the channels as inputs."""
    for name, target in {**LINKED, **(APART if bundle["pack"] == "runtime" else {})}.items():
        os.makedirs(os.path.join(layout.ml, target), exist_ok=True)
        _link(layout.at(name), os.path.join(layout.ml, target))
    if bundle["notebook"] and bundle["checkpoints"]:
        _link(layout.at(NOTEBOOK), os.path.join(layout.ml, LINKED["checkpoints"]))
    _link_inputs(layout)
    for channel, entry in bundle["inputs"].items():
        if entry.get("mode") == "mounted":
            _show(os.path.join(layout.ml, DATA, channel), os.path.realpath(layout.at("inputs", channel)))


def first_start(layout: Layout) -> float | None:
    """When an earlier container of the job started the command first, in seconds since 1970; None in the first one."""
    try:
        with open(os.path.join(layout.ml, STARTED), encoding="ascii") as file:
            return float(file.read())
    except (OSError, ValueError):
        return None


def note_first_start(layout: Layout, at: float) -> None:
    """Keep the time of the first start for a container that takes this one's place."""
    if first_start(layout) is None:
        try:
            with open(os.path.join(layout.ml, STARTED), "w", encoding="ascii") as file:
                file.write(repr(at))
        except OSError:  # then the timeout starts again, and SageMaker's own limit ends the job
            return


def hand_over(layout: Layout, without: Collection[str] = ()) -> None:
    """Leave model and outputs where SageMaker packs them, as they are packed elsewhere, but the outputs `without`.

    A command may have made directories in place of the links to there. SageMaker knows neither which links lead out
    nor which lead nowhere, so links are settled here.
    """
    for name, target in KEPT.items():
        directory, packed = os.path.realpath(layout.at(name)), os.path.join(layout.ml, target)
        if os.path.isdir(directory):
            settle_links(directory, apart=name == "outputs")
        if directory != os.path.realpath(packed):
            _replace_content(directory, packed, layout.at("tmp", f"lyftlearn-{name}"))
    for name in without:
        _remove(os.path.join(layout.ml, KEPT["outputs"], name))


def _replace_content(directory: str, packed: str, temporary: str) -> None:
    """Make `packed` hold what `directory` holds, which may lie below it."""
    import shutil

    if os.path.isdir(directory):
        shutil.copytree(directory, temporary, symlinks=True)
    _empty(packed)
    if os.path.isdir(temporary):
        shutil.copytree(temporary, packed, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(temporary)


def settle_links(top: str, apart: bool = False) -> None:
    """Make of every link below `top` what `Tree` makes of it, and remove what is no file."""
    from .tree import LINK, Tree

    entries = {entry.name: entry for entry in Tree(top, True, apart).entries()}
    for folder, folders, files in os.walk(top):
        for path in (os.path.join(folder, name) for name in folders + files):
            entry = entries.get(os.path.relpath(path, top))
            if entry is None:
                _remove(path)
            elif entry.kind == LINK:
                os.unlink(path)
                os.symlink(entry.target, path)
            elif os.path.islink(path):
                _replace_link(path, [below for below in entries.values() if below.name.startswith(entry.name + "/")])


def _replace_link(path: str, below: list[Entry]) -> None:
    """Put in a link's place what it shows; `below` are the entries of the directory, if it shows one."""
    import shutil

    from .tree import DIRECTORY

    copy = f"{path}.lyftlearn"
    if not os.path.isdir(path):
        shutil.copy(path, copy)
        os.replace(copy, path)
        return
    os.mkdir(copy)
    for entry in below:
        target = copy + entry.path[len(path) :]
        os.mkdir(target) if entry.kind == DIRECTORY else shutil.copy(entry.path, target)
    os.unlink(path)
    os.rename(copy, path)


def _link_inputs(layout: Layout) -> None:
    """Where channels are read-only, the inputs stay what they are elsewhere: a directory."""
    target = os.path.join(layout.ml, INPUTS)
    try:
        os.makedirs(target, exist_ok=True)
    except OSError:
        os.makedirs(layout.at("inputs"), exist_ok=True)
        return
    _link(layout.at("inputs"), target)


def _show(channel: str, target: str) -> None:
    """Move a channel below the inputs and leave a link behind; where it cannot be moved, link to each of its files."""
    if os.path.islink(channel) or not os.path.isdir(channel):  # moved by an earlier start; or nothing came
        return
    try:
        os.rename(channel, target)
    except OSError:  # a mount of its own, as streamed channels are, or read-only
        _mirror(channel, target)
        return
    os.symlink(target, channel)


def _mirror(channel: str, target: str) -> None:
    for directory, folders, files in os.walk(channel):
        mirror = os.path.normpath(os.path.join(target, os.path.relpath(directory, channel)))
        os.makedirs(mirror, exist_ok=True)
        for name in files + [folder for folder in folders if os.path.islink(os.path.join(directory, folder))]:
            if not os.path.lexists(os.path.join(mirror, name)):
                os.symlink(os.path.join(directory, name), os.path.join(mirror, name))


def _link(path: str, target: str) -> None:
    if os.path.ismount(path):
        return
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        _remove_empty(path)
    os.symlink(target, path)


def _remove_empty(path: str) -> None:
    if os.listdir(path):
        raise configuration_failure(
            f"{path} is not empty in the image, and belongs to the job: remove it from the image"
        )
    os.rmdir(path)


def _empty(directory: str) -> None:
    for name in os.listdir(directory):
        _remove(os.path.join(directory, name))


def _remove(path: str) -> None:
    from .tree import remove_tree

    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    elif os.path.lexists(path):
        os.unlink(path)
