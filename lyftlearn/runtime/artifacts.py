"""What a job keeps: the model and its outputs."""

from __future__ import annotations

import os

from .faults import USER_ERROR, RuntimeFailure
from .storage import FULL, disk_failure, join, locate
from .tree import FILE, Tree, warn_on_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .bundle import Bundle
    from .layout import Layout

MODEL, OUTPUTS = "model", "outputs"
MOST_NAMES = 5
"""Files that are named where a command left its results in its working directory."""


def keep(bundle: Bundle, layout: Layout, rank: int) -> None:
    """Upload outputs that have a URI of their own; pack the rest where the platform does not. Node 0 alone does.

    Raises RuntimeFailure, with the command to blame where it left something that cannot be kept.
    """
    placed = {name: entry["uri"] for name, entry in bundle["outputs"].items() if entry.get("uri")}
    for path in (layout.at(MODEL), layout.at(OUTPUTS), *(layout.at(OUTPUTS, name) for name in bundle["outputs"])):
        _check_directory(path)
    try:
        _keep(bundle, layout, rank, placed)
    except OSError as error:  # of reading: sinks translate their own
        if error.errno == FULL:
            raise disk_failure(error, "keeping the model and the outputs") from error
        problem = f"{error.filename or layout.root} cannot be read: {error.strerror or error}"
        raise RuntimeFailure(USER_ERROR, f"what the command left cannot be kept: {problem}") from error


def _keep(bundle: Bundle, layout: Layout, rank: int, placed: dict[str, str]) -> None:
    if rank == 0:
        _check_places(layout, placed)
        for name, uri in placed.items():
            _upload(layout.at(OUTPUTS, name), uri)
    if bundle["pack"] == "substrate":
        from .sagemaker_paths import hand_over

        hand_over(layout, placed)
    elif rank == 0:
        _pack_all(bundle, layout, placed)


def _check_directory(path: str) -> None:
    """A command may remove such a directory, or put another in its place; a file there is a mistake."""
    if os.path.exists(path) and not os.path.isdir(path):
        raise RuntimeFailure(USER_ERROR, f"the command put a file in place of the directory {path}: nothing is kept")


def _check_places(layout: Layout, placed: dict[str, str]) -> None:
    """Raise RuntimeFailure where two outputs would write one file: only one of the two could be kept."""
    places = {name: _place(uri) for name, uri in placed.items()}
    shared = [name for name in places if _overlaps(places[name], [places[one] for one in places if one != name])]
    owners: dict[str, str] = {}
    for name in shared:
        for entry in Tree(layout.at(OUTPUTS, name), warn=lambda _: None).entries():
            path = f"{places[name]}{entry.name}"
            if entry.kind == FILE and owners.setdefault(path, name) != name:
                problem = f"the outputs {owners[path]} and {name} both have {path}: only one of the two can be kept"
                raise RuntimeFailure(USER_ERROR, f"{problem}, so none is. Give them different places")


def _place(uri: str) -> str:
    """Where an output goes, in one spelling, with a slash at its end."""
    location = locate(uri)
    path = os.path.normpath(location.path) if location.is_file else location.path
    return f"{location.at(path.rstrip('/')).uri}/"


def _overlaps(place: str, others: list[str]) -> bool:
    return any(place.startswith(other) or other.startswith(place) for other in others)


def _upload(path: str, uri: str) -> None:
    from .transfer import upload_directory

    if os.path.exists(path):
        upload_directory(os.path.realpath(path), uri)


def _pack_all(bundle: Bundle, layout: Layout, placed: dict[str, str]) -> None:
    if bundle["model"]:
        _pack(layout.at(MODEL), join(bundle["output_uri"], "model.tar.gz"))
    if set(bundle["outputs"]) - set(placed):
        _pack(layout.at(OUTPUTS), join(bundle["output_uri"], "output.tar.gz"), set(placed), apart=True)


def _pack(directory: str, uri: str, without: set[str] | None = None, apart: bool = False) -> None:
    from .packing import pack_to

    pack_to(uri, directory, without or (), apart)


def report_losses(bundle: Bundle, layout: Layout, lost: Collection[str]) -> None:
    """Say in the log what a command that succeeded has left where nobody will find it.

    lost: files that it left in its working directory. They are named if nothing else is kept.
    """
    trains = bool(bundle["model"])
    place = "LYFTLEARN_MODEL_DIR" if trains else f"LYFTLEARN_OUTPUTS_DIR/{next(iter(bundle['outputs']), 'output')}"
    _report_astray(layout.at(OUTPUTS), bundle["outputs"])
    if (trains and _has_files(layout.at(MODEL))) or (not trains and _has_files(layout.at(OUTPUTS))):
        return
    if trains:
        warn_on_stderr(f"this job has no model: the command left no file in LYFTLEARN_MODEL_DIR ({layout.at(MODEL)})")
    if lost:
        warn_on_stderr(
            f"files in the working directory are not kept: {_first_names(lost)}. Write to {place} what is to be kept"
        )


def _report_astray(directory: str, outputs: Collection[str]) -> None:
    """Name what is beside the directories of the outputs: it is packed with them, and read with none."""
    astray = set(os.listdir(directory)) - set(outputs) if os.access(directory, os.R_OK | os.X_OK) else set()
    if astray:
        known = f"this job's outputs are {', '.join(sorted(outputs))}" if outputs else "this job has no outputs"
        warn_on_stderr(f"what is in LYFTLEARN_OUTPUTS_DIR and in no output is lost: {_first_names(astray)}; {known}")


def _first_names(names: Collection[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(sorted(names)[:MOST_NAMES]) + more


def _has_files(path: str) -> bool:
    return any(entry.kind == FILE for entry in Tree(path, warn=lambda _: None).entries())
