"""A process that moves what SageMaker itself would move, with the runtime's own hands."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from typing import Any

RUNTIME = "lyftlearn_runtime"


_DIRECTORIES = {"model": "model", "output": "output/data"}


def fetch(uri: str, directory: str) -> None:
    """Copy everything at `uri` into `directory`."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    if not importlib.import_module(f"{RUNTIME}.transfer").fetch(uri, directory):
        sys.exit(f"nothing is at {uri}")


def pack(ml: str, output_uri: str, *names: str) -> None:
    """Write `model` and `output` as archives under `output_uri`; none where there is nothing in it, as SageMaker."""
    packing = _packing()
    for name in names:
        if _holds_nothing(Path(ml, _DIRECTORIES[name])):
            continue
        uri = f"{output_uri}/{name}.tar.gz"
        sink = importlib.import_module(f"{RUNTIME}.storage").store_for(uri).sink(uri)
        try:
            packing.pack(str(Path(ml, _DIRECTORIES[name])), sink)
            sink.commit()
        except BaseException:
            sink.abort()
            raise


def _packing() -> Any:
    """Of the runtime that came with the job: until version 1.1 one module packed and unpacked."""
    try:
        return importlib.import_module(f"{RUNTIME}.packing")
    except ModuleNotFoundError:
        return importlib.import_module(f"{RUNTIME}.archives")


def _holds_nothing(directory: Path) -> bool:
    is_one = directory.is_dir() or not directory.exists()
    return is_one and all(path.is_dir() and not path.is_symlink() for path in directory.rglob("*"))


def transfer(verb: str, *arguments: str) -> None:
    """Fetch or pack; say why not on standard error's last line. SIGTERM removes what is half written."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failure = importlib.import_module(f"{RUNTIME}.faults").Fault
    try:
        (fetch if verb == "fetch" else pack)(*arguments)
    except failure as error:
        sys.exit(str(error))
