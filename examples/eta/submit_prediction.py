"""Predict the flights of one day with the model of a finished train job."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import lyftlearn

HERE = Path(__file__).resolve().parent


def main() -> None:
    options = arguments()
    job = lyftlearn.predict(
        "eta",
        artifact=lyftlearn.job(options.job),
        command=["python", "predict.py"],
        source=HERE,
        inputs={"schedule": options.schedule},
        resources=lyftlearn.Resources(cpu=1, memory="2Gi"),
        timeout="10m",
        labels={"example": "eta"},
    )
    print(f"submitted as {job.id}")
    job.wait()
    path = job.download(options.results, output="predictions") / "predictions" / "predictions.csv"
    Console().print(table(path))
    print(f"all of them: {path}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="id of a train job of submit.py")
    parser.add_argument("--schedule", type=Path, default=HERE / "schedule", help="directory of schedules, as CSV")
    parser.add_argument("--results", type=Path, default=Path("eta-results"), help="where the predictions go")
    return parser.parse_args()


def table(path: Path, rows: int = 10) -> Table:
    """Show the first predictions."""
    shown = Table(title="The first flights of the day", title_justify="left")
    for heading in ("date", "departure", "flight", "to", "minutes in the air"):
        shown.add_column(heading, justify="right" if heading.startswith("minutes") else "left")
    with path.open(newline="") as file:
        for _, flight in zip(range(rows), csv.DictReader(file), strict=False):
            hour, minute = divmod(int(flight["sched_dep_time"]), 100)
            number = f"{flight['carrier']} {flight['flight']}"
            minutes = flight["minutes"] or "unknown"
            shown.add_row(flight["date"], f"{hour:02d}:{minute:02d}", number, flight["dest"], minutes)
    return shown


if __name__ == "__main__":
    try:
        main()
    except lyftlearn.LyftLearnError as error:
        sys.exit(str(error))
