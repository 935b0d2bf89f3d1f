"""SageMaker's `/opt/ml` under the contract's paths.

Containers there may not mount, and `/opt/ml` is another file system than `/lyftlearn`. So directories of the contract
are links into it. What is below them are true directories, because most ways of walking a tree enter no links.
"""

from __future__ import annotations

import os

from .faults import configuration_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bundle import Bundle
    from .layout import Layout

KEPT = {"model": "model", "outputs": "output/data"}
"""What SageMaker packs, and where it looks for it."""
LINKED = {**KEPT, "checkpoints": "checkpoints", "tmp": "lyftlearn/tmp"}
DATA = "input/data"
INPUTS = "input/data/lyftlearn/inputs"
"""Beside the bundle, in a channel of our own: surely on the file system of the others, unless each has its own."""


def link(layout: Layout, bundle: Bundle) -> None:
    """Link the contract's directories into `/opt/ml`, and show the channels as inputs."""
    for name, target in LINKED.items():
        os.makedirs(os.path.join(layout.ml, target), exist_ok=True)
        _link(layout.at(name), os.path.join(layout.ml, target))
    _link_inputs(layout)
    for channel, entry in bundle["inputs"].items():
        if entry.get("mode") == "mounted":
            _show(os.path.join(layout.ml, DATA, channel), os.path.realpath(layout.at("inputs", channel)))


def hand_over(layout: Layout) -> None:
    """Bring model and outputs to where SageMaker packs them, if the command has made directories in place of links."""
    for name, target in KEPT.items():
        made, packed = os.path.realpath(layout.at(name)), os.path.join(layout.ml, target)
        if made != os.path.realpath(packed):
            import shutil

            _empty(packed)
            shutil.copytree(made, packed, symlinks=True, dirs_exist_ok=True)


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
    import shutil

    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
