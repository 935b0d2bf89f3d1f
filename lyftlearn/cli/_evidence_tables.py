"""What `migration status` says of evidence: each model's rung, what is missing, and the checklist of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn._migration.evidence_rows import EVIDENCE_HEADS, WORKFLOW_HEADS, evidence_row, is_used, workflow_row
from lyftlearn._text.display import printable
from lyftlearn.cli import _output, _tables

if TYPE_CHECKING:
    from lyftlearn._migration.results import MigrationStatus


def show(found: MigrationStatus) -> None:
    """Show both tables."""
    rows = [tuple(map(printable, evidence_row(of, of.evidence))) for of in found.models if of.evidence]
    if rows:
        _output.say("")
        left_out_first = ("repository", "since", "evidence", "verdict")
        _tables.show(_tables.Table(heads=EVIDENCE_HEADS, rows=rows, dispensable=left_out_first))
    _show_workflows(found)
    if found.problem:
        _output.say(f"rungs are those of the newest jobs, since the flags cannot be read: {printable(found.problem)}")


def _show_workflows(found: MigrationStatus) -> None:
    if used := [workflow_row(of) for of in found.workflows if is_used(of)]:
        _output.say("")
        _tables.show(
            _tables.Table(heads=WORKFLOW_HEADS, rows=used, dispensable=("newest", "parity run", "shadows alike"))
        )
    if unused := [of.name for of in found.workflows if not is_used(of)]:
        _output.say(f"\nnot used: {', '.join(unused)}")
