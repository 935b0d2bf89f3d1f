"""One look at one job in the history's file, for a command that is over before SQLAlchemy would be loaded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lyftlearn.config import Config

_COST = """
SELECT jobs.cost, jobs.currency, details.basis FROM jobs LEFT JOIN details ON details.job_id = jobs.job_id
WHERE jobs.job_id = ? AND jobs.cost IS NOT NULL"""


def is_own_file(config: Config) -> bool:
    """Whether the history is the file in the home, which nobody else writes."""
    return config.history_url == config.file_url("history.sqlite")


def known_cost(config: Config, job_id: str) -> tuple[float, str, str] | None:
    """Return what a job has cost, the currency, and how that was counted; None where the file has no such word."""
    path = config.home / "history.sqlite"
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            row = file.execute(_COST, (job_id,)).fetchone()
    except sqlite3.Error:  # of another version, or locked: whoever reads it with everything else says what is wrong
        return None
    return None if row is None else (row[0], row[1], row[2] or "")
