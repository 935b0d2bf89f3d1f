"""HTTP to a flag service whose answers are bounded: in size, in time, and to the host that was configured."""

from __future__ import annotations

import time
from typing import Any

import requests

_MOST_BYTES = 64 * 1024  # an answer to one flag has a few hundred
_CHUNK = 1  # a read of more waits until that much has dripped in


class BoundedSession(requests.Session):
    """A session that follows no redirect and reads no more, and no longer, than an answer about a flag may take."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        """Send a request, and read the whole answer. Raises RequestException."""
        until = time.monotonic() + self._seconds
        settings |= {"stream": True, "allow_redirects": False}
        response = super().send(request, **settings)
        try:
            if response.is_redirect:
                raise requests.TooManyRedirects("it answered with a redirect, which is not followed: name its address")
            response._content = _read(response, until)  # noqa: SLF001 - where requests keeps what it has read
        finally:
            response.close()
        return response


def _read(response: requests.Response, until: float) -> bytes:
    content = bytearray()
    for chunk in response.iter_content(_CHUNK):
        content += chunk
        if len(content) > _MOST_BYTES:
            raise requests.RequestException(f"its answer has more than {_MOST_BYTES} bytes")
        if time.monotonic() > until:
            raise requests.Timeout("its answer takes too long")
    return bytes(content)
