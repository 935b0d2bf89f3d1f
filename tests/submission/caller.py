"""A caller with a key, as a process of its own: takes the claim, sends the job where the claim says, reports back.

The backends are directories in which a job is a file that only one can create; a definite refusal is one that creates
nothing. Steps are counted, and the process dies before or after the one that it is told.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lyftlearn._storage import LARGEST_RECORD, Storage, Stored, open_storage
from lyftlearn._submission import claims
from lyftlearn._submission.claims import Claim, Scope, Standing

SCOPE: Scope = ("project", "train", "eta", "2026-11-22")


class Refused(Exception):
    """The backend definitely did not accept the job."""


@dataclass
class Steps:
    """Runs every step of a caller; `at` decides what happens before and after each."""

    at: Callable[[str], None]

    def run(self, step: Callable[[], Any]) -> Any:
        self.at("before")
        try:
            return step()
        finally:
            self.at("after")


class Watched(Storage):
    """A store of which every operation is a step."""

    def __init__(self, real: Storage, steps: Steps) -> None:
        self.real, self.steps, self.url = real, steps, real.url

    def create(self, key: str, data: bytes) -> bool:
        return bool(self.steps.run(lambda: self.real.create(key, data)))

    def read(self, key: str, largest: int = LARGEST_RECORD) -> Stored | None:
        stored: Stored | None = self.steps.run(lambda: self.real.read(key, largest))
        return stored

    def replace(self, key: str, data: bytes, version: str) -> bool:
        return bool(self.steps.run(lambda: self.real.replace(key, data, version)))

    def upload(self, key: str, path: Path, sha256: str) -> str:
        return str(self.steps.run(lambda: self.real.upload(key, path, sha256)))

    def uri(self, key: str) -> str:
        return self.real.uri(key)


@dataclass
class Backends:
    """Where jobs are: files `<root>/<backend>-<id>`. refuses: says whether to refuse a job that is not there yet."""

    root: Path
    refuses: Callable[[str], bool]
    steps: Steps

    def submit(self, claim: Claim) -> None:
        self.steps.run(lambda: self._create(claim))

    def _create(self, claim: Claim) -> None:
        path = self.root / f"{claim.backend}-{claim.id}"
        if path.exists():
            return
        if self.refuses(claim.backend):
            raise Refused(claim.backend)
        path.touch(exist_ok=True)


def call(storage: Storage, backends: Backends, wanted: str, other: str) -> Claim | None:
    """Get the job of SCOPE accepted, at first on `wanted`; the claim of the job, or None if nobody could accept it."""
    standing = claims.take(storage, SCOPE, _claim(wanted))
    if standing.is_settled(None):
        return standing.claim
    try:
        backends.submit(standing.claim)
    except Refused:
        return _fall_back(storage, backends, standing, other if standing.claim.backend == wanted else wanted)
    return claims.accept(storage, SCOPE, standing).claim


def _fall_back(storage: Storage, backends: Backends, standing: Standing, other: str) -> Claim | None:
    moved = claims.move(storage, SCOPE, standing, other, _claim(other).id)
    if moved is None:
        return None
    try:
        backends.submit(moved.claim)
    except Refused:
        claims.withdraw(storage, SCOPE, moved)
        return None
    return claims.accept(storage, SCOPE, moved).claim


def _claim(backend: str) -> Claim:
    return Claim("digest", f"eta-{backend}", backend)


def _dying(death: str) -> Callable[[str], None]:
    """death: `before 3`, `after 1`, or `never`."""
    when, _, step = death.partition(" ")
    passed = 0

    def at(moment: str) -> None:
        nonlocal passed
        passed += moment == "before"
        if moment == when and passed == int(step):
            os._exit(9)

    return at


def main(url: str, jobs: str, wanted: str, refusing: str, death: str) -> None:
    """Be one caller. refusing: a backend that always refuses, `sometimes`, or `nobody`."""
    steps = Steps(_dying(death))
    chance = random.Random()

    def refuses(backend: str) -> bool:
        return backend == refusing or (refusing == "sometimes" and chance.random() < 0.5)

    storage = Watched(open_storage(url), steps)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    got = call(storage, Backends(Path(jobs), refuses, steps), wanted, "y" if wanted == "x" else "x")
    sys.stdout.write(json.dumps(got.id if got else None) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
