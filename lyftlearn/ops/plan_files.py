"""Plans in files: what would be sent, for somebody to read; and later exactly that, or nothing.

A file holds the call, and the requests that a backend would get. To apply it, the call is planned again, by whoever
applies it. Whatever comes out different, because code, configuration, lyftlearn or the flag changed since, is refused.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._jobs.arguments import seconds
from lyftlearn._submission.submitter import AcceptedJob
from lyftlearn._text.display import quote
from lyftlearn._text.small_file import read_small_file
from lyftlearn._text.whole_file import write_whole_file
from lyftlearn._transfer.marks import PLAN
from lyftlearn.errors import InvalidJob
from lyftlearn.rollout import OF_CALLER, Decision
from lyftlearn.types import Duration, JobKind, Resources

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn._contract.fault import Fault
    from lyftlearn._jobs.job import Job
    from lyftlearn._session import Session
    from lyftlearn._submission.preparation import Submission

FORMAT = 1
KINDS = (JobKind.TRAIN, JobKind.PROCESS, JobKind.PREDICT)
_SHOWN = 5  # differences


def plan_document(
    submission: Submission, *, client: Client, expires: Duration = "24h", owners: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a plan is kept as. expires: for how long it may be applied. owners: who may, by default anybody.

    Raises InvalidJob for a plan with faults, and for what cannot be planned ahead: searches and notebooks.
    """
    faults: list[Fault] = [*submission.plan.faults]  # type: ignore[list-item]  # a fault is such a pair
    length = seconds("expires", expires, faults)
    if submission.spec.kind not in KINDS:
        faults.append(("kind", f"is {submission.spec.kind}: only {', '.join(KINDS)} can be planned ahead"))  # type: ignore[arg-type]  # as above
    if faults or length is None:
        raise InvalidJob(faults or [("expires", "is missing: write a duration such as 24h")])
    now = datetime.now(UTC)
    document = {
        "lyftlearn-plan": FORMAT,
        "lyftlearn": version("lyftlearn"),
        "made_at": now.isoformat(timespec="seconds"),
        "made_by": _who(client._config.owner),  # noqa: SLF001 - the client's other half
        "expires_at": (now + timedelta(seconds=length)).isoformat(timespec="seconds"),
        "owners": list(owners),
        "project": client._config.project,  # noqa: SLF001 - as above
        "function": str(submission.spec.kind),
        "arguments": _call_arguments(submission.content.arguments),
        "id": submission.spec.id,
        "digest": submission.spec.digest,
        "backend": submission.plan.backend,
        "decision": json.loads(submission.spec.decision),
        "notes": list(submission.plan.notes),
        "requests": _requests(submission),
    }
    return {**document, "seal": _seal(document)}


def apply_plan(path: str | os.PathLike[str], *, client: Client | None = None) -> Job:
    """Send exactly what a file says, and return the job; or raise InvalidJob, which says why not, and send nothing.

    A plan that is applied again is the same job. Raises what a submission raises, and OSError for a file that cannot
    be read. It does not fall back.
    """
    applier = client or Client()
    session = applier._session  # noqa: SLF001 - the client's other half
    document = _read(Path(path))
    _check_right(document, session)
    submission = _plan_again(document, session)
    differences = [*_differences(document, submission)]
    if differences:
        raise InvalidJob([("plan", f"is not what would be sent now{_by_version(document)}: {_text(differences)}")])
    decision, content = submission.decision, submission.content
    if content.scope is not None:
        accepted = session.submitter.submit_content(content, decision)
    else:
        record = session.submitter.send(submission)
        accepted = AcceptedJob(record, content, decision, notes=submission.plan.notes)
    return applier._handle_accepted(accepted)  # noqa: SLF001 - as above


def _who(owner: str) -> str:
    name = owner
    with suppress(KeyError, OSError):
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}" + (f" for {owner}" if owner != name else "")


def _call_arguments(arguments: Arguments) -> dict[str, Any]:
    """Return the call of which these are the checked arguments, without what was left open, as JSON has it."""
    written = {
        ("name" if arguments.kind is JobKind.PROCESS else "model"): arguments.name,
        "command": list(arguments.command),
        "image": arguments.image,
        "source": str(arguments.source) if arguments.source else None,
        "hyperparameters": json.loads(arguments.hyperparameters) or None,
        "inputs": {name: location.uri for name, location in arguments.inputs.items()} or None,
        "outputs": None if arguments.kind is JobKind.TRAIN else dict(arguments.outputs),
        "artifact": arguments.artifact.uri if arguments.artifact else None,
        "env": dict(arguments.env) or None,
        "secrets": list(arguments.secrets) or None,
        "resources": {name: value for name, value in asdict(arguments.resources).items() if value is not None},
        "nodes": arguments.nodes,
        "timeout": f"{arguments.timeout.total_seconds():f}s" if arguments.timeout else None,
        "retries": arguments.retries,
        "labels": dict(arguments.labels) or None,
        "key": arguments.key,
    }
    return {name: value for name, value in written.items() if value is not None}


