"""What is around a training job: S3, CloudWatch Logs and EventBridge, all of them moto's."""

from __future__ import annotations

import io
import json
import random
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from . import Conduct

GROUP = "/aws/sagemaker/TrainingJobs"
_NO_OBJECTS = (
    'No S3 objects found under S3 URL "{}" given in input data source. Please ensure that the bucket exists in the '
    "selected region, that objects exist under that S3 prefix"
)
_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime", "StartTime", "EndTime")
_MOST_LINES, _MOST_BYTES = 1000, 900_000


# As a failed training job's FailureReason was published in 2022, after "ClientError: ", in
# https://www.sobyte.net/post/2022-05/speed-up-amazon-sagemaker-training-using-efs-or-fsx-lustre/
_NO_DIRECTORY = (
    "Unable to mount file system: {FileSystemId}, directory path: {DirectoryPath}. "
    "No such file or directory: {DirectoryPath}."
)


class MissingInput(Exception):
    """A channel with nothing in it."""


class NotMounted(Exception):
    """A channel whose file system cannot be mounted."""


@dataclass(frozen=True)
class FileSystem:
    """What an account has. mount_name: begins every path of FSx for Lustre, and none of EFS."""

    kind: str
    directory: Path
    mount_name: str = ""


class Surroundings:
    """The services that a job meets. sagemaker: the address of the service that runs it."""

    def __init__(self, aws: str, conduct: Conduct) -> None:
        self.aws = aws
        self.sagemaker = ""
        self._conduct = conduct
        self._lock = threading.Lock()
        self._held: list[dict[str, Any]] = []
        self._gathering = False

    @cached_property
    def s3(self) -> Any:
        """S3."""
        return self._client("s3")

    @cached_property
    def logs(self) -> Any:
        """CloudWatch Logs, with the group that an account's first job makes."""
        client = self._client("logs")
        try:
            client.create_log_group(logGroupName=GROUP)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise
        return client

    @cached_property
    def events(self) -> Any:
        """EventBridge."""
        return self._client("events")

    def _client(self, service: str) -> Any:
        session: Any = boto3
        return session.client(
            service,
            endpoint_url=self.aws,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(max_pool_connections=32),
        )

    def download(self, uri: str, place: Path) -> None:
        """Fill a channel: everything whose key starts with the prefix, named from its last slash on."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        directory = prefix[: prefix.rfind("/") + 1]
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", []) if not found["Key"].endswith("/")]
        if not keys:
            raise MissingInput(_NO_OBJECTS.format(uri))
        for key in keys:
            path = place / key.removeprefix(directory)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(bucket, key, str(path))

    def mounted(self, source: dict[str, Any]) -> Path:
        """The directory of a file system that a channel names."""
        system = self._conduct.file_systems.get(source["FileSystemId"])
        top, _, below = source["DirectoryPath"].lstrip("/").partition("/")
        if (
            system is None
            or system.kind != source["FileSystemType"]
            or (system.mount_name and system.mount_name != top)
        ):
            raise NotMounted(_NO_DIRECTORY.format(**source))
        path: Path = system.directory / (below if system.mount_name else source["DirectoryPath"].lstrip("/"))
        if not path.is_dir():
            raise NotMounted(_NO_DIRECTORY.format(**source))
        return path

    def upload(self, request: dict[str, Any], home: Path, *, model: bool) -> None:
        """Pack the first node's model and outputs, as SageMaker does at a job's end; where there is nothing, nothing.

        Whether an empty directory is something, no source says: here it is not.
        """
        bucket, _, prefix = request["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").partition("/")
        ml = home / "algo-1"
        archives = {"output": ml / "output" / "data"} | ({"model": ml / "model"} if model else {})
        for name, directory in archives.items():
            if all(path.is_dir() and not path.is_symlink() for path in directory.rglob("*")):
                continue
            key = f"{prefix}/{request['TrainingJobName']}/output/{name}.tar.gz"
            self.s3.put_object(Bucket=bucket, Key=key.lstrip("/"), Body=_packed(directory))

    def save_checkpoints(self, request: dict[str, Any], ml: Path) -> None:
        """Copy the checkpoints to S3, where the job has a place for them."""
        for path in (ml / "checkpoints").rglob("*"):
            if path.is_file():
                self._save_checkpoint(request, ml, path)

    @contextmanager
    def copied_checkpoints(self, request: dict[str, Any], ml: Path, every: float) -> Iterator[None]:
        """Copy new checkpoints while the job runs, as SageMaker does where the job has a place for them."""
        ended, copied = threading.Event(), dict[Path, tuple[int, int]]()

        def copy() -> None:
            while not ended.wait(every):
                for path in (ml / "checkpoints").rglob("*"):
                    with suppress(OSError):  # it has gone meanwhile
                        state = path.stat()
                        if path.is_file() and copied.get(path) != (state.st_mtime_ns, state.st_size):
                            copied[path] = (state.st_mtime_ns, state.st_size)
                            self._save_checkpoint(request, ml, path)

        thread = threading.Thread(target=copy, daemon=True, name="checkpoints")
        if _checkpoint_places(request):
            thread.start()
        yield
        ended.set()
        if thread.ident:
            thread.join()

    def _save_checkpoint(self, request: dict[str, Any], ml: Path, path: Path) -> None:
        for bucket, prefix in _checkpoint_places(request):
            self.s3.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(ml / 'checkpoints')}")

    def restore_checkpoints(self, request: dict[str, Any], ml: Path) -> None:
        """Bring back what an earlier start of the job kept."""
        for bucket, prefix in _checkpoint_places(request):
            for found in self.s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", []):
                path = ml / "checkpoints" / found["Key"].removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                self.s3.download_file(bucket, found["Key"], str(path))

    def log(self, stream: str) -> LogStream:
        """Return a stream that appears with its first line."""
        return LogStream(self.logs, stream, self._conduct.log_delay)

    def publish(self, job: dict[str, Any]) -> None:
        """Send a state change to EventBridge, as reliably as the test wants."""
        if not self._conduct.publish:
            return
        entry = {
            "Source": "aws.sagemaker",
            "DetailType": "SageMaker Training Job State Change",
            "Detail": json.dumps(_in_milliseconds(job)),
        }
        with self._lock:
            self._held += [entry] * (2 if self._conduct.doubled_events else 1)
            ends = job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")
            if not self._gathering and (ends or not self._conduct.shuffled_events):
                self._send_held()

    @contextmanager
    def gathered_events(self) -> Iterator[None]:
        """Send what is published meanwhile together, at the end: ten to a request."""
        self._gathering = True
        yield
        with self._lock:
            self._gathering = False
            self._send_held()

    def _send_held(self) -> None:
        sent, self._held = self._held, []
        if self._conduct.shuffled_events:
            random.shuffle(sent)
        sent = [one for one in sent if random.random() >= self._conduct.lost_events]
        for start in range(0, len(sent), 10):
            self.events.put_events(Entries=sent[start : start + 10])


class LogStream:
    """One node's stream: lines in, batches out."""

    def __init__(self, client: Any, name: str, delay: float) -> None:
        self._client = client
        self._name = name
        self._delay = delay
        self._lines: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._made = False
        self._thread = threading.Thread(target=self._send, daemon=True, name=f"log {name}")
        self._thread.start()

    def put(self, text: str) -> None:
        """Add a line, with the time of now."""
        self._lines.put({"timestamp": int(time.time() * 1000), "message": text})

    def close(self) -> None:
        """Send the rest; without a delay, before this returns."""
        self._lines.put(None)
        if not self._delay:
            self._thread.join()

    def _send(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._batch()
            time.sleep(self._delay)
            for part in _parts(batch):
                self._put(part)

    def _batch(self) -> tuple[list[dict[str, Any]], bool]:
        """Wait for a line, and take what is there."""
        found = [self._lines.get()]
        time.sleep(0.05)
        while found[-1] is not None:
            try:
                found.append(self._lines.get_nowait())
            except Empty:
                break
        return [line for line in found if line is not None], found[-1] is not None

    def _put(self, lines: list[dict[str, Any]]) -> None:
        if not self._made:
            self._client.create_log_stream(logGroupName=GROUP, logStreamName=self._name)
            self._made = True
        self._client.put_log_events(logGroupName=GROUP, logStreamName=self._name, logEvents=lines)


def _parts(lines: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    parts: list[list[dict[str, Any]]] = []
    size = 0
    for line in lines:
        weight = len(line["message"].encode()) + 26
        if not parts or len(parts[-1]) == _MOST_LINES or size + weight > _MOST_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += weight
    return parts


def _packed(directory: Path) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, path.name)
    return archive.getvalue()


def _checkpoint_places(request: dict[str, Any]) -> list[tuple[str, str]]:
    uri = request.get("CheckpointConfig", {}).get("S3Uri")
    return [uri.removeprefix("s3://").rstrip("/").partition("/")[::2]] if uri else []


def _in_milliseconds(value: Any) -> Any:
    """Return a description as EventBridge tells it: times are texts of milliseconds."""
    if isinstance(value, dict):
        return {key: str(int(item * 1000)) if key in _TIMES else _in_milliseconds(item) for key, item in value.items()}
    return [_in_milliseconds(item) for item in value] if isinstance(value, list) else value
