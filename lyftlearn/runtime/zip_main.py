"""The first lines of `runtime.pyz`. Every Python 3 can read them.

Signals are heard before anything else is loaded: as PID 1 a process gets none that it has no handler for.
"""

import sys

if sys.version_info < (3, 8):  # before anything that one may lack: 3.4 has no `_signal`
    from lyftlearn_runtime.old_python import TOO_OLD, refuse

    sys.exit(refuse(TOO_OLD.format(*sys.version_info[:3])))

import _signal  # type: ignore[import-not-found,unused-ignore] # has no stub

received = []  # type: list[int]
for stopping in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(stopping, lambda number, _: received.append(number))

try:
    from lyftlearn_runtime.__main__ import main  # type: ignore[import-not-found]

    sys.exit(main(received))
except ImportError as error:  # before the job began: later it reports by itself
    from lyftlearn_runtime.old_python import INCOMPLETE, refuse  # type: ignore[import-not-found]

    sys.exit(refuse(INCOMPLETE.format(error)))
