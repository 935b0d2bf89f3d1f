"""The clients of this process, one for each configuration: all triggers of a triggerer share one watch a backend."""

from __future__ import annotations

import functools

from lyftlearn._client import Client, default_client


@functools.lru_cache(maxsize=128)
def client_of(config: str | None) -> Client:
    """Return the client that reads this file; without one, the client that finds its file by itself."""
    return default_client if config is None else Client(config=config)
