"""A process that moves what SageMaker itself would move, with the runtime's own hands."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

RUNTIME = "lyftlearn_runtime"


_PACKED = {"model": "model", "output": "output/data"}


def fetch(uri: str, place: str) -> None:
    """Everything at `uri` into the directory `place`."""
    Path(place).mkdir(parents=True, exist_ok=True)
    if not importlib.import_module(f"{RUNTIME}.transfer").fetch(uri, place):
        sys.exit(f"nothing is at {uri}")


def pack(ml: str, output_uri: str, *names: str) -> None:
    """`model` and `output` as archives under `output_uri`."""
    archives = importlib.import_module(f"{RUNTIME}.archives")
    for name in names:
        uri = f"{output_uri}/{name}.tar.gz"
        sink = importlib.import_module(f"{RUNTIME}.storage").store_for(uri).sink(uri)
        try:
            archives.pack(str(Path(ml, _PACKED[name])), sink)
            sink.commit()
        except BaseException:
            sink.abort()
            raise


def main() -> None:
    """Do what the arguments say; say why not on standard error's last line."""
    fault = importlib.import_module(f"{RUNTIME}.faults").Fault
    try:
        (fetch if sys.argv[1] == "fetch" else pack)(*sys.argv[2:])
    except fault as error:
        sys.exit(str(error))
