"""How cost grows with size: instructions of processes over four sizes each, and the exponent that fits them.

python -m benchmarks.growth [--write FILE]   # needs valgrind
python -m benchmarks.growth --draw           # writes docs/reference/growth.svg from results/growth.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from benchmarks import measure
from benchmarks.growing import OPERATIONS, Prepare
from benchmarks.instructions import count

ROOT = Path(__file__).parents[1]
RESULT, PICTURE = ROOT / "benchmarks/results/growth.json", ROOT / "docs/reference/growth.svg"
_WIDTH, _HEIGHT = 370, 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=OPERATIONS, default=list(OPERATIONS))
    parser.add_argument("--write", type=Path, help="file for the results")
    parser.add_argument("--draw", action="store_true", help="draw what is committed, and measure nothing")
    options = parser.parse_args()
    if options.draw:
        PICTURE.write_text(draw(json.loads(RESULT.read_text())["medians"]))
        return
    grown = {name: dict(_counted(*operation)) for name, operation in OPERATIONS.items() if name in options.only}
    rows = [[name, *(f"{value:.0f}" for value in of.values()), f"{exponent(of):.2f}"] for name, of in grown.items()]
    heading = ("millions of instructions", "smallest", "twice", "four times", "eight times", "exponent")
    print(measure.table("Growth", heading, rows))
    if options.write:
        measure.write(options.write, {"machine": measure.machine(), "medians": grown})


def _counted(sizes: Sequence[int], prepare: Prepare) -> Iterator[tuple[str, float]]:
    """Yield the millions of instructions of each size, less those of nothing."""
    base = _count_one(prepare, 0)
    for size in sizes:
        yield str(size), _count_one(prepare, size) - base


def _count_one(prepare: Prepare, size: int) -> float:
    with tempfile.TemporaryDirectory(prefix="lyftlearn-bench-") as name, prepare(Path(name), size) as program:
        command = [sys.executable, "-c", *program]
        subprocess.run(command, check=True)  # so that what is made once is there
        return count(command, {**os.environ, "PYTHONHASHSEED": "0"}, Path(name))


def exponent(grown: dict[str, float]) -> float:
    """Return the power of the size with which cost grows: the slope of its logarithm."""
    sizes, costs = [math.log(float(size)) for size in grown], [math.log(cost) for cost in grown.values()]
    return statistics.linear_regression(sizes, costs).slope


def draw(grown: dict[str, dict[str, float]]) -> str:
    """Return the plots, two in a row, both axes logarithmic."""
    rows = math.ceil(len(grown) / 2)
    size = f'viewBox="0 0 {2 * _WIDTH} {rows * _HEIGHT}" width="{2 * _WIDTH}" height="{rows * _HEIGHT}"'
    style = "svg { font: 12px system-ui, sans-serif; background: #fff } .axis { stroke: #666 } .fit { stroke: #0a58ca }"
    plots = [
        f'<g transform="translate({index % 2 * _WIDTH} {index // 2 * _HEIGHT})">{"".join(_plot(name, of))}</g>'
        for index, (name, of) in enumerate(grown.items())
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>How cost grows with size</title>'
    return "\n".join([head, f"<style>{style}</style>", *plots, "</svg>", ""])


def _plot(name: str, grown: dict[str, float]) -> Iterator[str]:
    sizes = list(map(float, grown))
    line = statistics.linear_regression(list(map(math.log, sizes)), list(map(math.log, grown.values())))
    top, bottom = math.log(max(grown.values()) * 1.3), math.log(min(grown.values()) / 1.3)

    def at(size: float, logarithm: float) -> tuple[float, float]:
        across = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return 60 + 200 * across, 40 + 160 * (top - logarithm) / (top - bottom)

    ends = [at(size, line.intercept + line.slope * math.log(size)) for size in (sizes[0], sizes[-1])]
    yield f'<text x="20" y="22" font-weight="600">{escape(name)}: exponent {line.slope:.2f}</text>'
    yield '<path class="axis" fill="none" d="M50 40V205H270"/>'
    yield '<path class="fit" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>'.format(*ends[0], *ends[1])
    for size, cost in zip(sizes, grown.values(), strict=True):
        x, y = at(size, math.log(cost))
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        yield f'<text x="{x:.1f}" y="222" text-anchor="middle">{size:g}</text>'
        yield f'<text x="{x + 6:.1f}" y="{y + 16:.1f}">{cost:.0f} M</text>'


if __name__ == "__main__":
    main()
