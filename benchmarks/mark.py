"""The user's code: writes the time at which it runs to the file that it is given."""

import sys
import time

now = time.monotonic_ns()
with open(sys.argv[1], "w") as file:  # noqa: PTH123 - pathlib would be part of what is measured
    file.write(str(now))
