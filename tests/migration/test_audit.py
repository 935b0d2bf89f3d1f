"""The audit log of flags."""

from __future__ import annotations

from datetime import UTC, datetime

from lyftlearn._migration import audit
from lyftlearn._migration.audit import ChangeState, FlagChange
from lyftlearn.history.store import History

NOW = datetime.now(UTC)


def test_a_change_is_noted_and_settled(journal: History) -> None:
    """Whoever asks sees who did what and why, the newest first, and what did not come to its end."""
    one = FlagChange(at=NOW, who="ada", why="a trial", flags="flags.json", evidence={"jobs": 3})
    other = FlagChange(at=NOW, who="ada", why="more", flags="flags.json", model="eta", rung_after="shadow")
    first, second = audit.note(journal, [one, other])
    audit.settle(journal, [second], ChangeState.DONE)
    audit.settle(journal, [], ChangeState.DROPPED)
    found = audit.changes(journal)
    assert [(change.number, change.why, change.state) for change in found] == [
        (second, "more", ChangeState.DONE),
        (first, "a trial", ChangeState.PLANNED),
    ]
    assert (found[1].evidence, found[1].at) == ({"jobs": 3}, NOW)
    assert [change.number for change in audit.changes(journal, states=[ChangeState.PLANNED])] == [first]
    assert "@" in audit.this_user()
