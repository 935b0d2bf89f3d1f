"""Claims: what makes an idempotency key exact, whatever the flag says and whoever dies where.

A claim is one record per scope, `(project, function, name, key)`, in the platform's storage. It says which job holds
the key: its id, its backend, and the digest of its arguments. It also lists the *tries*: the callers who may have sent
that job to that backend and have not reported back.

::

              take                      accept
    (none) ----------> intended, {a} ----------------> accepted      final
                        |   ^   |  ^
          take by b     |   |   |  | move by the only try left: another backend, another id
          -> {a, b} ----+   |   +--+
                            |
                withdraw: one try less; a claim with none left is free, and the next `take` may replace it

Every arrow is one conditional write, so every caller sees the same order. The rules that make one job of many calls:

- `take` comes before anything is sent. Whoever finds a claim sends *that* job to *that* backend, not its own; sending
  twice under one id is harmless, because a backend's `submit` settles repetition by id and digest.
- A caller that was definitely refused may `move` the claim only if it is the one try left. Another try may have been
  accepted there a moment ago, or may be about to be; then the claim stays, and the refusal goes to the user.
- A caller that dies, or gets no answer, leaves its try behind. That claim never moves again: later callers repeat the
  same job on the same backend, until it is accepted.
- An accepted claim never changes. Its callers get a handle and send nothing, also when the job has long been deleted.
- An *intended* claim that nobody could settle may be older than the backend keeps finished jobs. Its job may have run
  and be gone, so it counts as accepted: `Standing.settled`. A handle that finds no job is better than a second run.

Other arguments under the same key are the caller's `Conflict`: compare `claim.digest`. No try is added for them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from lyftlearn._storage import Storage, Stored
from lyftlearn.errors import BackendUnavailable, LyftLearnError

Scope: TypeAlias = tuple[str, str, str, str]
"""Project, function (`train`, ...), name, key."""

_FORMAT = 1
_RACES = 1000  # lost in a row; each means that another caller got on


@dataclass(frozen=True)
class Claim:
    """Which job holds a key."""

    digest: str
    id: str
    backend: str
    state: Literal["intended", "accepted"] = "intended"


@dataclass(frozen=True)
class Standing:
    """The claim that stands, and the caller's part in it.

    mine: this caller made the claim, so nobody sent its job before. attempt: names this caller's try; None where it
    must send nothing. age: since the claim was first made for this backend, by the clock of the store.
    """

    claim: Claim
    mine: bool
    attempt: str | None
    age: timedelta

    def settled(self, retention: timedelta | None) -> bool:
        """Whether the job was accepted, or must be taken to have been: then nothing is sent any more.

        retention: how long the backend keeps a finished job; None means for ever. Half of it is left to the caller for
        sending what it decided to send.
        """
        return self.claim.state == "accepted" or (retention is not None and self.age * 2 >= retention and not self.mine)


@dataclass(frozen=True)
class _Record:
    """A claim as it is stored. since: when it was made for this backend; None until it is read back."""

    claim: Claim
    tries: tuple[str, ...]
    since: datetime | None


def claim_key(scope: Scope) -> str:
    """Return the key of a claim: the project, readable, and a hash of the whole scope."""
    readable = re.sub(r"[^a-z0-9]+", "-", scope[0].lower()).strip("-")[:40] or "project"
    return f"claims/{readable}/{sha256(scope_text(scope).encode()).hexdigest()}.json"


def scope_text(scope: Scope) -> str:
    """Return the untruncated text of a scope; no two scopes share one."""
    return json.dumps(scope)


def take(storage: Storage, scope: Scope, claim: Claim) -> Standing:
    """Return the claim that stands: `claim`, if the key was free, else the first one's with a try of this caller added.

    No try is added to an accepted claim, nor to one with another digest. After BackendUnavailable a try may be left.
    """
    attempt = os.urandom(8).hex()
    first = _Record(claim, (attempt,), None)
    key = claim_key(scope)
    for _ in range(_RACES):
        if storage.create(key, _encode(first)):
            return Standing(claim, mine=True, attempt=attempt, age=timedelta())
        changed = _change(storage, scope, lambda record: _joined(record, first))
        if changed is not None:
            found, age = changed
            joined = attempt in found.tries
            return Standing(found.claim, joined and found.tries == (attempt,), attempt if joined else None, age)
    raise _too_busy(key)


def accept(storage: Storage, scope: Scope, standing: Standing) -> Standing:
    """Record that the backend has accepted the job, and return the claim as it then stands. May be repeated.

    If this is never reached, the next caller sends the job again under the same id and finds it there.
    """
    return _after(storage, scope, standing, lambda record: _accepted(record, standing.claim))


def move(storage: Storage, scope: Scope, standing: Standing, backend: str, job_id: str) -> Standing | None:
    """Give the key to a job on another backend, after a definite refusal by the first.

    Return None if another caller's try is still open there, or the claim has changed: nobody can know, so nothing may
    be sent elsewhere. The caller's own try is withdrawn then, and `take` tells what stands now. Only for a caller whose
    every request was answered.
    """
    target = replace(standing.claim, backend=backend, id=job_id)
    moved = _after(storage, scope, standing, lambda record: _moved(record, standing, target))
    return replace(moved, mine=True) if moved.attempt and moved.claim == target else None


def withdraw(storage: Storage, scope: Scope, standing: Standing) -> Standing:
    """Record that this caller's try was definitely refused. With no try left, the key is free for the next caller.

    Only for a caller whose every request was answered.
    """
    return _after(storage, scope, standing, lambda record: _withdrawn(record, standing))


def _joined(record: _Record, newcomer: _Record) -> _Record:
    if record.claim.state == "accepted" or newcomer.tries[0] in record.tries:
        return record
    if not record.tries:
        return newcomer
    if record.claim.digest != newcomer.claim.digest:
        return record
    return replace(record, tries=record.tries + newcomer.tries)


def _accepted(record: _Record, claim: Claim) -> _Record:
    if (record.claim.id, record.claim.backend) != (claim.id, claim.backend):
        return record
    return replace(record, claim=replace(record.claim, state="accepted"), tries=())


def _moved(record: _Record, standing: Standing, target: Claim) -> _Record:
    if record.claim == standing.claim and record.tries == (standing.attempt,):
        return _Record(target, record.tries, None)
    return _withdrawn(record, standing)


def _withdrawn(record: _Record, standing: Standing) -> _Record:
    if record.claim != standing.claim:
        return record
    return replace(record, tries=tuple(one for one in record.tries if one != standing.attempt))


def _after(storage: Storage, scope: Scope, standing: Standing, step: Callable[[_Record], _Record]) -> Standing:
    changed = _change(storage, scope, step)
    if changed is None:
        message = f"the claim of {standing.claim.id} was deleted from {storage.uri(claim_key(scope))}"
        raise LyftLearnError(message)
    record, age = changed
    attempt = standing.attempt if standing.attempt in record.tries else None
    return Standing(record.claim, standing.mine, attempt, age)


def _change(storage: Storage, scope: Scope, step: Callable[[_Record], _Record]) -> tuple[_Record, timedelta] | None:
    """Apply `step` to the record that stands when it is written; None if there is none."""
    key = claim_key(scope)
    for _ in range(_RACES):
        stored = storage.read(key)
        if stored is None:
            return None
        record = _decode(stored)
        changed = step(record)
        if changed == record or storage.replace(key, _encode(changed), stored.version):
            since = changed.since or (stored.modified + stored.age)
            return changed, stored.modified + stored.age - since
    raise _too_busy(key)


def _too_busy(key: str) -> BackendUnavailable:
    return BackendUnavailable(f"{key} changed {_RACES} times while it was being read; try again with the same key")


def _encode(record: _Record) -> bytes:
    claim = record.claim
    since = record.since.isoformat() if record.since else None
    document = {
        "format": _FORMAT,
        "digest": claim.digest,
        "id": claim.id,
        "backend": claim.backend,
        "state": claim.state,
        "tries": record.tries,
        "since": since,
    }
    return json.dumps(document, indent=1).encode()


def _decode(stored: Stored) -> _Record:
    document: Mapping[str, Any] = json.loads(stored.data)
    if document["format"] != _FORMAT:
        message = f"a claim has format {document['format']}, which this version does not know: upgrade lyftlearn"
        raise LyftLearnError(message)
    claim = Claim(document["digest"], document["id"], document["backend"], document["state"])
    since = datetime.fromisoformat(document["since"]) if document["since"] else stored.modified
    return _Record(claim, tuple(document["tries"]), since.astimezone(UTC))
