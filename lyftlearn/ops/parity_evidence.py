"""A comparison of backends as evidence: in the history, with what its jobs were made with."""

from __future__ import annotations

import inspect
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lyftlearn.errors import LyftLearnError
from lyftlearn.ops.history import open_history
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._client import Client
    from lyftlearn.parity._model import Parity
    from lyftlearn.parity._observe import ComparisonConfig

_log = logging.getLogger("lyftlearn")


@dataclass(frozen=True)
class MadeWith:
    """What the jobs of a comparison are made with, as a submission notes it: an image's name, and a digest of code."""

    image: str | None
    source: str | None


def made_with(client: Client, order: ComparisonConfig) -> MadeWith | None:
    """Return that, as it is now: code may change while jobs run. None for a comparison that will be refused."""
    command = ["true"] if order.command is None else order.command
    session = client._session  # noqa: SLF001 - the client's other half
    try:
        call = inspect.signature(client.train).bind("parity", command=command, **order.job)
        call.apply_defaults()
        content = session.builder.read(session.check(JobKind.TRAIN, call.arguments))
    except (LyftLearnError, TypeError):
        return None
    return MadeWith(content.arguments.image, content.source.content if content.source else None)


def keep(measured: Parity, client: Client, order: ComparisonConfig, of: MadeWith | None) -> None:
    """Write a comparison into the history, if one is kept. What breaks there is logged: the measure is there anyway."""
    session = client._session  # noqa: SLF001 - the client's other half
    if of is None or not session.config.records_history:
        return
    try:
        _note(measured, client, order, of)
    except Exception as exc:  # noqa: BLE001 - a database that is away costs nobody a comparison of an hour
        _log.warning("the comparison is not in the history, and counts as no evidence: %s", exc)


def _note(measured: Parity, client: Client, order: ComparisonConfig, of: MadeWith) -> None:
    from lyftlearn._migration import parity_runs  # noqa: PLC0415 - brings SQLAlchemy

    run = parity_runs.ParityRun(
        at=measured.started_at,
        backends=[measured.reference, *(name for name in measured.backends if name != measured.reference)],
        holds=measured.holds,
        subjects=_subjects(measured, order),
        partial=not order.is_whole,
        image=of.image,
        source=of.source,
        version=measured.version,
    )
    with open_history(client._session) as history:  # noqa: SLF001 - as above
        parity_runs.note(history, run)


def _subjects(measured: Parity, order: ComparisonConfig) -> Mapping[str, bool]:
    """Return each subject that was looked at, with whether everything about it holds; none of which a part was."""
    from lyftlearn.parity._model import HOLDING  # noqa: PLC0415 - only for those who compare

    found: dict[str, bool] = defaultdict(lambda: True)
    for row in (row for row in measured.rows if row.subject in order.paths):
        found[row.subject] &= row.worst in HOLDING
    return dict(found)
