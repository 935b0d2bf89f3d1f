"""What is shown of models and workflows, in the words of tables: the command line's and the page's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lyftlearn._migration.workflows import NOT_USED

if TYPE_CHECKING:
    from lyftlearn._migration.results import EvidenceOfKind, ModelEvidence, ModelProgress, Workflow

EVIDENCE_HEADS = ("repository", "model", "rung", "since", "next", "evidence", "verdict", "missing")
WORKFLOW_HEADS = (
    *("workflow", "shown", "jobs", "would run there", "shadows alike", "succeeded there", "newest"),
    "parity run",
)


def evidence_row(of: ModelProgress, shown: ModelEvidence) -> tuple[str, ...]:
    """Return a model's rung, what is shown of it, and what is missing before the next one."""
    because = f" on {', '.join(shown.because)}" if shown.because else ""
    return (
        of.repository or "",
        of.model or "",
        shown.rung,
        f"{shown.since:%Y-%m-%d}" if shown.since else "-",
        shown.next_rung or "-",
        "; ".join(_counts(shown)) or "nothing",
        f"{shown.verdict}{because}",
        "; ".join(shown.missing) or "nothing",
    )


def _counts(shown: ModelEvidence) -> Iterator[str]:
    """Yield how many of each kind there are. A verdict has a column of its own, and is there only if it is stale."""
    for of in shown.kinds:
        if of.kind == "verdict":
            yield from [f"the verdict is stale: {_why(of)}"] if of.stale else []
        elif of.fresh or of.stale:
            stale = f" ({of.stale} stale: {_why(of)})" if of.stale else ""
            yield f"{of.fresh} {of.kind}{'' if of.fresh == 1 else 's'}{stale}"


def _why(of: EvidenceOfKind) -> str:
    return ", ".join(of.stale_because)


def workflow_row(of: Workflow) -> tuple[str, ...]:
    """Return what is shown of a kind of workflow."""
    words = {True: "alike", False: "differs", None: "-"}
    ended = of.succeeded + of.failed
    return (
        of.name,
        of.shown,
        str(of.jobs),
        f"{of.would_have_run} of {of.rehearsed}" if of.rehearsed else "-",
        f"{of.alike} of {of.compared}" if of.compared else "-",
        f"{of.succeeded} of {ended}" if ended else "-",
        f"{of.newest:%Y-%m-%d}" if of.newest else "-",
        words[of.parity] + (f", {of.parity_at:%Y-%m-%d}" if of.parity_at else ""),
    )


def is_used(of: Workflow) -> bool:
    """Return whether anything is known of a kind of workflow."""
    return of.shown != NOT_USED
