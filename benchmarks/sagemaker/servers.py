"""The server of the benchmark: SageMaker's service of the tests and moto, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import measure

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAGEMAKER_VALIDATE_ROLE": "false",  # of the SDK: requests to IAM, which nothing here answers
}
BUCKET = "lyftlearn-bench"
ROLE = "arn:aws:iam::123456789012:role/lyftlearn-jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/lyftlearn/base:1"
_SDK_CONFIGURATION = """\
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""
_START = 60  # seconds
_ROOT = Path(__file__).parents[2]
_MOTO = """
import functools, sys
import jsonpath_ng.ext
from moto.server import main
from moto.sqs.models import SQSBackend
# It parses the same paths for each event, and counts all messages of a queue for each one that it gives.
jsonpath_ng.ext.parse = functools.cache(jsonpath_ng.ext.parse)
SQSBackend.is_message_valid_based_on_retention_period = lambda *_: True
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""
_SERVICE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])  # before packages that install a `tests` of theirs
from tests.doubles.sagemaker import serving
with serving(sys.argv[1], Path(sys.argv[2])) as service:
    service.conduct.containers = False
    print(service.url, flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "seen":
            print(json.dumps(service.requests), flush=True)
        elif command == "reset":
            service.reset()
            service.conduct.containers = False
            print("done", flush=True)
        elif command.startswith("publish"):
            service.conduct.publish = True
            print("done", flush=True)
        elif command == "finish":
            with service.surroundings.gathered_events():
                for job in service.jobs.all():
                    job.finish()
            print("done", flush=True)
"""


class SageMaker:
    """The service in its process; it is spoken to on its standard input."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def ask(self, command: str) -> str:
        """Send a command and return the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def servers() -> Iterator[SageMaker]:
    """Run both servers, and point boto3 of this process and its children at them."""
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as directory, moto() as aws:
        configuration = Path(directory) / "sagemaker.yaml"
        configuration.write_text(_SDK_CONFIGURATION)
        os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(configuration)
        os.environ["AWS_ENDPOINT_URL"] = aws
        _bucket()
        command = [measure.DOUBLES, "-c", _SERVICE, aws, str(Path(directory) / "jobs"), str(_ROOT)]
        with _process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            service = SageMaker(process, process.stdout.readline().strip())
            os.environ["AWS_ENDPOINT_URL_SAGEMAKER"] = service.url
            yield service


@contextmanager
def moto() -> Iterator[str]:
    """Run moto, and give its address."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [measure.DOUBLES, "-c", _MOTO, str(port)]
    with _process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + _START
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"moto does not answer at {url}: {process.poll()}")
            time.sleep(0.1)
        yield url


@contextmanager
def _process(command: list[str], **how: Any) -> Iterator[Any]:
    process = subprocess.Popen(command, **how)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _bucket() -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket=BUCKET)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=2):
            return True
    except OSError:
        return False


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
