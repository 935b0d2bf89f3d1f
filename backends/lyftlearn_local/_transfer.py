"""The entry that jobs of version 1.0.0 name in their job.json. It stays as long as such jobs may wait."""

from __future__ import annotations

import sys

from lyftlearn_local.layouts.transfer import transfer


def main() -> None:
    """Fetch or pack, as the arguments say."""
    transfer(*sys.argv[1:])
