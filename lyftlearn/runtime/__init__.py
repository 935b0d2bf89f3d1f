"""The half of lyftlearn that runs inside the container, between a substrate and the user's command.

Standard library only, Python 3.8 and newer, and nothing else of lyftlearn: it travels as one zip file with the job.
"""

import sys

CONTRACT = 1

if __name__ == "lyftlearn_runtime" and sys.version_info >= (3, 8):  # in the archive, and not too old to be told so
    from .byte_code import install

    install(__spec__.loader)
