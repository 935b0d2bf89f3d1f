"""The fixtures of this room's tests."""

from __future__ import annotations

from tests.doubles.bucket import bucket, s3_server, storage, url
from tests.doubles.old_and_new import make, plugins

__all__ = ["bucket", "make", "plugins", "s3_server", "storage", "url"]
