"""What a job keeps: the model and its outputs."""

from __future__ import annotations

import os

from .storage import join, store_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bundle import Bundle
    from .layout import Layout


def keep(bundle: Bundle, layout: Layout, rank: int) -> None:
    """Upload outputs that have a URI of their own; pack the rest where the platform does not. Node 0 alone does."""
    placed = {name: entry["uri"] for name, entry in bundle["outputs"].items() if entry.get("uri")}
    if rank == 0:
        for name, uri in placed.items():
            _upload(layout.at("outputs", name), uri)
    if bundle["pack"] == "substrate":
        _leave_to_substrate(layout, placed)
    elif rank == 0:
        _pack_all(bundle, layout, placed)


def _upload(path: str, uri: str) -> None:
    from .transfer import upload_directory

    upload_directory(os.path.realpath(path), uri)


def _leave_to_substrate(layout: Layout, placed: dict[str, str]) -> None:
    """The platform packs what it finds: an output that has gone elsewhere is not to be in it."""
    import shutil

    from .sagemaker_paths import hand_over

    hand_over(layout)
    for name in placed:
        shutil.rmtree(os.path.realpath(layout.at("outputs", name)), ignore_errors=True)


def _pack_all(bundle: Bundle, layout: Layout, placed: dict[str, str]) -> None:
    if bundle["model"]:
        _pack(layout.at("model"), join(bundle["output_uri"], "model.tar.gz"))
    if set(bundle["outputs"]) - set(placed):
        _pack(layout.at("outputs"), join(bundle["output_uri"], "output.tar.gz"), without=set(placed))


def _pack(directory: str, uri: str, without: set[str] | None = None) -> None:
    from .archives import pack

    sink = store_for(uri).sink(uri)
    try:
        pack(directory, sink, without or ())
        sink.commit()
    except BaseException:
        sink.abort()
        raise
