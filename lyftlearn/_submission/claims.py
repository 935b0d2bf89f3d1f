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
- A caller that dies, or gets no answer, leaves its try behind. The claim stays where it is: later callers repeat the
  same job on the same backend, until it is accepted. A try that is older than any create can last is *stale*: where the
  job is not there, its caller is dead, and a refused caller may leave it out of account (`dead`).
- An accepted claim never changes. Its callers get a handle and send nothing, also when the job has long been deleted.
- An *intended* claim that nobody could settle may be older than the backend keeps finished jobs. Its job may have run
  and be gone, so it counts as accepted: `Standing.is_settled`. A handle that finds no job is better than a second run.

Other arguments under the same key are the caller's `Conflict`: compare `claim.digest`. No try is added for them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from lyftlearn._storage import Storage, Stored
from lyftlearn.errors import BackendUnavailable, LyftLearnError

Scope: TypeAlias = tuple[str, str, str, str]
"""Project, function (`train`, ...), name, key."""
Tries: TypeAlias = frozenset[str]
"""Names of tries."""

_FORMAT = 1
_RACES = 1000  # lost in a row; each means that another caller got on
LONGEST_CREATE = timedelta(minutes=15)  # from a try's claim to the last moment at which its create is sent
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Claim:
    """Which job holds a key. source: the SHA-256 of its packed source; None where it has none, or nobody knows."""

    digest: str
    id: str
    backend: str
    state: Literal["intended", "accepted"] = "intended"
    source: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Standing:
    """The claim that stands, and the caller's part in it.

    mine: this caller made the claim, so nobody sent its job before. attempt: names this caller's try; None where it
    must send nothing. age: since the claim was first made for this backend, by the clock of the store. others: the open
    tries of other callers. stale: those of them that are older than any create can last.
    """

    claim: Claim
    mine: bool
    attempt: str | None
    age: timedelta
    others: Tries = frozenset()
    stale: Tries = frozenset()

    def is_settled(self, retention: timedelta | None) -> bool:
        """Whether the job was accepted, or must be taken to have been: then nothing is sent any more.

        retention: how long the backend keeps a finished job; None means for ever. Half of it is left to the caller for
        sending what it decided to send.
        """
        return self.claim.state == "accepted" or (retention is not None and self.age * 2 >= retention and not self.mine)


@dataclass(frozen=True)
class _Record:
    """A claim as it is stored. since: when it was made for this backend; None until it is read back.

    opened: when each try was made, as far as it has been read back since; a try without a moment is new.
    """

    claim: Claim
    tries: tuple[str, ...]
    since: datetime | None
    opened: Mapping[str, datetime] = field(default_factory=dict)

    def standing(self, attempt: str | None, now: datetime | None, *, mine: bool) -> Standing:
        """Return what this record means to the caller of `attempt`. now: by the clock of the store."""
        others = frozenset(self.tries) - {attempt}
        since = now and (self.since or now)
        stale = [one for one in others if now is not None and now - self.opened.get(one, now) > LONGEST_CREATE]
        age = now - since if now and since else timedelta()
        open_try = attempt if attempt in self.tries else None
        return Standing(self.claim, mine, open_try, age, others, frozenset(stale))


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
            return first.standing(attempt, None, mine=True)
        changed = _change(storage, scope, lambda record, _: _join(record, first))
        if changed is not None:
            record, now = changed
            return record.standing(attempt, now, mine=record.tries == (attempt,))
    raise _too_busy(key)


def accept(storage: Storage, scope: Scope, standing: Standing) -> Standing:
    """Record that the backend has accepted the job, and return the claim as it then stands. May be repeated.

    If this is never reached, the next caller sends the job again under the same id and finds it there.
    """
    return _after(storage, scope, standing, lambda record, _: _accept(record, standing.claim))


def renew(storage: Storage, scope: Scope, standing: Standing) -> Standing:
    """Make this caller's try young again, for one that has prepared for long; `attempt` is None if it was closed."""
    return _after(storage, scope, standing, lambda record, now: _renew(record, standing, now))


def move(
    storage: Storage, scope: Scope, standing: Standing, backend: str, job_id: str, *, dead: Tries = frozenset()
) -> Standing | None:
    """Give the key to a job on another backend, after a definite refusal by the first.

    Return None if another caller's try is still open there, or the claim has changed: nobody can know, so nothing may
    be sent elsewhere. The caller's own try is withdrawn then, and `take` tells what stands now. Only for a caller whose
    every request was answered. dead: stale tries of a job that is not there.
    """
    target = replace(standing.claim, backend=backend, id=job_id)
    moved = _after(storage, scope, standing, lambda record, _: _move(_without_tries(record, dead), standing, target))
    return replace(moved, mine=True) if moved.attempt and moved.claim == target else None


