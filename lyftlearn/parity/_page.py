"""A comparison as one page of HTML: a matrix of facts and backends, in which every cell opens to both values.

It needs no script, no network and no other file. What is said by colour is said by a sign and a word as well, and
every text has a contrast of at least 4.5 to what is behind it, on light and on dark pages (WCAG 2.2, 1.4.1 and 1.4.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files

from lyftlearn._jobs import views
from lyftlearn._text.display import printable
from lyftlearn.parity import _tally
from lyftlearn.parity._model import HOLDING, SEVERITY, Cell, Parity, Row, Verdict
from lyftlearn.parity._values import difference, excerpt

_SIGNS = {
    Verdict.EQUAL: "✓",
    Verdict.NOISE: "≈",
    Verdict.ALLOWED: "◇",
    Verdict.NOT_OBSERVED: "∅",
    Verdict.UNKNOWN: "?",
    Verdict.BROKEN: "✗",
}
_MEANINGS = {
    Verdict.BROKEN: "differs, against the contract",
    Verdict.UNKNOWN: "differs, and nobody has classed it yet",
    Verdict.NOT_OBSERVED: "nobody looked, because a job did not run: see the subject jobs",
    Verdict.ALLOWED: "differs, for a documented reason",
    Verdict.NOISE: "differs between two runs on {reference}, too",
    Verdict.EQUAL: "the same",
}
_FOLDS = {
    "against the contract, or not classed": _tally.BAD,
    "that were not observed": (Verdict.NOT_OBSERVED,),
    "that may differ": (Verdict.ALLOWED, Verdict.NOISE),
    "the same everywhere": (Verdict.EQUAL,),
}
_CUT = 70
_PATH_CUT = 160


def page(parity: Parity) -> str:
    """Return the page."""
    title = f"Environmental parity with {parity.reference}"
    style = files("lyftlearn.parity").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join((_top(parity, title), _cards(parity), _key(parity), _matrix(parity), _reasons(parity), _rot(parity)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )


def _text(text: str) -> str:
    return views.escape(printable(text))


def _top(parity: Parity, title: str) -> str:
    kind = Verdict.EQUAL if parity.holds else max(_worst(parity.rows), Verdict.UNKNOWN, key=SEVERITY.index)
    conclusion, failed = _tally.conclusion(parity), _tally.failures(parity)
    command = f"<p>The command was <code>{_text(parity.command)}</code></p>" if parity.command is not None else ""
    when = parity.started_at.strftime("%Y-%m-%d %H:%M %Z")
    banner = f"<strong>{_SIGNS[kind]} {conclusion.capitalize()}</strong>{_text(_tally.sentence(parity))}"
    failure = f"<p>{_text(failed[0].upper())}{_text(failed[1:])}.</p>" if failed else ""
    return (
        f'<h1>{_text(title)}</h1><div class="banner {_css(kind)}">{banner}{failure}</div>'
        f"<p>The same jobs ran on every backend. What their programs saw is held, fact by fact, against what "
        f"they see on <b>{_text(parity.reference)}</b>.</p>{command}"
        f'<p class="faint">{_text(when)}, {views.time_text(parity.seconds)}, lyftlearn {_text(parity.version)}</p>'
    )


def _css(verdict: Verdict) -> str:
    return verdict.replace(" ", "-")


def _worst(rows: Iterable[Row]) -> Verdict:
    return max((row.worst for row in rows), key=SEVERITY.index, default=Verdict.EQUAL)


def _cards(parity: Parity) -> str:
    silent = _tally.silent_backends(parity)
    good = "agrees" if parity.failures else "holds"
    cards = (_card(name, counts, name in silent, good) for name, counts in _tally.by_backend(parity).items())
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _card(name: str, counts: Counter[Verdict], silent: bool, good: str) -> str:
    worst = max(counts, key=SEVERITY.index, default=Verdict.EQUAL)
    word = "differs" if worst in _tally.BAD else "not observed" if silent else "partly observed"
    mark = _mark(Verdict.EQUAL, good) if worst in HOLDING else _mark(worst, word)
    said = "nothing was observed here" if silent else _tally.in_words(counts)
    parts = "".join(
        f'<span class="{_css(of)}" style="flex:{counts[of]}"></span>' for of in reversed(SEVERITY) if counts[of]
    )
    bar = f'<div class="bar" aria-hidden="true">{parts}</div>'
    return f'<li><span class="name">{_text(name)}</span>{mark}{bar}<span class="faint">{said}</span></li>'


def _mark(verdict: Verdict, word: str) -> str:
    return f'<span class="mark {_css(verdict)}">{_SIGNS[verdict]} {word}</span>'


def _key(parity: Parity) -> str:
    meanings = (
        f'<li>{_mark(of, of)} <span class="faint">{_text(meaning.format(reference=parity.reference))}</span></li>'
        for of, meaning in _MEANINGS.items()
    )
    return f'<ul class="key" aria-label="Signs">{"".join(meanings)}</ul>'


def _matrix(parity: Parity) -> str:
    subjects: dict[str, list[tuple[int, Row]]] = {}
    for number, row in enumerate(parity.rows):
        subjects.setdefault(row.subject, []).append((number, row))
    ordered = sorted(subjects.items(), key=lambda item: -SEVERITY.index(_worst(row for _, row in item[1])))
    columns = f"minmax(0, 2fr) minmax(0, 1.4fr) repeat({max(1, len(parity.backends))}, minmax(0, 1fr))"
    heads = "".join(f"<div>{_text(name)}</div>" for name in ("", f"{parity.reference} (reference)", *parity.backends))
    blocks = "".join(_subject(parity, name, rows) for name, rows in ordered)
    return (
        f'<h2>Every fact</h2><p class="faint">A subject opens to its facts, and each cell to both values.</p>'
        f'<div class="matrix" style="--columns:{columns}"><div class="grid head" aria-hidden="true">{heads}</div>'
        f"{blocks}</div>"
    )


def _subject(parity: Parity, name: str, rows: Sequence[tuple[int, Row]]) -> str:
    worst = _worst(row for _, row in rows)
    verdicts = "".join(_summary(of, [row.cells[of].verdict for _, row in rows]) for of in parity.backends)
    size = _tally.count_text(len(rows), "fact")
    opened = " open" if worst in _tally.BAD else ""
    return (
        f'<details class="subject"{opened} data-worst="{_css(worst)}"><summary class="grid">'
        f'<span class="name">{_text(name)}</span><span class="faint facts" data-of="">{size}</span>{verdicts}</summary>'
        f"{''.join(_parts(parity, name, rows))}</details>"
    )


def _summary(name: str, verdicts: Sequence[Verdict]) -> str:
    worst = max(verdicts, key=SEVERITY.index)
    count = verdicts.count(worst)
    word = "equal" if worst is Verdict.EQUAL else f"{count:,} {worst}"
    return f'<span class="{_css(worst)}" data-of="{_text(name)}">{_mark(worst, word)}</span>'


def _parts(parity: Parity, name: str, rows: Sequence[tuple[int, Row]]) -> Iterator[str]:
    """Yield the facts of one subject, the gravest open, what is better than those folded."""
    parts = {said: [one for one in rows if one[1].worst in verdicts] for said, verdicts in _FOLDS.items()}
    for place, (said, members) in enumerate((said, members) for said, members in parts.items() if members):
        ordered = sorted(members, key=lambda one: -SEVERITY.index(one[1].worst))
        table = _table(parity, name, ordered)
        summary = f"{_tally.count_text(len(members), 'fact')} {said}"
        yield f'<details class="more"><summary>{summary}</summary>{table}</details>' if place else table


def _table(parity: Parity, name: str, rows: Sequence[tuple[int, Row]]) -> str:
    if not rows:
        return ""
    heads = "".join(
        f'<th role="columnheader">{_text(one)}</th>' for one in ("fact", parity.reference, *parity.backends)
    )
    lines = "".join(_row(parity, number, row) for number, row in rows)
    return (
        f'<table role="table" aria-label="{_text(name)}"><thead class="hidden"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{lines}</tbody></table>'
    )


def _row(parity: Parity, number: int, row: Row) -> str:
    cards = _cards_of(parity, number, row)
    cells = "".join(_cell(name, row, cards) for name in parity.backends)
    path = _text(excerpt(row.path.partition(" ")[2] or row.path, "", _PATH_CUT))
    against = next((cell.value for cell in row.cells.values() if cell.verdict is row.worst), row.reference)
    return (
        f'<tr role="row" class="grid" data-worst="{_css(row.worst)}"><th role="rowheader"><code>{path}</code></th>'
        f'<td role="cell" data-of="{_text(parity.reference)}">{_short_value(row.reference, against)}</td>{cells}</tr>'
    )


def _short_value(value: str | None, against: str | None) -> str:
    if value is None:
        return '<span class="absent">absent</span>'
    return f"<code>{_text(excerpt(value, against or '', _CUT))}</code>"


class _Cards:
    """What the cells of one row open to. Cells that say the same share a card, which stands in the first of them."""

    def __init__(self, html: Mapping[Cell, str], ids: Mapping[Cell, str]) -> None:
        self._html = dict(html)
        self._ids = ids

    def id(self, cell: Cell) -> str:
        return self._ids[cell]

    def take(self, cell: Cell) -> str:
        return self._html.pop(cell, "")


def _cards_of(parity: Parity, number: int, row: Row) -> _Cards:
    sharing: dict[Cell, list[str]] = {}
    for name in parity.backends:
        sharing.setdefault(row.cells[name], []).append(name)
    ids = {cell: f"f{number}-{place}" for place, cell in enumerate(sharing)}
    return _Cards({cell: _card_of(parity, row, cell, names, ids[cell]) for cell, names in sharing.items()}, ids)


def _cell(name: str, row: Row, cards: _Cards) -> str:
    cell = row.cells[name]
    equal = cell.verdict is Verdict.EQUAL
    word = f'<span class="hidden">{cell.verdict}</span>' if equal else cell.verdict
    value = "" if equal else _short_value(cell.value, row.reference)
    return (
        f'<td role="cell" class="{_css(cell.verdict)}" data-of="{_text(name)}">'
        f'<button class="cell" type="button" popovertarget="{cards.id(cell)}">'
        f'<span class="what">{_SIGNS[cell.verdict]} {word}</span>{value}</button>{cards.take(cell)}</td>'
    )


def _card_of(parity: Parity, row: Row, cell: Cell, names: Sequence[str], card: str) -> str:
    theirs = "".join(_values(parity.reference, ", ".join(names), row.reference, cell.value))
    reason = f"<p>{_text(cell.reason)}</p>" if cell.reason else ""
    return (
        f'<div popover id="{card}" role="dialog" aria-label="{_text(row.path)}">'
        f'<button class="close" type="button" popovertarget="{card}" popovertargetaction="hide">close</button>'
        f"<h3><code>{_text(row.path)}</code></h3>{_mark(cell.verdict, cell.verdict)}{reason}"
        f'<div class="both">{theirs}</div></div>'
    )


def _values(reference: str, others: str, expected: str | None, found: str | None) -> Iterator[str]:
    for name, value, against in ((reference, expected, found), (others, found, expected)):
        yield f"<div><b>{_text(name)}</b>{_whole(value, against)}</div>"


def _whole(value: str | None, against: str | None) -> str:
    if value is None:
        return '<p class="absent">absent</p>'
    start, end = (len(value), 0) if against is None else difference(value, against)
    parts = (value[:start], value[start : len(value) - end], value[len(value) - end :] if end else "")
    before, between, after = map(_text, parts)
    return f'<pre tabindex="0">{before}{f"<mark>{between}</mark>" if between else ""}{after}</pre>'


def _reasons(parity: Parity) -> str:
    reasons = _tally.reasons(parity).most_common()
    if not reasons:
        return ""
    lines = "".join(f"<li><b>{count:,}</b><span>{_text(reason)}</span></li>" for reason, count in reasons)
    return f'<h2>Why facts may differ</h2><ul class="reasons">{lines}</ul>'


def _rot(parity: Parity) -> str:
    if not parity.unmatched:
        return ""
    patterns = "".join(f"<li><code>{_text(pattern)}</code></li>" for pattern in parity.unmatched)
    count = _tally.count_text(len(parity.unmatched), "pattern")
    return f"<h2>Rules that name no fact</h2><details><summary>{count}</summary><ul>{patterns}</ul></details>"
