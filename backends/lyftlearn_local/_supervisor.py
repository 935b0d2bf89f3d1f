"""The entry that jobs of version 1.0.0 name in their job.json. It stays as long as such jobs may wait."""

from __future__ import annotations

import sys

from lyftlearn_local.supervisor.supervisor import supervise


def main() -> None:
    """Run the job whose directory is the first argument."""
    supervise(*sys.argv[1:])
