"""What packing takes: a model as the runtime keeps it, and a source as a client sends it, beside tar and gzip.

python -m benchmarks.packing [--megabytes 2048] [--files 20000] [--runs 3] [--write FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure

MODEL = """
import sys
from lyftlearn.runtime.packing import pack_to
pack_to("file://" + sys.argv[2], sys.argv[1])
"""
SOURCE = """
import sys, tempfile
from pathlib import Path
from lyftlearn._transfer.packing import pack_source
with tempfile.TemporaryDirectory() as cache:
    pack_source(Path(sys.argv[1]), Path(cache))
"""
_PIECE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2048, help="size of the model")
    parser.add_argument("--files", type=int, default=20_000, help="files of the source")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": measure.machine(), "before": measure.wait_quiet(options.patience)}
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as name:
        model, source = make_model(Path(name, "model"), options.megabytes), make_source(Path(name), options.files)
        result["model"] = compare(f"A model of {options.megabytes} MB", MODEL, "gzip -1", model, options.runs)
        result["source"] = compare(f"A source of {options.files} files", SOURCE, "gzip -6", source, options.runs)
    if options.write:
        measure.write(options.write, result)


def make_model(directory: Path, megabytes: int) -> Path:
    """Write numbers of which half cannot be compressed, as the mantissas of weights."""
    directory.mkdir()
    with (directory / "weights.bin").open("wb") as file:
        for _ in range(megabytes):
            piece = bytearray(_PIECE)
            piece[::2] = os.urandom(_PIECE // 2)
            file.write(piece)
    return directory


def make_source(folder: Path, files: int) -> Path:
    """Write the modules of this benchmark's checkout under other names until there are enough."""
    (folder / "source").mkdir()
    texts = [path.read_bytes() for path in sorted(Path(__file__).parents[1].glob("lyftlearn/*/*.py"))]
    for number in range(files):
        path = folder / "source" / f"room_{number // 100}" / f"module_{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(texts[number % len(texts)])
    return folder / "source"


def compare(title: str, program: str, gzip: str, directory: Path, runs: int) -> dict[str, Any]:
    packed = directory.parent / "packed.tar.gz"
    ours = [sys.executable, "-c", program, str(directory), str(packed)]
    tar = ["tar", "--create", "--file", str(packed), "--use-compress-program", gzip, "--directory", str(directory), "."]
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        "lyftlearn": partial(time_of, ours),
        f"tar and {gzip}": partial(time_of, tar),
    }
    taken = measure.interleaved(contenders, runs)
    middle = measure.medians(taken)
    base = middle[f"tar and {gzip}"]["seconds"]
    rows = [
        [name, f"{of['seconds']:.1f} s", f"{of['seconds'] / base:.2f}", f"{of['processor']:.1f} s", f"{of['MB']:.0f}"]
        for name, of in middle.items()
    ]
    print(measure.table(title, ("", "median", "tar = 1", "processor", "MB of memory"), rows))
    return {"medians": middle, "runs": taken}


def time_of(command: list[str]) -> dict[str, float]:
    """Return the seconds that a command takes, those of processors, its own children's too, and its peak memory."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{command!r} ended with {os.waitstatus_to_exitcode(status)}")
    return {"seconds": seconds, "processor": used.ru_utime + used.ru_stime, "MB": used.ru_maxrss / 1024}


if __name__ == "__main__":
    main()
