"""What other flags would change, and putting them in the place of those that jobs read."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._jobs.arguments import point_in_time
from lyftlearn._text.display import reason_of
from lyftlearn._text.small_file import read_small_text
from lyftlearn.config import migrations
from lyftlearn.errors import InvalidJob
from lyftlearn.ops import flag_file
from lyftlearn.ops.history import open_history
from lyftlearn.rollout import Rollout, flag_providers
from lyftlearn.rollout.kill_switch import KillSwitch
from lyftlearn.rollout.what_if import WhatIfFlags
from lyftlearn.types import Duration

if TYPE_CHECKING:
    from lyftlearn._migration import what_if
    from lyftlearn._migration.flag_writer import FlagFile
    from lyftlearn._migration.results import Switch
    from lyftlearn._session import Session
    from lyftlearn.config import Config

_HOW_TO_REPLACE = "look at it, and write --replace-broken to put the other flags in its place all the same"
_SECONDS_TO_ASK = 5.0  # nobody's submission waits for this
_ANY_MODEL: dict[str, Any] = {"model": "any", "repository": None, "labels": {}}


def migration_switch(
    flags: str | Path,
    *,
    dry_run: bool = False,
    why: str | None = None,
    replace_broken: bool = False,
    since: Duration | datetime | None = "30d",
    client: Client | None = None,
) -> Switch:
    """Return which jobs would have gone elsewhere by the flags in a file, and put them in place of those that count.

    dry_run: change nothing. why: the reason, needed without `dry_run`; the audit log keeps it with who, when and what
    was known. replace_broken: also if the file that jobs read is broken, and nobody can say what is lost with it.
    Raises InvalidJob, with every fault of the file and of the arguments, before anything is written, and
    BackendUnavailable if the history cannot be read.
    """
    from lyftlearn._migration import flag_writer  # noqa: PLC0415 - only for migrations

    session = (client or Client())._session  # noqa: SLF001 - the client's other half
    path, start = Path(flags).expanduser(), point_in_time("since", since)
    text, faults = _read(path, session.config.migration_flag)
    target = _target(session.config)
    faults = [*_setting_faults(session.config), *faults]
    file, problem = flag_writer.read_anything(target) if target else (None, None)
    if not dry_run:
        faults += _faults_of_writing(path, target, why, session.config)
        faults += [] if problem is None or replace_broken else [(str(target), f"{problem}: {_HOW_TO_REPLACE}")]
    if faults:
        raise InvalidJob(faults)
    found = _compare(path, target, start, session, problem)
    others = _notes_of_others(file, text, session.config.migration_flag) if file else []
    found = replace(found, problem=problem, notes=(*found.notes, *others))
    return found if dry_run or file is None else _write(found, file, text, str(why), session)


def _setting_faults(config: Config) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = [] if config.migration_to is not None else [migrations.missing(config.tables)]
    if config.flag_source and _target(config) is None:
        try:
            flag_providers.provider_from_url(config.flag_source, 1.0)
        except ValueError as exc:
            faults.append(("LYFTLEARN_FLAGS", str(exc)))  # a file's own setting was refused when it was read
    return faults


def _read(path: Path, flag: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the text of a flag file, and all that is wrong with it."""
    try:
        if path.is_fifo():
            return "", [(str(path), "cannot be read twice, as it is a pipe: write the flags into a file of their own")]
        text = read_small_text(path)
        document = json.loads(text)
    except OSError as exc:
        return "", [(str(path), f"cannot be read: {reason_of(exc)}")]
    except (ValueError, RecursionError) as exc:
        return "", [(str(path), f"is no JSON: {reason_of(exc)}")]
    faults = [(f"{path}: flag {flag!r}", fault) for fault in flag_file.faults_of(document, flag)]
    return text, faults or _evaluation_faults(path, flag)


def _evaluation_faults(path: Path, flag: str) -> list[tuple[str, str]]:
    """Return why the flag cannot be evaluated: what a library says of an operator that it does not know."""
    try:
        asked = WhatIfFlags(flag_providers.provider_from_url(str(path.absolute()), 1.0), flag)
    except Exception as exc:  # noqa: BLE001 - of a broken installation
        return [(str(path), f"cannot be evaluated: {exc}")]
    asked.ask(_ANY_MODEL)
    return [(f"{path}: flag {flag!r}", f"cannot be evaluated: {trouble}") for trouble in asked.troubles]


def _target(config: Config) -> Path | None:
    """Return the file that jobs read, None where a service answers or nothing is configured."""
    return flag_providers.file_named(config.flag_source) if config.flag_source else None


def _faults_of_writing(path: Path, target: Path | None, why: str | None, config: Config) -> list[tuple[str, str]]:
    faults = [] if why and why.strip() else [("why", "is missing: say why the flags change, for the audit log")]
    if target is None:
        named = "names a service, which keeps its flags itself" if config.flag_source else "is not set"
        faults.append(("[migration] flags", f"{named}: only a file can be replaced; --dry-run works all the same"))
    elif os.path.realpath(path) == os.path.realpath(target):
        faults.append(("flags", f"{path} is the file that jobs read: write the other flags into a file of their own"))
    return faults


