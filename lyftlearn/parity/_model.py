"""What is observed of a backend, and what a comparison says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lyftlearn.types import JSON


class Verdict(StrEnum):
    """What a comparison says of one fact on one backend."""

    EQUAL = "equal"
    NOISE = "noise"  # differs between two runs on the reference itself
    ALLOWED = "allowed"  # differs, for a documented reason
    BROKEN = "broken"  # differs, against the contract
    UNKNOWN = "unknown"  # differs, and nobody has classed it
    NOT_OBSERVED = "not observed"  # nobody looked: the job that would have told did not run


SEVERITY = (
    Verdict.EQUAL,
    Verdict.NOISE,
    Verdict.ALLOWED,
    Verdict.NOT_OBSERVED,
    Verdict.UNKNOWN,
    Verdict.BROKEN,
)
"""The verdicts, the gravest last."""
HOLDING = frozenset((Verdict.EQUAL, Verdict.NOISE, Verdict.ALLOWED))
"""The verdicts with which parity holds."""
_STATUS, _REASON, _EXIT_CODE = "command status", "command reason", "command exit_code"
_SUCCEEDED = '"succeeded"'


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Everything that was observed in one run on one backend.

    facts: path to value. A path is words, the first its subject: `environment HOME`, `exit 137 reason`. What changes
    with every run, such as a job's id, is masked.
    """

    backend: str
    facts: Mapping[str, JSON]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fact on one backend. value: JSON text, None where the fact was not there. reason: of the rule that judged."""

    verdict: Verdict
    value: str | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fact on every backend. reference: its value there, as JSON text; None where it was not there."""

    path: str
    reference: str | None
    cells: Mapping[str, Cell]

    @property
    def subject(self) -> str:
        """What the fact is about: the first word of its path."""
        return self.path.partition(" ")[0]

    @property
    def worst(self) -> Verdict:
        """The gravest of its verdicts."""
        return max((cell.verdict for cell in self.cells.values()), key=SEVERITY.index, default=Verdict.EQUAL)


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A whole comparison. reference: the backend that the others are held against. command: the user's own, if any.

    unmatched: the patterns of rules that name no fact, which is how a list of rules rots.
    """

    reference: str
    backends: tuple[str, ...]
    rows: tuple[Row, ...]
    command: str | None
    version: str
    started_at: datetime
    seconds: float
    unmatched: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything was observed, nothing is broken or unknown, and the user's command did its work."""
        return self.agrees and not self.failures

    @property
    def agrees(self) -> bool:
        """Whether everything was observed, and nothing is broken or unknown."""
        return all(row.worst in HOLDING for row in self.rows)

    @property
    def failures(self) -> Mapping[str, str]:
        """How the user's own command ended where it did not succeed, by backend: a failure hides what comes after."""
        ends = {row.path: self._values(row) for row in self.rows if row.path in (_STATUS, _REASON, _EXIT_CODE)}
        return {
            name: _end_text(status, *(ends.get(path, {}).get(name) for path in (_REASON, _EXIT_CODE)))
            for name, status in ends.get(_STATUS, {}).items()
            if status not in (None, _SUCCEEDED)
        }

    def _values(self, row: Row) -> Mapping[str, str | None]:
        return {self.reference: row.reference, **{name: cell.value for name, cell in row.cells.items()}}


def _end_text(status: str | None, reason: str | None, exit_code: str | None) -> str:
    """Return an end in words: `failed (error, exit code 3)`."""
    known = [(reason or "null").strip('"'), f"exit code {exit_code}"]
    details = ", ".join(text for text in known if "null" not in text and "None" not in text)
    word = str(status).strip('"')
    return f"{word} ({details})" if details else word
