"""What the driver prints: a line for each trial, and one at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lyftlearn._studies.space import drawn_values
from lyftlearn._text.display import printable
from lyftlearn._text.redaction import redact

if TYPE_CHECKING:
    from lyftlearn._studies.study import Study
    from lyftlearn._studies.trial_record import TrialRecord

_MOST_SHOWN = 300  # letters of hyperparameters, which may be of any size


def trial_line(study: Study, record: TrialRecord, best: TrialRecord | None) -> str:
    """Return how a trial ended, and what is the best with it. best: before it ended."""
    tried = f"trial {record.number} ({record.job_id}) with {_summary(study, record)}"
    if record.objective is None:
        return f"{tried} {'failed' if record.message else 'ended'}: {printable(redact(record.message))}"
    if best is None or best.objective is None or study.better(record.objective, best.objective):
        return f"{tried}: {study.objective_name}={record.objective!r}, the best so far"
    return (
        f"{tried}: {study.objective_name}={record.objective!r}; best so far {best.objective!r} of trial {best.number}"
    )


def best_line(study: Study, best: TrialRecord | None, records: Sequence[TrialRecord]) -> str:
    """Return the result of a search."""
    if best is None:
        why = next((record.message for record in reversed(records) if record.message), "")
        return f"none of {len(records)} trials succeeded; the last: {printable(redact(why))}"
    return (
        f"the best of {len(records)} trials is trial {best.number} ({best.job_id}): "
        f"{study.objective_name}={best.objective!r} with {_summary(study, best)}"
    )


def _summary(study: Study, record: TrialRecord) -> str:
    text = json.dumps(drawn_values(study.space, record.draw), sort_keys=True)
    return printable(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")
