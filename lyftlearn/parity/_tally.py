"""A comparison in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from lyftlearn.parity._model import SEVERITY, Parity, Verdict

BAD = (Verdict.BROKEN, Verdict.UNKNOWN)


def by_backend(parity: Parity) -> Mapping[str, Counter[Verdict]]:
    """Return how many facts of each backend have which verdict."""
    return {name: Counter(row.cells[name].verdict for row in parity.rows) for name in parity.backends}


def by_fact(parity: Parity) -> Counter[Verdict]:
    """Return how many facts have which verdict as their worst."""
    return Counter(row.worst for row in parity.rows)


def reasons(parity: Parity, verdict: Verdict = Verdict.ALLOWED) -> Counter[str]:
    """Return why facts have a verdict, and how many for each reason."""
    rows = ({cell.reason for cell in row.cells.values() if cell.verdict is verdict} for row in parity.rows)
    return Counter(reason for found in rows for reason in found)


def silent_backends(parity: Parity) -> tuple[str, ...]:
    """Return the backends of which nothing was observed at all."""
    names = parity.backends if parity.rows else ()
    return tuple(name for name in names if all(row.cells[name].value is None for row in parity.rows))


def conclusion(parity: Parity) -> str:
    """Return what came of it in a few words. A command that failed everywhere alike shows nothing of its work."""
    if parity.holds:
        return "parity holds"
    return "nothing differs, but the command did not succeed" if parity.agrees else "parity does not hold"


def failures(parity: Parity) -> str:
    """Return how the user's command ended where it did not succeed, in a sentence; nothing if it did."""
    if not parity.failures:
        return ""
    ends: dict[str, list[str]] = {}
    for name, end in parity.failures.items():
        ends.setdefault(end, []).append(name)
    endings = "; ".join(f"{end} on {', '.join(names)}" for end, names in ends.items())
    return f"the command {endings}: what it does after that was not compared"


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun: `1 fact`, `1,204 facts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_words(counts: Mapping[Verdict, int]) -> str:
    """Return counts, the gravest first, without what there is none of."""
    return ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in reversed(SEVERITY) if counts.get(verdict))


def sentence(parity: Parity) -> str:
    """Return the whole in a sentence: `1,204 facts, 5 backends: 3 broken, 1 unknown, 41 allowed for 6 reasons`."""
    counts, why = by_fact(parity), len(reasons(parity))
    words = in_words(counts).replace(" allowed", f" allowed for {count_text(why, 'reason')}")
    size = f"{count_text(len(parity.rows), 'fact')}, {count_text(len(parity.backends), 'backend')}"
    return f"{size}: {words or 'nothing was compared'}"
