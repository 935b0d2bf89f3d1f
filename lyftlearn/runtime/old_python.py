"""What the runtime says where the image's Python is too old for it. Every Python 3 can read this file."""

import json
import os
import sys
import time

EXIT_IMAGE = 127
TERMINATION_LOG, SAGEMAKER_OUTPUT = "/dev/termination-log", "/opt/ml/output"


def refuse():  # type: () -> int
    """Report that the image cannot run this job, and return the exit code."""
    version = ".".join(str(number) for number in sys.version_info[:3])
    text = "the image has Python {}, and the runtime needs 3.8 or newer".format(version)
    sys.stderr.write("lyftlearn: {}\n".format(text))
    now = time.time()
    facts = {"exit_code": None, "reason": "image", "attempt": 0, "started_at": None, "finished_at": now}
    try:
        with open(_report_path(os.environ), "w") as report:
            report.write("lyftlearn/1 {}\n{}".format(json.dumps(facts, separators=(",", ":")), text))
    except (IOError, OSError) as error:
        sys.stderr.write("lyftlearn: the report cannot be written: {}\n".format(error))
    return EXIT_IMAGE


def _report_path(environ):  # type: (object) -> str
    given = environ.get("LYFTLEARN_SUBSTRATE_REPORT")  # type: ignore[attr-defined]
    if given:
        return str(given)
    return TERMINATION_LOG if os.path.exists(TERMINATION_LOG) else SAGEMAKER_OUTPUT + "/failure"
