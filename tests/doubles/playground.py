"""The test cluster and the test service for everybody to try: `make playground`.

Runs until Ctrl-C. What it writes is under one directory, and is made anew each time.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path

from tests.doubles.platforms import Platforms, platforms

ROOT = Path(__file__).parents[2]
MIGRATION = """
[migration]
from = "kubernetes"
to = "sagemaker"
stage = "off"
"""
ADVICE = """\
A Kubernetes cluster and a SageMaker service run on this machine, until Ctrl-C. In another shell:

    source {environment}
    lyftlearn doctor
    lyftlearn process hello --follow -- echo hello            # on kubernetes
    lyftlearn status ID
    LYFTLEARN_BACKEND=sagemaker lyftlearn process hello --follow -- echo hello

The configuration is {config}.
It says `stage = "off"`. Write "rehearse", "shadow", "live" or "complete" there, and submit again:

    lyftlearn explain process hello
    lyftlearn process hello --wait -- echo hello
    lyftlearn migration report
    lyftlearn parity run --on kubernetes,sagemaker --only environment,exit
"""


def main() -> None:
    """Start everything, say what to type, and wait."""
    parser = argparse.ArgumentParser(description="Start the test platforms.")
    parser.add_argument("--directory", type=Path, default=ROOT / "build" / "playground", help="for their state")
    directory: Path = parser.parse_args().directory.absolute()
    if shutil.which("bwrap") is None:
        sys.exit("the cluster runs its pods in namespaces: apt-get install bubblewrap")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with platforms(directory) as running:
        print(ADVICE.format(environment=lay_out(running, directory), config=running.config), flush=True)
        stopped.wait()
    print("the playground is closed", flush=True)


def lay_out(running: Platforms, directory: Path) -> Path:
    """Add a migration to the configuration, write the variables of a shell, and return their file."""
    running.config.write_text(running.config.read_text(encoding="utf-8") + MIGRATION, encoding="utf-8")
    variables = {**running.environment, "LYFTLEARN_CONFIG": str(running.config)}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines += [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH", "unset LYFTLEARN_BACKEND"]
    path = directory / "environment"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
