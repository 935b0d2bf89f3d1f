"""The corpora that are kept, and how a test puts one back where its version had left it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from tests.golden.formats import fill, places

HERE = Path(__file__).parent
_RESERVE_BYTES = 16384


class Corpus:
    """What one version stored."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = directory.name

    def document(self, *names: str) -> Any:
        """Return a JSON document."""
        return json.loads(self.directory.joinpath(*names).read_text(encoding="utf-8"))

    def local_jobs(self, backend: str, home: Path) -> dict[str, Any]:
        """Return what the version said of its local jobs, with the paths of this machine."""
        text = (self.directory / "local" / backend / "jobs.json").read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(fill(text, places(home)))
        return document

    def place_local(self, backend: str, part: str, home: Path) -> None:
        """Put jobs of a local backend, and the storage of all, under `home`. part: `finished`, `queued` or `lost`."""
        source = self.directory / "local" / backend / part
        root = home / backend
        for name in ("jobs", "queue", "slots", "tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
        _copy(self.directory / "local" / "storage", home / "storage", home)
        _copy(source, root if part == "queued" else root / "jobs", home)
        for job in (root / "jobs").iterdir():
            self._complete(job)

    def _complete(self, job: Path) -> None:
        """Give a job what the corpus keeps once for all."""
        (job / "logs").mkdir(exist_ok=True)
        (job / "lock").touch()
        (job / "reserve").write_bytes(bytes(_RESERVE_BYTES))
        shutil.copyfile(self.directory / "local" / "runtime.pyz", job / "runtime.pyz")
        created_at = json.loads((job / "job.json").read_text())["created_at"]
        os.utime(job / "job.json", (created_at, created_at))

    def place_bucket(self, bucket: str, environment: Mapping[str, str]) -> None:
        """Put every object of the platform's bucket into `bucket`."""
        store = boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
        for path in sorted((self.directory / "bucket").rglob("*")):
            if path.is_file():
                store.upload_file(str(path), bucket, str(path.relative_to(self.directory / "bucket")))

    @cached_property
    def wheel(self) -> Path:
        """The version itself."""
        (path,) = self.directory.glob("lyftlearn-*.whl")
        return path


CORPORA = [Corpus(path.parent) for path in sorted(HERE.glob("*/version.json"))]


def _copy(source: Path, target: Path, home: Path) -> None:
    known = places(home)
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes()
            try:
                copy.write_text(fill(data.decode(), known))
            except UnicodeDecodeError:
                copy.write_bytes(data)
            copy.chmod(0o600)
