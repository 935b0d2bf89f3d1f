"""Running a collector, with what a cluster asks of it: whether it is well, and its figures."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lyftlearn._client import Client
from lyftlearn._contract.signal_event import SignalEvent

if TYPE_CHECKING:
    from lyftlearn.history.collector import Collector

ADDRESS = "127.0.0.1:8040"


def collect(listen: str | None = ADDRESS, *, once: bool = False, client: Client | None = None) -> Collector:
    """Follow every job whose end the history does not know, and write the ends down, until SIGTERM or SIGINT.

    listen: `host:port` where `/healthz` and `/metrics` answer, None for nowhere. once: look once, and return. Any
    number may run at once: the one that holds the lease follows. Raises InvalidJob.
    """
    collector = make_collector(client or Client())
    if once:
        collector.step()
        collector.close()
        return collector
    stopped = SignalEvent()
    with _serving(collector, listen), _stopped_by_signals(stopped, collector):
        collector.run(stopped)
    return collector


def make_collector(client: Client) -> Collector:
    """Return a collector of a client's history and backends."""
    from lyftlearn.history.collector import Collector  # noqa: PLC0415 - brings SQLAlchemy

    session = client._session  # noqa: SLF001 - the client's other half
    return Collector(session.config, session.registry, session.history, session.watch_of, session.in_use)


@contextmanager
def _serving(collector: Collector, listen: str | None) -> Iterator[str]:
    """Answer questions while the context lasts. Gives the address, with the port that was had."""
    if listen is None:
        yield ""
        return
    from lyftlearn.ops.collector_server import open_server  # noqa: PLC0415 - only for those who listen

    server = open_server(collector, listen)
    threading.Thread(target=server.serve_forever, name="lyftlearn-collector", daemon=True).start()
    try:
        yield f"{server.server_address[0]!s}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _stopped_by_signals(stopped: SignalEvent, collector: Collector) -> Iterator[None]:
    """Let SIGTERM and SIGINT end it in order; in another thread than the main one, its caller does."""

    def stop(*_: object) -> None:
        stopped.notify()
        collector.wake()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
