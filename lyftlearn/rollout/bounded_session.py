"""HTTP to a flag service whose answers are bounded: in size, in time, and to the host that was configured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import requests
from urllib3.exceptions import HTTPError

_MOST_BYTES = 64 * 1024  # an answer to one flag has a few hundred


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
    for chunk in _chunks(response):
        content += chunk
        if len(content) > _MOST_BYTES:
            raise requests.RequestException(f"its answer has more than {_MOST_BYTES} bytes")
        if time.monotonic() > until:
            raise requests.Timeout("its answer takes too long")
    return bytes(content)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield what has come, without waiting for more. urllib3 before 2.1 can do so only byte by byte."""
    read = getattr(response.raw, "read1", None)
    if read is None:
        yield from response.iter_content(1)
        return
    try:
        yield from iter(lambda: read(_MOST_BYTES, decode_content=True), b"")
    except HTTPError as error:
        raise requests.ConnectionError(error) from error
