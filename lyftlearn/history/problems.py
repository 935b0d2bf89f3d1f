"""What stood against jobs: the same problem of many jobs is one, however each of them words it."""

from __future__ import annotations

import re
from hashlib import sha256

from lyftlearn._contract.ids import PATTERN

_ID = re.compile(rf"(?<![a-z0-9-]){PATTERN.pattern}(?![a-z0-9-])")
# Addresses, quoted texts and digests: what differs from job to job where the problem is the same.
_OWN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\",;)]+|'[^']*'|\"[^\"]*\"|\b[0-9a-f]{12,}\b")


def without_ids(problem: str) -> str:
    """Return a problem without ids of jobs, each of which is that one job's. Numbers stay: they may be the reason."""
    return _ID.sub("ID", problem)


def kind_of(path: str, problem: str) -> tuple[str, str]:
    """Return a problem without what names one job's own things."""
    return path, _OWN.sub("\u2026", without_ids(problem))


def digest_of(*texts: str) -> str:
    """Return 16 characters that stand for texts."""
    return sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:16]
