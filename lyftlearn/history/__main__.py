"""`python -m lyftlearn.history HOME`: write into the history what waits in a home, for a process that has ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lyftlearn.history.row_lines import rows_of
from lyftlearn.history.spool import Spool
from lyftlearn.history.store import History

URL = "LYFTLEARN_HISTORY_URL"
"""The variable that names the history: arguments of a process are seen by everybody on its machine."""


def main() -> int:
    """Write what waits. What cannot be written waits on."""
    url = os.environ[URL]
    history = History(url)
    Spool(Path(sys.argv[1]), url, dict).take_up(lambda entries: history.record_all(rows_of(entries)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
