"""Draw the pictures of the architecture page.

    python docs/diagrams.py            writes explanation/rooms.svg and explanation/submission.svg
    python docs/diagrams.py --check    fails if they are stale

`rooms.svg` shows the layers that import-linter checks, so it cannot show a house that nobody lives in.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PICTURES = HERE / "explanation"

ROOMS = {
    "__main__": "python -m lyftlearn",
    "cli": "the command line",
    "testing": "the conformance suite",
    "airflow": "operators for Airflow",
    "dashboard": "a page to look at it all",
    "ops": "what operators ask: plan, explain, doctor, migration",
    "parity": "the instrument: what would differ",
    "_client": "the frozen functions are methods of it",
    "tuning": "the driver of a search",
    "_session": "what a client needs once it is used",
    "_migration": "what a migration shows: rehearsals, shadows, reports",
    "history": "what became of jobs, and what they cost",
    "_submission": "a plan, a claim, one request",
    "rollout": "the decision: which backend, and why",
    "_call": "one call, checked",
    "_jobs": "the handle: waiting, following, showing",
    "_registry": "finds backends by name",
    "backend": "the contract that every backend fulfils",
    "_studies": "searches in the storage",
    "_transfer": "files that travel, both ways",
    "config": "lyftlearn.toml",
    "_storage": "a directory or S3, with conditional writes",
    "_contract": "ids, specs, bundles and reports",
    "events": "observations, and the state they add up to",
    "errors": "every error",
    "_text": "durations, quantities, safe text",
    "_telemetry": "traces and metrics of lyftlearn itself",
    "_pages": "pages, cards and tables in HTML",
    "types": "the public values",
    "_annotations": "in place of typing",
    "_json": "the alias of JSON",
    "runtime": "runs inside the container, and imports nothing else",
}

PLACES = ("your code", "lyftlearn", "flag", "storage", "platform", "container")
STEPS = (
    ("your code", "lyftlearn", "train(...)"),
    ("lyftlearn", "lyftlearn", "check every argument"),
    ("lyftlearn", "flag", "which stage?"),
    ("flag", "lyftlearn", "live"),
    ("lyftlearn", "lyftlearn", "read source and local inputs"),
    ("lyftlearn", "storage", "claim the key, if there is one"),
    ("lyftlearn", "lyftlearn", "plan: the exact requests"),
    ("lyftlearn", "storage", "what was read, named by content"),
    ("lyftlearn", "platform", "create: the commit point"),
    ("lyftlearn", "your code", "Job(id)"),
    ("platform", "container", "start the runtime"),
    ("container", "storage", "fetch inputs"),
    ("container", "container", "run your command"),
    ("container", "storage", "keep outputs"),
    ("container", "platform", "report"),
    ("your code", "lyftlearn", "job.wait()"),
    ("lyftlearn", "platform", "watch"),
    ("platform", "lyftlearn", "events"),
    ("lyftlearn", "your code", "JobState"),
)

_STYLE = """
svg { font-family: system-ui, sans-serif; font-size: 14px; background: #fff; color: #1f2328 }
text { fill: currentColor } .name { font-family: ui-monospace, monospace; font-weight: 600 }
.small { font-size: 12.5px } .label { font-size: 12.5px; paint-order: stroke; stroke: #fff; stroke-width: 4px }
.room { fill: #f3f5f8; stroke: #8c959f } .seen { fill: #e4eefb; stroke: #0a58ca }
.line { stroke: #6e7781; fill: none } .tip { fill: #0a58ca }
.arrow { stroke: #0a58ca; fill: none; marker-end: url(#tip) }
@media (prefers-color-scheme: dark) {
  svg { background: #131416; color: #dfe3e8 } .label { stroke: #131416 } .room { fill: #22262b; stroke: #6e7781 }
  .seen { fill: #16294a; stroke: #6ea8fe } .arrow { stroke: #6ea8fe } .tip { fill: #6ea8fe }
}"""


def rooms() -> str:
    """Return the layers as a picture: each sees only what is below it."""
    contracts = _contracts()
    floors = [floor.split(" | ") for floor in contracts["floors"]["layers"]]
    seen = {line.rpartition("lyftlearn.")[2] for line in contracts["backends"]["ignore_imports"]}
    height = len(floors) * 38 + 14
    parts = [part for y, floor in enumerate(floors) for part in _floor(floor, 10 + y * 38, seen)]
    heights = [10 + y * 38 for y, floor in enumerate(floors) if not seen.isdisjoint(floor)]
    top, bottom = heights[0], heights[-1] + 32
    parts += [
        f'<rect class="seen" x="580" y="{top}" width="130" height="{bottom - top}" rx="6"/>',
        *_lines(
            592, top + 26, ("lyftlearn_local", "lyftlearn_", "kubernetes", "lyftlearn_", "sagemaker"), "name small"
        ),
        *_lines(592, top + 130, ("Backends see", "the blue rooms,", "and not each", "other."), "small"),
    ]
    return _svg(720, height, "The rooms of lyftlearn: each sees only the rooms below it", parts)


def submission() -> str:
    """Return the way of a job as a sequence of messages between places."""
    middle = {place: 70 + 125 * index for index, place in enumerate(PLACES)}
    height = 80 + 38 * len(STEPS)
    parts = [part for place, x in middle.items() for part in _place(place, x, height)]
    for index, (sender, receiver, text) in enumerate(STEPS):
        parts += _message(middle[sender], middle[receiver], 78 + 38 * index, text)
    return _svg(770, height, "How a job is submitted, run and followed", parts)


def _contracts() -> Mapping[str, Any]:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["id"]: contract for contract in project["tool"]["importlinter"]["contracts"]}


def _floor(floor: list[str], y: int, seen: set[str]) -> Iterator[str]:
    width = (560 - 10 * (len(floor) - 1)) // len(floor)
    for index, room in enumerate(floor):
        x = 10 + index * (width + 10)
        kind = "seen" if room in seen else "room"
        indent = 140 if len(floor) == 1 else 30 + 9 * len(room)
        yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="32" rx="6"/>'
        yield f'<text class="name" x="{x + 12}" y="{y + 21}">{room}</text>'
        yield f'<text class="small" x="{x + indent}" y="{y + 21}">{escape(ROOMS[room])}</text>'


def _place(place: str, x: int, height: int) -> Iterator[str]:
    yield f'<rect class="seen" x="{x - 54}" y="12" width="108" height="32" rx="6"/>'
    yield f'<text x="{x}" y="33" text-anchor="middle">{place}</text>'
    yield f'<path class="line" d="M{x} 44V{height - 8}"/>'


def _message(start: int, end: int, y: int, text: str) -> Iterator[str]:
    if start == end:
        yield f'<path class="arrow" d="M{start} {y - 8}h22v14h-20"/>'
        anchor, x = ("start", start + 28) if start < 600 else ("end", start - 8)
        yield f'<text class="label" text-anchor="{anchor}" x="{x}" y="{y + 4}">{escape(text)}</text>'
        return
    side = 4 if end > start else -4
    yield f'<path class="arrow" d="M{start} {y + 4}H{end - side}"/>'
    yield f'<text class="label" x="{min(start, end) + 8}" y="{y - 3}">{escape(text)}</text>'


def _lines(x: int, y: int, lines: tuple[str, ...], kind: str) -> Iterator[str]:
    for index, line in enumerate(lines):
        yield f'<text class="{kind}" x="{x}" y="{y + 18 * index}">{escape(line)}</text>'


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<defs>{tip}<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    return "\n".join([*head, *parts, "</svg>\n"])


def main(argv: list[str]) -> int:
    """Write or check, as the arguments say; return the exit code."""
    pictures = {PICTURES / "rooms.svg": rooms(), PICTURES / "submission.svg": submission()}
    if argv != ["--check"]:
        for path, picture in pictures.items():
            path.write_text(picture, encoding="utf-8")
        return 0
    stale = [path.name for path, picture in pictures.items() if path.read_text(encoding="utf-8") != picture]
    print(*(f"{name} is stale: python docs/diagrams.py" for name in stale), sep="\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
