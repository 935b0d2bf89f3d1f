"""The fixtures of this room's tests."""

from __future__ import annotations

from tests.doubles.bucket import bucket, s3_server, storage, url

__all__ = ["bucket", "s3_server", "storage", "url"]
