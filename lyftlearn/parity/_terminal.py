"""A comparison as text: a line for each backend, then what is broken or unknown, then why the rest may differ."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lyftlearn._jobs import views
from lyftlearn._text.display import printable
from lyftlearn.parity import _tally
from lyftlearn.parity._model import HOLDING, SEVERITY, Parity, Row, Verdict
from lyftlearn.parity._values import excerpt

_ABSENT = "(absent)"
_PIPED = 120
_NARROWEST = 40
_MOST = 25
_STYLES = {
    Verdict.BROKEN: "bold red",
    Verdict.UNKNOWN: "bold yellow",
    Verdict.NOT_OBSERVED: "bold yellow",
    Verdict.ALLOWED: "cyan",
    Verdict.EQUAL: "green",
}
_GOOD, _FAINT, _PLAIN = "bold green", "dim", ""


@dataclass(frozen=True)
class Line:
    """Texts of one line with their styles, in the words of rich."""

    parts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts).rstrip()


def show(parity: Parity) -> None:
    """Print it: in colour on a terminal that has some, as it is anywhere else."""
    if sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _draw(parity)
    else:
        for line in lines(parity, _PIPED):
            print(line)


def _draw(parity: Parity) -> None:
    from rich.console import Console  # noqa: PLC0415 - loaded only to draw
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    for line in lines(parity, console.width):
        console.print(Text.assemble(*line.parts), soft_wrap=True)


def lines(parity: Parity, width: int) -> Iterator[Line]:
    """Yield what is printed. Values are cut so that they fit `width` columns; sentences are not."""
    width = max(width, _NARROWEST)
    yield from _backends(parity)
    for verdict in _tally.BAD:
        yield from _differences(parity, verdict, width)
    yield from _reasons(parity, Verdict.NOT_OBSERVED)
    yield from _reasons(parity, Verdict.ALLOWED)
    yield from _unused_patterns(parity)
    yield from _end(parity)


def _line(*parts: tuple[str, str]) -> Line:
    return Line(tuple((printable(text), style) for text, style in parts))


def _backends(parity: Parity) -> Iterator[Line]:
    yield _line((f"held against {parity.reference}, in {views.time_text(parity.seconds)}:", _PLAIN))
    names = max(map(len, parity.backends), default=0)
    for name, counts in _tally.by_backend(parity).items():
        mark = _mark(max((verdict for verdict in counts), key=SEVERITY.index, default=Verdict.EQUAL))
        said = "nothing was observed" if name in _tally.silent_backends(parity) else _tally.in_words(counts)
        yield _line(("  ", _PLAIN), mark, (f"{name:{names}}  {said}", _PLAIN))


def _mark(worst: Verdict) -> tuple[str, str]:
    if worst in HOLDING:
        return "ok      ", _GOOD
    return ("differs " if worst in _tally.BAD else "unseen  "), _STYLES[worst]


def _differences(parity: Parity, verdict: Verdict, width: int) -> Iterator[Line]:
    telling = set(parity.backends) - set(_tally.silent_backends(parity))
    found = [(row, kept) for row in parity.rows if (kept := _backends_by_value(row, verdict, telling))]
    if found:
        yield _line()
        yield _line((f"{verdict} ({len(found):,})", _STYLES[verdict]))
    for row, values in found[:_MOST]:
        yield from _difference(row, values, parity.reference, width)
    if len(found) > _MOST:
        yield _line((f"  and {len(found) - _MOST:,} more, which the page and the JSON have", _FAINT))


def _backends_by_value(row: Row, verdict: Verdict, names: Iterable[str]) -> Mapping[tuple[str | None, str], list[str]]:
    """Return the backends on which a row has a verdict, by what they have and why."""
    found: dict[tuple[str | None, str], list[str]] = {}
    for name in sorted(names):
        cell = row.cells[name]
        if cell.verdict is verdict:
            found.setdefault((cell.value, cell.reason), []).append(name)
    return found


def _difference(
    row: Row, values: Mapping[tuple[str | None, str], list[str]], reference: str, width: int
) -> Iterator[Line]:
    yield _line((f"  {row.path}", "bold"))
    pairs = [(reference, row.reference, next(iter(values))[0])]
    pairs += [(", ".join(names), value, row.reference) for (value, _), names in values.items()]
    names = min(max(len(name) for name, _, _ in pairs), width // 3)
    for name, value, against in pairs:
        shown = _ABSENT if value is None else excerpt(value, against or "", width - names - 6)
        yield _line((f"    {excerpt(name, name, names):{names}}  ", _FAINT), (shown, _PLAIN))
    for reason in dict.fromkeys(reason for _, reason in values):
        yield _line((f"    {reason}", _FAINT))


def _reasons(parity: Parity, verdict: Verdict) -> Iterator[Line]:
    reasons = _tally.reasons(parity, verdict)
    if reasons:
        yield _line()
        yield _line((f"{verdict} ({_tally.by_fact(parity)[verdict]:,})", _STYLES[verdict]))
    for reason, count in reasons.most_common():
        yield _line((f"  {count:>5,}  ", _PLAIN), (reason, _FAINT))


def _unused_patterns(parity: Parity) -> Iterator[Line]:
    if parity.unmatched:
        count = _tally.count_text(len(parity.unmatched), "pattern")
        yield _line()
        yield _line((f"of the rules, {count} named no fact; the page and the JSON list them", _FAINT))


def _end(parity: Parity) -> Iterator[Line]:
    yield _line()
    worst = max((row.worst for row in parity.rows), key=SEVERITY.index, default=Verdict.EQUAL)
    failed = _tally.failures(parity)
    if failed:
        yield _line((failed, _STYLES[Verdict.UNKNOWN]))
    style = _GOOD if parity.holds else _STYLES[Verdict.UNKNOWN if parity.agrees else worst]
    yield _line((f"{_tally.conclusion(parity)}: ", style), (_tally.sentence(parity), _PLAIN))
