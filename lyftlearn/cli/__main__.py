"""`python -m lyftlearn.cli`."""

from __future__ import annotations

import sys

from lyftlearn.cli import main

sys.exit(main())