def _resources(written: Mapping[str, Any]) -> Resources:
    """Return resources that were written in bytes."""
    sizes = {name: str(written[name]) for name in ("memory", "disk", "shared_memory") if name in written}
    return Resources(**{**written, **sizes})


def _requests(submission: Submission) -> list[dict[str, Any]]:
    requests = [{"operation": request.operation, "body": request.body} for request in submission.plan.requests]
    plain: list[dict[str, Any]] = json.loads(json.dumps(requests, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _seal(document: Mapping[str, Any]) -> str:
    """Return a digest of a document, its `seal` apart: it tells that a file was edited, not who edited it."""
    told = {name: value for name, value in document.items() if name != "seal"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """Return a document of a known format that nobody has edited. Raises InvalidJob."""
    content = _read_bytes(path)
    try:
        document = json.loads(content.decode("utf-8-sig"))
        known, whole = document["lyftlearn-plan"], document["seal"] == _seal(document)
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise InvalidJob([("plan", f"{path} is none: name a file of `lyftlearn plan ... --out`")]) from exc
    if known != FORMAT:
        raise InvalidJob([("plan", f"{path} has format {quote(known)}, which this version does not know: plan again")])
    if not whole:
        raise InvalidJob([("plan", f"{path} was edited since it was made: plan again, with what was meant")])
    checked: dict[str, Any] = document
    return checked


def _read_bytes(path: Path) -> bytes:
    try:
        return read_small_file(path)
    except OSError as exc:
        problem = f"{path} cannot be read ({exc.strerror}): name a file of `lyftlearn plan ... --out`"
        raise InvalidJob([("plan", problem)]) from exc


def _check_right(document: Mapping[str, Any], session: Session) -> None:
    """Raise InvalidJob, with every fault, for a plan that may not be applied now, here, or by this owner."""
    faults: list[tuple[str, str]] = []
    made = f"it was made by {document['made_by']} at {document['made_at']}"
    if datetime.fromisoformat(document["expires_at"]) < datetime.now(UTC):
        faults.append(("plan", f"expired at {document['expires_at']}; {made}: plan again"))
    owner, owners = session.config.owner, document["owners"]
    if owners and owner not in owners:
        faults.append(("plan", f"is for {', '.join(owners)}, and the owner here is {owner}; {made}"))
    if document["project"] != session.config.project:
        faults.append(("plan", f"is for project {document['project']!r}, and here is {session.config.project!r}"))
    if document["backend"] not in session.registry.names():
        faults.append(("plan", f"is for backend {document['backend']!r}, which is not installed here"))
    if faults:
        raise InvalidJob(faults)


def _plan_again(document: Mapping[str, Any], session: Session) -> Submission:
    """Return the call of a document, planned now. Raises InvalidJob if it would go elsewhere now."""
    given = dict(document["arguments"])
    given["resources"] = _resources(given["resources"])
    arguments = session.check(JobKind(document["function"]), given)
    decision = Decision.from_json(json.dumps(document["decision"]))
    if decision is None:
        raise InvalidJob([("plan", "has a decision that cannot be read: plan again")])
    if decision.source != OF_CALLER:
        now = session.decide(arguments)
        if now.backend != decision.backend:
            problem = f"is for {decision.backend}, and the job would go to {now.backend} now ({now.reason}): plan again"
            raise InvalidJob([("plan", problem)])
    return session.builder.build_valid(session.builder.read(arguments), decision, document["id"])


def _differences(document: Mapping[str, Any], submission: Submission) -> Iterator[str]:
    if document["digest"] != submission.spec.digest:
        yield "the code, or a local input, has changed since"
    yield from _paths("requests", document["requests"], _requests(submission))


def _paths(path: str, before: Any, now: Any) -> Iterator[str]:
    """Yield where two documents differ."""
    if type(before) is type(now) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            yield from _paths(f"{path}.{name}", before.get(name), now.get(name))
    elif type(before) is type(now) and isinstance(now, list) and len(before) == len(now):
        for at, pair in enumerate(zip(before, now, strict=True)):
            yield from _paths(f"{path}[{at}]", *pair)
    elif before != now:
        yield path


def _text(differences: Sequence[str]) -> str:
    more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return f"{', '.join(differences[:_SHOWN])}{more}. Plan again, and have it looked at again"


def _by_version(document: Mapping[str, Any]) -> str:
    here = version("lyftlearn")
    return "" if document["lyftlearn"] == here else f" (made by lyftlearn {document['lyftlearn']}, and this is {here})"


def write_plan(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Write a plan, whole or not at all, for this user alone: it holds the variables of the job."""
    target = Path(path)
    if target.suffix != PLAN:
        raise InvalidJob([("out", f"is {quote(str(path))}: write a name that ends in {PLAN}")])
    text = json.dumps(document, indent=2) + "\n"  # begins as `marks.PLAN_BEGINNING` says
    write_whole_file(target, text, mode=0o600)
