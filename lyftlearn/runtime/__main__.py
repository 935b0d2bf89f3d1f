"""The command line: `run`, `spark executor`, `detect --json`, `version`."""

import gc
import os
import sys

from . import CONTRACT
from .detect import detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = "usage: runtime.pyz run [command ...] | spark executor | detect [--json] | version"
EX_USAGE = 64


def show_detection(arguments: "list[str]", _: "list[int]") -> int:
    """Print where this container runs, and the evidence."""
    detection = detect(os.environ)
    if arguments == ["--json"]:
        import json

        print(json.dumps({"substrate": detection.substrate, "evidence": detection.evidence}))
    else:
        print(detection.substrate, *detection.evidence, sep="\n  ")
    return 0


def show_version(*_: object) -> int:
    """Print the newest contract this runtime knows."""
    print(f"lyftlearn runtime, contract {CONTRACT}")
    return 0


def run(arguments: "list[str]", received: "list[int]") -> int:
    """Run the job's command under the contract."""
    _require_library()
    from .job import run_job

    return run_job(arguments, received)


def _require_library() -> None:
    """Refuse a Python without its whole library: it would run some jobs, and fail others late."""
    if not any(finder.find_spec("json", None) for finder in sys.meta_path):
        raise ImportError("No module named 'json'")


def run_spark(arguments: "list[str]", received: "list[int]") -> int:
    """Run an executor of Spark under the contract."""
    from .spark.executor import run_executor

    return run_executor(arguments, received)


COMMANDS: "dict[str, Callable[[list[str], list[int]], int]]" = {
    "run": run,
    "spark": run_spark,
    "detect": show_detection,
    "version": show_version,
}


def main(received: "list[int]") -> int:
    """Dispatch on the first argument. received: what the first signal handlers of the process append to."""
    gc.disable()  # what a start allocates stays
    name, *arguments = sys.argv[1:] or [""]
    if name not in COMMANDS:
        print(USAGE, file=sys.stderr)
        return EX_USAGE
    return COMMANDS[name](arguments, received)


if __name__ == "__main__":
    sys.exit(main([]))
