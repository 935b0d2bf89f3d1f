"""Port forwarding, as the kubelet does it: from a port of this machine into the network of a pod."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from tests.doubles.cluster import sandbox

RELAY = """
import os, socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def inwards():
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=inwards, daemon=True).start()
while data := there.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


@contextlib.contextmanager
def forwarded(pid: int, port: int, here: int = 0) -> Iterator[int]:
    """Give a port of this machine behind which the port of the container with the first process `pid` is."""
    with socket.create_server(("127.0.0.1", here)) as listener:
        threading.Thread(target=_serve, args=(listener, pid, port), daemon=True, name="port-forward").start()
        yield int(listener.getsockname()[1])


def _serve(listener: socket.socket, pid: int, port: int) -> None:
    running: list[subprocess.Popen[bytes]] = []
    with contextlib.suppress(OSError):  # the listener is closed
        while True:
            connection, _ = listener.accept()
            argv = sandbox.in_network(pid, [sys.executable, "-I", "-S", "-c", RELAY, str(port)])
            running.append(
                subprocess.Popen(argv, stdin=connection.fileno(), stdout=connection.fileno(), stderr=subprocess.DEVNULL)
            )
            connection.close()
            running = [one for one in running if one.poll() is None]
    for one in running:
        one.kill()
        one.wait()
