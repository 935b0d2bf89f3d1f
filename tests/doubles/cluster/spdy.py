"""Port forwarding as the API server offers it to kubectl: two streams of SPDY/3.1 for each connection.

Frames are those of https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/; the streams are those of
https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubectl-port-forward.md: one for errors, one for
data, and headers that name the port. Newer clients try a websocket first, and fall back where that is refused.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from io import BufferedIOBase

from tests.doubles.cluster import forward, sandbox

PROTOCOL = "portforward.k8s.io"
_NAMES = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
]
_NAMES += ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(name)) + name.encode() for name in _NAMES) + _REST.encode()
_SYN_STREAM, _SYN_REPLY, _PING = 1, 2, 6
_CONTROL, _VERSION, _FIN = 0x8000, 3, 1


class PortForward:
    """One client's connection, until it leaves. pid: of the pod's first process."""

    def __init__(self, reader: BufferedIOBase, send: Callable[[bytes], object], pid: int) -> None:
        self._reader = reader
        self._send_bytes = send
        self._pid = pid
        self._lock = threading.Lock()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._errors: dict[str, int] = {}  # the stream of errors, by the connection's number
        self._relays: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while len(head := self._reader.read(8)) == 8:
                first, second, flags_and_length = struct.unpack(">HHI", head)
                payload = self._reader.read(flags_and_length & 0xFFFFFF)
                if first & _CONTROL:
                    self._control(second, payload)
                else:
                    self._data((first << 16 | second) & 0x7FFFFFFF, flags_and_length >> 24, payload)
        for relay in self._relays.values():
            relay.kill()
            relay.wait()
            with contextlib.suppress(OSError):  # what was not written any more
                if relay.stdin:
                    relay.stdin.close()

    def _control(self, kind: int, payload: bytes) -> None:
        if kind == _PING:
            self._send(_CONTROL | _VERSION, _PING, 0, payload)
        if kind != _SYN_STREAM:
            return
        stream = struct.unpack(">I", payload[:4])[0] & 0x7FFFFFFF
        headers = _headers(self._inflate.decompress(payload[10:]))
        none = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._send(_CONTROL | _VERSION, _SYN_REPLY, 0, struct.pack(">I", stream) + none)
        if headers["streamtype"] == "error":
            self._errors[headers["requestid"]] = stream
        else:
            self._open(stream, self._errors[headers["requestid"]], headers["port"])

    def _open(self, stream: int, errors: int, port: str) -> None:
        argv = sandbox.in_network(self._pid, [sys.executable, "-I", "-S", "-c", forward.RELAY, port])
        relay = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._relays[stream] = relay
        threading.Thread(target=self._read, args=(relay, stream, errors), daemon=True, name="port-forward").start()

    def _read(self, relay: subprocess.Popen[bytes], stream: int, errors: int) -> None:
        assert relay.stdout is not None
        with relay.stdout as outwards, contextlib.suppress(OSError):
            while data := outwards.read(65_536):
                self._send(stream >> 16, stream & 0xFFFF, 0, data)
            for each in (stream, errors):
                self._send(each >> 16, each & 0xFFFF, _FIN, b"")

    def _data(self, stream: int, flags: int, data: bytes) -> None:
        relay = self._relays.get(stream)
        if relay is None or relay.stdin is None or relay.stdin.closed:
            return
        with contextlib.suppress(OSError):
            relay.stdin.write(data)
            if flags & _FIN:
                relay.stdin.close()

    def _send(self, first: int, second: int, flags: int, payload: bytes) -> None:
        with self._lock:
            self._send_bytes(struct.pack(">HHI", first, second, flags << 24 | len(payload)) + payload)


def _headers(block: bytes) -> dict[str, str]:
    """Read names and values, each after its length."""
    words, at = [], 4
    while at < len(block):
        length = struct.unpack(">I", block[at : at + 4])[0]
        words.append(block[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return dict(zip(words[::2], words[1::2], strict=True))
