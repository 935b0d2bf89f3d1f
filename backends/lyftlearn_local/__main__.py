"""The one entry that job.json names: `python -m lyftlearn_local supervise JOB`, and what SageMaker itself would move.

Stored commands must work in every later version, so this name and its words never change.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Do what the first argument says with the others."""
    verb, *arguments = sys.argv[1:]
    if verb == "supervise":
        gc.disable()  # what is loaded stays
        from lyftlearn_local.supervisor.supervisor import supervise  # noqa: PLC0415 - each process loads one half

        gc.freeze()
        gc.enable()
        supervise(*arguments)
    else:
        from lyftlearn_local.layouts.transfer import transfer  # noqa: PLC0415 - as above

        transfer(verb, *arguments)


if __name__ == "__main__":
    main()
