"""From the command line, and from a running interpreter, to the user's code and to the end of the job."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure

MARK = Path(__file__).with_name("mark.py")
OURS, BARE, TORCHX = "lyftlearn", "bare subprocess", "torchx local_cwd"
_BESIDE = Path(sys.executable).parent
_POLL = 0.01
_RATIO = "{} to torchx's"


def cold(runs: int, folder: Path) -> dict[str, Any]:
    """Measure command lines: nothing of the contender runs before, and its files are in the page cache."""
    mark = folder / "mark"
    user_code = [sys.executable, str(MARK), str(mark)]
    commands = {
        BARE: user_code,
        OURS: [str(_BESIDE / "lyftlearn"), "train", "bench", "--wait", "--", *user_code],
        TORCHX: [str(_BESIDE / "torchx"), "run", "-s", "local_cwd", "utils.sh", *user_code],
    }
    contenders = {name: partial(_measured, partial(_command, command), mark) for name, command in commands.items()}
    return _result("Cold: from the command line", measure.interleaved(contenders, runs))


def warm(runs: int, folder: Path) -> dict[str, Any]:
    """Measure calls in one interpreter that has imported all and has submitted before."""
    from torchx.runner import get_runner

    import lyftlearn

    mark = folder / "mark"
    user_code = [sys.executable, str(MARK), str(mark)]
    with get_runner() as runner:

        def torchx() -> Callable[[], object]:
            handle = runner.run_component("utils.sh", user_code, "local_cwd")
            return partial(runner.wait, handle, wait_interval=_POLL)

        def ours() -> Callable[[], object]:
            return partial(lyftlearn.train("bench", command=user_code).wait, progress=False)

        submits = {BARE: lambda: subprocess.Popen(user_code).wait, OURS: ours, TORCHX: torchx}
        contenders = {name: partial(_measured, submit, mark) for name, submit in submits.items()}
        taken = measure.interleaved(contenders, runs)
    return _result(f"Warm: from a call (torchx asks every {_POLL * 1e3:.0f} ms)", taken)


def _command(command: list[str]) -> Callable[[], object]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return partial(_ended, process)


def _ended(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {said.decode()}")


def _measured(submit: Callable[[], Callable[[], object]], mark: Path) -> dict[str, float]:
    """Return milliseconds to the user's code and to the end. `submit` returns what waits for the end."""
    mark.unlink(missing_ok=True)
    start = time.monotonic_ns()
    wait = submit()
    wait()
    end = time.monotonic_ns()
    return {"user code": (int(mark.read_text()) - start) / 1e6, "finished": (end - start) / 1e6}


def _result(title: str, taken: measure.Runs) -> dict[str, Any]:
    middle = measure.medians(taken)
    for figures in middle.values():
        for quantity in ("user code", "finished"):
            figures[f"{quantity} to torchx's"] = figures[quantity] / middle[TORCHX][quantity]
    heading = ("", "to user code", "torchx = 1", "to finished", "torchx = 1")
    print(measure.table(title, heading, [_row(name, figures) for name, figures in middle.items()]))
    return {"unit": "ms", "medians": middle, "runs": taken}


def _row(name: str, figures: dict[str, float]) -> list[str]:
    cells = [
        cell
        for quantity in ("user code", "finished")
        for cell in (f"{figures[quantity]:.0f} ms", f"{figures[_RATIO.format(quantity)]:.2f}")
    ]
    return [name, *cells]
