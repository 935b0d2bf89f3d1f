"""The first lines of `runtime.pyz`. Every Python 3 can read them.

Signals are heard before anything else is loaded: as PID 1 a process gets none that it has no handler for.
"""

import _signal  # type: ignore[import-not-found,unused-ignore] # has no stub
import sys

received = []  # type: list[int]
for stopping in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(stopping, lambda number, _: received.append(number))

if sys.version_info < (3, 8):
    from lyftlearn_runtime.old_python import refuse

    sys.exit(refuse())

from lyftlearn_runtime.__main__ import main  # type: ignore[import-not-found] # noqa: E402 - signals come first

sys.exit(main(received))
