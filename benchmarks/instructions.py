"""Instructions that a process executes, counted by callgrind: they do not depend on who else uses the machine.

python -m benchmarks.instructions [--write FILE]   # needs valgrind
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import measure
from benchmarks.runtime.run import start, variables
from lyftlearn._contract.runtime_archive import runtime_archive

_AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
_SAGEMAKER = {"role": "arn:aws:iam::123456789012:role/jobs", "region": "us-east-1"}
_CLIENT = """
import sys, lyftlearn
given = {{"backend": "{0}", "home": sys.argv[1], "storage": {{"url": sys.argv[1] + "/storage"}}, "{0}": {1}}}
client = lyftlearn.Client(config=given)
"""
_PLAN = """
given = dict.fromkeys(("source", "hyperparameters", "inputs", "env", "resources", "timeout", "labels", "key"))
given |= {"model": "bench", "command": ["/bin/true"], "image": "a/b:1", "secrets": (), "nodes": 1, "retries": 0}
client._prepare("train", None, **given)
"""
_MIGRATION = '"migration": {"from": "local-kubernetes", "to": "local-sagemaker", "default": "rehearse"}'
_CLIENTS = "[{}.{}(name) for name in ('s3', 's3', 'sagemaker')]"
PROGRAMS = {
    "an interpreter that does nothing": "pass",
    "an import of lyftlearn": "import lyftlearn; lyftlearn.train",
    "a script that submits one local job": _CLIENT.format("local", {})
    + "client.train('bench', command=['/bin/true']).wait(progress=False)",
    "a script that submits one and ends, in a migration at rehearse": _CLIENT.format(
        "local-kubernetes", "{}, " + _MIGRATION
    )
    + "client.train('bench', command=['/bin/true'])",
    "a script that plans one Kubernetes job": _CLIENT.format("kubernetes", {}) + _PLAN,
    "a script that plans one SageMaker job": _CLIENT.format("sagemaker", _SAGEMAKER) + _PLAN,
    "three clients of AWS, by lyftlearn": "from lyftlearn.backend import aws_session; "
    + _CLIENTS.format("aws_session('us-east-1')", "create_client"),
    "three clients of AWS, by boto3": "import boto3; "
    + _CLIENTS.format("boto3.Session(region_name='us-east-1')", "client"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="file for the results")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("this counts with callgrind, which is not here: install valgrind (apt-get install valgrind)")
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as name:
        counted = count_all(Path(name))
    rows = [[of, f"{millions:.0f}"] for of, millions in counted.items()]
    print(measure.table("Millions of instructions of a process", ("", "millions"), rows))
    if options.write:
        measure.write(options.write, {"machine": measure.machine(), "unit": "millions", "medians": counted})


def count_all(folder: Path) -> dict[str, float]:
    """Count each process once it has run before, so that nothing is compiled; every run counts nearly the same."""
    commands = {name: [sys.executable, "-c", program, str(folder)] for name, program in PROGRAMS.items()}
    environment = {**os.environ, **_AWS, "LYFTLEARN_HOME": str(folder)}
    for command in commands.values():
        subprocess.run(command, env=environment, check=True, capture_output=True)
    counted = {name: count(command, environment, folder) for name, command in commands.items()}
    runtime = {"PATH": os.environ["PATH"], **variables(folder, ["/bin/true"], relay=False)}
    counted["the runtime of a container, for /bin/true"] = count(start(runtime_archive(folder)), runtime, folder)
    return counted


def count(command: list[str], environment: Mapping[str, str], folder: Path) -> float:
    """Return the millions of instructions of one process, without those of its children."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={folder}/%p.log"]
    with subprocess.Popen([*callgrind, *command], env=environment, stdout=subprocess.PIPE) as process:
        process.communicate()
    log = (folder / f"{process.pid}.log").read_text()
    found = re.search(r"refs:\s+([\d,]+)", log)
    if process.returncode or not found:
        raise RuntimeError(f"{command!r} ended with {process.returncode}:\n{log}")
    return int(found[1].replace(",", "")) / 1e6


if __name__ == "__main__":
    main()
