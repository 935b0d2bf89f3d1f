"""What the runtime says where the image's Python cannot run it: too old, or without its own library.

Every Python 3 can read this file, and it needs nothing that such a Python may lack.
"""

import os
import sys
import time

EXIT_IMAGE = 127
TERMINATION_LOG, SAGEMAKER_OUTPUT = "/dev/termination-log", "/opt/ml/output"
TOO_OLD = "the image has Python {}.{}.{}, and the runtime needs 3.8 or newer"
INCOMPLETE = "the image's Python lacks a part of its library ({}): install all of it, such as Debian's `python3`"
MARK = 'lyftlearn/1 {{"exit_code":null,"reason":"image","attempt":0,"started_at":null,"finished_at":{:.3f}}}\n'


def refuse(text):  # type: (str) -> int
    """Report that the image cannot run this job, and return the exit code."""
    sys.stderr.write("lyftlearn: {}\n".format(text))
    try:
        with open(_report_path(os.environ), "w") as report:
            report.write(MARK.format(time.time()) + text)
    except (IOError, OSError) as error:
        sys.stderr.write("lyftlearn: the report cannot be written: {}\n".format(error))
    return EXIT_IMAGE


def _report_path(environ):  # type: (object) -> str
    given = environ.get("LYFTLEARN_SUBSTRATE_REPORT")  # type: ignore[attr-defined]
    if given:
        return str(given)
    return TERMINATION_LOG if os.path.exists(TERMINATION_LOG) else SAGEMAKER_OUTPUT + "/failure"
