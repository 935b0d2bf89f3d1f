"""What programs observe on every backend, compared; told so that the same code tells the same."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lyftlearn import Client, ops
from lyftlearn.parity._model import Cell, Parity, Row, Verdict
from lyftlearn.parity._page import page
from tests.doubles.platforms import SECRETS, Gateway, Platforms, platforms

REFERENCE = "kubernetes"
"""What there was before."""
COMMAND = "echo hello; echo weights > $LYFTLEARN_MODEL_DIR/model.bin; ls /no/such/file || true"
"""What stands for a user's own."""
_AGREE = (Verdict.EQUAL, Verdict.NOISE)
_OF_THE_MOMENT = ("environment STATSD_PORT",)
"""What depends on who came first, where jobs share a network: counted with noise, unless it is broken."""
_BAD = (Verdict.BROKEN, Verdict.UNKNOWN, Verdict.NOT_OBSERVED)


def run(names: Sequence[str], page_file: Path, parallel: int) -> dict[str, Any]:
    """Compare `names` with the reference, or with the first; write the page with every value to `page_file`."""
    reference = REFERENCE if REFERENCE in names else names[0]
    on = (reference, *(name for name in names if name != reference))
    with TemporaryDirectory(ignore_cleanup_errors=True) as place, platforms(Path(place)) as running:
        gateway = running.gateway
        with _environment_of(running):
            parity = ops.parity(
                on,
                command=COMMAND,
                parallel=parallel,
                counted=(lambda counter: counted(gateway, counter)) if gateway else None,
                client=Client(),
                secrets=list(SECRETS),
            )
    page_file.parent.mkdir(parents=True, exist_ok=True)
    page_file.write_text(page(parity), encoding="utf-8")
    return told(parity)


def counted(gateway: Gateway, counter: str) -> int:
    """How often a counter has come."""
    return sum(packet.decode("utf-8", "replace").startswith(f"{counter}:") for packet in list(gateway.packets))


def told(parity: Parity) -> dict[str, Any]:
    """Counts, reasons and differences: nothing of a machine, nor of a moment."""
    return {
        "reference": parity.reference,
        "holds": parity.holds,
        "backends": {name: _backend(parity, name) for name in parity.backends},
    }


def _backend(parity: Parity, name: str) -> dict[str, Any]:
    cells = [(row, row.cells[name]) for row in parity.rows]
    agree = [row.subject for row, cell in cells if cell.verdict in _AGREE or _of_the_moment(row, cell)]
    allowed = [cell.reason for row, cell in cells if cell.verdict is Verdict.ALLOWED and not _of_the_moment(row, cell)]
    bad = {
        row.path: {"verdict": str(cell.verdict), "here": cell.value, "reference": row.reference, "why": cell.reason}
        for row, cell in cells
        if cell.verdict in _BAD
    }
    return {
        "agree": dict(sorted(Counter(agree).items())),
        "allowed": dict(sorted(Counter(allowed).items())),
        "differ": bad,
    }


def _of_the_moment(row: Row, cell: Cell) -> bool:
    return row.path in _OF_THE_MOMENT and cell.verdict is Verdict.ALLOWED


@contextmanager
def _environment_of(running: Platforms) -> Iterator[None]:
    before = dict(os.environ)
    found = running.variables(REFERENCE)
    found.pop("LYFTLEARN_BACKEND")
    os.environ.clear()
    os.environ.update(found)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