def _compare(path: Path, target: Path | None, start: datetime | None, session: Session, problem: str | None) -> Switch:
    from lyftlearn._migration import reconcile, results, what_if  # noqa: PLC0415 - brings SQLAlchemy

    config = session.config
    sources = _sources(path, config)
    rollouts = tuple(Rollout(config, session.registry.names, flags) for flags in sources)
    with open_history(session) as history:
        reconcile.reconcile(history, session.registry, config)
        jobs, models = what_if.changes(history, config, start, (rollouts[0], rollouts[1]), _targeting(path, target))
    if sources[1].troubles:
        raise InvalidJob([(str(path), f"cannot be evaluated: {trouble}") for trouble in sources[1].troubles])
    return results.Switch(
        flags=str(path),
        target=None if target is None else str(target),
        since=start,
        jobs=jobs,
        moved=sum(of.jobs for of in models if of.backend_before != of.backend_after),
        models=models,
        notes=(*_notes(config), *(f"the flags until now: {one}" for one in _troubles(sources[0], target, problem))),
        written=False,
    )


def _sources(path: Path, config: Config) -> tuple[WhatIfFlags, WhatIfFlags]:
    """Return the flags that count now, and those of the file."""
    budget = max(config.migration_budget, _SECONDS_TO_ASK)
    file, now = _target(config), None
    if config.flag_source:
        url = config.flag_source
        now = flag_providers.FileAtMoments(file) if file else flag_providers.provider_from_url(url, budget)
    other = flag_providers.FileAtMoments(path.absolute())
    return WhatIfFlags(now, config.migration_flag), WhatIfFlags(other, config.migration_flag)


def _targeting(path: Path, target: Path | None) -> what_if.Targeting:
    """Return what targeting rules look at; of a service, nobody knows."""
    from lyftlearn._migration.what_if import ATTRIBUTES, Targeting  # noqa: PLC0415 - brings SQLAlchemy

    texts = [
        file.read_text(encoding="utf-8-sig", errors="replace") for file in (path, target) if file and file.is_file()
    ]
    named = [name for name in ATTRIBUTES if target is None or any(name in text for text in texts)]
    return Targeting(named, is_drawn=any(flag_providers.TIMESTAMP in text for text in texts))


def _troubles(now: WhatIfFlags, target: Path | None, problem: str | None) -> list[str]:
    """Return what is wrong with the flags that count: in the words of whoever reads the file, else of who asks them."""
    return list(now.troubles) if problem is None else [f"{target} {problem}, so jobs go by what it last said"]


def _notes(config: Config) -> list[str]:
    if config.kill_switch is None:
        return []
    pulled, seen = KillSwitch(config, _SECONDS_TO_ASK).look()
    return [f"[migration] kill_switch: {seen}, so no flag counts until it is gone"] if pulled else []


def _notes_of_others(file: FlagFile, text: str, flag: str) -> list[str]:
    """Return what becomes of flags that are none of this migration's, such as another's: the whole file is replaced."""
    before, after = file.document["flags"], json.loads(text)["flags"]
    gone = sorted(before.keys() - after.keys() - {flag})
    others = sorted(name for name in before.keys() & after.keys() - {flag} if before[name] != after[name])
    named = {"is not there any more": gone, "is another": others}
    return [f"the file's flag {name!r} {what}" for what, names in named.items() for name in names]


def _write(found: Switch, file: FlagFile, text: str, why: str, session: Session) -> Switch:
    """Put the other flags in place, with a note of it in the audit log that is there even if this process dies.

    Raises InvalidJob, and writes nothing, if the file has changed since it was compared with.
    """
    from lyftlearn._migration import audit, flag_writer  # noqa: PLC0415 - brings SQLAlchemy

    with open_history(session) as history:
        change = audit.FlagChange(
            at=datetime.now(UTC), who=audit.this_user(), why=why, flags=str(found.target), evidence=_evidence(found)
        )
        numbers = audit.note(history, [change])
        written = flag_writer.replace_text(file, json.loads(text), text)
        audit.settle(history, numbers, audit.ChangeState.DONE if written else audit.ChangeState.DROPPED)
    if written is None:
        raise InvalidJob([(str(found.target), "has changed meanwhile, so nothing was written: look at it, and repeat")])
    return replace(found, written=True)


def _evidence(found: Switch) -> dict[str, Any]:
    """Return what was known of the jobs that the flags move, for whoever asks later why they did."""
    models = [
        {
            "repository": of.repository,
            "model": of.model,
            "jobs": of.jobs,
            "stage_before": str(of.stage_before),
            "stage_after": str(of.stage_after),
            "against": [f"{one.path}: {one.problem}" for one in of.against],
            "unproven": of.unproven,
            "verdict": of.verdict,
        }
        for of in found.models
    ]
    return {
        "jobs": found.jobs,
        "moved": found.moved,
        "replaced": found.problem,
        "since": found.since and found.since.isoformat(),
        "models": models,
    }