def withdraw(storage: Storage, scope: Scope, standing: Standing, *, dead: Tries = frozenset()) -> Standing:
    """Record that this caller's try was definitely refused. With no try left, the key is free for the next caller.

    Only for a caller whose every request was answered. dead: stale tries of a job that is not there.
    """
    return _after(storage, scope, standing, lambda record, _: _withdraw(_without_tries(record, dead), standing))


def _join(record: _Record, newcomer: _Record) -> _Record:
    if record.claim.state == "accepted" or newcomer.tries[0] in record.tries:
        return record
    if not record.tries:
        return newcomer
    if record.claim.digest != newcomer.claim.digest:
        return record
    return replace(record, tries=record.tries + newcomer.tries)


def _accept(record: _Record, claim: Claim) -> _Record:
    if (record.claim.id, record.claim.backend) != (claim.id, claim.backend):
        return record
    return replace(record, claim=replace(record.claim, state="accepted"), tries=())


def _move(record: _Record, standing: Standing, target: Claim) -> _Record:
    if record.claim == standing.claim and record.tries == (standing.attempt,):
        return _Record(target, record.tries, None)
    return _withdraw(record, standing)


def _withdraw(record: _Record, standing: Standing) -> _Record:
    if record.claim != standing.claim:
        return record
    return replace(record, tries=tuple(one for one in record.tries if one != standing.attempt))


def _without_tries(record: _Record, dead: Tries) -> _Record:
    return replace(record, tries=tuple(one for one in record.tries if one not in dead))


def _renew(record: _Record, standing: Standing, now: datetime) -> _Record:
    if record.claim != standing.claim or standing.attempt not in record.tries:
        return record
    return replace(record, opened={**record.opened, str(standing.attempt): now})


def _after(
    storage: Storage, scope: Scope, standing: Standing, step: Callable[[_Record, datetime], _Record]
) -> Standing:
    changed = _change(storage, scope, step)
    if changed is None:
        message = f"the claim of {standing.claim.id} was deleted from {storage.uri(claim_key(scope))}"
        raise LyftLearnError(message)
    record, now = changed
    return record.standing(standing.attempt, now, mine=standing.mine)


def _change(
    storage: Storage, scope: Scope, step: Callable[[_Record, datetime], _Record]
) -> tuple[_Record, datetime] | None:
    """Apply `step` to the record that stands when it is written, and return it with the time; None if there is none."""
    key = claim_key(scope)
    for _ in range(_RACES):
        stored = storage.read(key)
        if stored is None:
            return None
        now = stored.modified + stored.age
        record = _decode(stored, storage.uri(key))
        changed = step(record, now)
        if changed == record or storage.replace(key, _encode(changed), stored.version):
            return changed, now
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
        "source": claim.source,
        "tries": record.tries,
        "opened": {one: record.opened[one].isoformat() for one in record.tries if one in record.opened},
        "since": since,
    }
    return json.dumps(document, indent=1).encode()


def _decode(stored: Stored, uri: str) -> _Record:
    """Read a record. Others can write to the storage, so what stands there is checked before anything follows."""
    try:
        document = json.loads(stored.data)
        if document["format"] != _FORMAT:
            raise _of_another_version(uri, document["format"])
        return _record(document, stored.modified)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as exc:
        raise damage(uri, _shorten(exc)) from exc


def damage(uri: str, why: str) -> LyftLearnError:
    """Return the error for a claim that no caller can have written."""
    remedy = "delete the claim if no job of this key runs or has run; else restore it"
    return LyftLearnError(f"the claim at {uri} is damaged ({why}): {remedy}")


def _record(document: Mapping[str, Any], modified: datetime) -> _Record:
    source = document.get("source")
    claim = Claim(document["digest"], document["id"], document["backend"], document["state"], source)
    _require(isinstance(claim.digest, str), "digest")
    _require(isinstance(claim.id, str) and _ID.fullmatch(claim.id) is not None, "id")
    _require(isinstance(claim.backend, str) and _NAME.fullmatch(claim.backend) is not None, "backend")
    _require(claim.state in ("intended", "accepted"), "state")
    _require(source is None or (isinstance(source, str) and _SHA256.fullmatch(source) is not None), "source")
    tries = document["tries"]
    _require(isinstance(tries, list) and all(isinstance(one, str) for one in tries), "tries")
    opened = {one: min(_moment(document.get("opened", {}).get(one)) or modified, modified) for one in tries}
    return _Record(claim, tuple(tries), _moment(document["since"]) or modified, opened)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} cannot be")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _of_another_version(uri: str, version: Any) -> LyftLearnError:
    return LyftLearnError(
        f"the claim at {uri} has format {str(version)[:20]}, which this version does not know: upgrade lyftlearn"
    )


def _shorten(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]
