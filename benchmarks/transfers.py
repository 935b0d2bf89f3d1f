"""Transfers of the runtime to and from S3, beside `aws s3 cp`, against one server: a large file, and many small ones.

python -m benchmarks.transfers --cli VENV [--megabytes 2048] [--files 20000] [--write FILE]   # VENV: with awscli
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.packing import make_model, make_source, time_of
from benchmarks.sagemaker.servers import ENVIRONMENT, moto

BUCKET = "lyftlearn-bench"
FETCH = "import sys; from lyftlearn.runtime.transfer import fetch; fetch(sys.argv[1], sys.argv[2])"
UPLOAD = (
    "import sys; from lyftlearn.runtime.transfer import upload_directory; upload_directory(sys.argv[1], sys.argv[2])"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cli", type=Path, required=True, help="a virtual environment with awscli")
    parser.add_argument("--megabytes", type=int, default=2048, help="size of the large file")
    parser.add_argument("--files", type=int, default=20_000, help="number of small files")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    result: dict[str, Any] = {"machine": measure.machine(), "before": measure.wait_quiet(options.patience)}
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as name, moto() as endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        _make_bucket()
        trees = {
            f"a file of {options.megabytes} MB": make_model(Path(name, "model"), options.megabytes),
            f"{options.files} small files": make_source(Path(name), options.files),
        }
        for title, tree in trees.items():
            result[title] = compare(title, tree, options.cli / "bin" / "aws", options.runs)
    if options.write:
        measure.write(options.write, result)


def compare(title: str, tree: Path, cli: Path, runs: int) -> dict[str, Any]:
    ours, theirs = f"s3://{BUCKET}/ours/{tree.name}/", f"s3://{BUCKET}/theirs/{tree.name}/"
    python, copy = [sys.executable, "-c"], [str(cli), "s3", "cp", "--recursive", "--only-show-errors"]
    commands = {
        "lyftlearn, up": [*python, UPLOAD, str(tree), ours],
        "aws s3 cp, up": [*copy, str(tree), theirs],
        "lyftlearn, down": [*python, FETCH, ours, str(tree.parent / f"{tree.name}-ours")],
        "aws s3 cp, down": [*copy, theirs, str(tree.parent / f"{tree.name}-theirs")],
    }
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        name: partial(time_of, command) for name, command in commands.items()
    }
    taken = measure.interleaved(contenders, runs)
    middle = measure.medians(taken)
    rows = [_row(name, of, middle[f"aws s3 cp, {name.rpartition(' ')[2]}"]) for name, of in middle.items()]
    print(measure.table(title, ("", "median", "throughput, aws = 1", "processor", "MB of memory"), rows))
    return {"medians": middle, "runs": taken}


def _row(name: str, of: dict[str, float], other: dict[str, float]) -> list[str]:
    throughput = other["seconds"] / of["seconds"]
    return [name, f"{of['seconds']:.1f} s", f"{throughput:.2f}", f"{of['processor']:.1f} s", f"{of['MB']:.0f}"]


def _make_bucket() -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket=BUCKET)


if __name__ == "__main__":
    main()
