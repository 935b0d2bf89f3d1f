"""Tables that fit the terminal: a column that finds no room is left out, and no line wraps."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lyftlearn._jobs.views import STATUS_STYLES, align

if TYPE_CHECKING:
    from rich.text import Text

_GAP = 2
_LEAST = 16  # columns that free text gets at least; with less it says nothing, and is left out


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts under their heads.

    dispensable: heads in the order in which they are left out where there is no room. free: the head whose texts may be
    cut at the end, because they are sentences.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    dispensable: Sequence[str] = ()
    free: str | None = None
    styles: Mapping[str, str] = field(default_factory=lambda: STATUS_STYLES)


def show(table: Table) -> None:
    """Print a table: within the width of a terminal, and whole anywhere else, where programs read it."""
    if not sys.stdout.isatty():
        print("\n".join(align([table.heads, *table.rows])))
        return
    from rich.console import Console  # noqa: PLC0415 - loaded only to draw

    console = Console()
    for line in table_lines(table, console.width):
        console.print(line, soft_wrap=True)


def table_lines(table: Table, width: int) -> list[Text]:
    """Return the lines of a table within `width`, the head first, with the colours of states."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - loaded only to draw
    from rich.text import Text  # noqa: PLC0415

    columns = list(zip(table.heads, *table.rows, strict=True))
    widths = {column[0]: max(map(cell_len, column)) for column in columns}
    kept = fitting(table, widths, width)
    lines: list[Text] = []
    for number, row in enumerate([table.heads, *table.rows]):
        texts: dict[str, str] = dict(zip(table.heads, row, strict=True))
        line = Text()
        for head, room in kept.items():
            word = texts[head] if cell_len(texts[head]) <= room else set_cell_size(texts[head], room - 1) + "…"
            style = table.styles.get(word, "") if head == "status" else ""
            line.append(word, "bold" if number == 0 else style)
            line.append(" " * (room - cell_len(word) + _GAP))
        line.rstrip()
        lines.append(line)
    return lines


def fitting(table: Table, widths: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the heads that fit, with the room that each gets."""
    kept = dict(widths)
    for head in table.dispensable:
        if _least_width(kept, table.free) <= width:
            break
        kept.pop(head, None)
    if table.free in kept:
        others = sum(room + _GAP for head, room in kept.items() if head != table.free)
        kept[table.free] = max(1, min(kept[table.free], width - others))
    return kept


def _least_width(kept: Mapping[str, int], free: str | None) -> int:
    rooms = [min(room, _LEAST) if head == free else room for head, room in kept.items()]
    return sum(rooms) + _GAP * max(0, len(rooms) - 1)
