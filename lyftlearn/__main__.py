"""`python -m lyftlearn` is the command line."""

from __future__ import annotations

import sys

from lyftlearn.cli import main

sys.exit(main())
