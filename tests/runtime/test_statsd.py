"""The relay: every packet, unchanged, wherever the gateway is just now."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import gateway as gateways
from lyftlearn.runtime.statsd import Relay

PACKETS = [
    b"rides:1|c",
    b"fare:3.5|ms|@0.1|#city:sf,model:eta",
    b"_e{5,4}:title|text|#a",
    b"\xff\x00binary",
    b"x" * 8192,
]


class Gateway:
    """Collects datagrams."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(20)
        self.address = f"localhost:{self.socket.getsockname()[1]}"

    def take(self, count: int) -> list[bytes]:
        return [self.socket.recv(65535) for _ in range(count)]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.socket.close()


def send(port: str, packets: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", int(port)))


@pytest.mark.contract("C-METRIC-2")
def test_packets_arrive_unchanged_and_are_flushed_at_the_end(gateway: Gateway) -> None:
    """DogStatsD's tags and events too: the relay reads nothing."""
    relay = Relay(gateway.address, address=("127.0.0.1", 0))
    send(relay.port, PACKETS)
    relay.close()
    assert gateway.take(len(PACKETS)) == PACKETS
    assert (relay.received, relay.lost) == (len(PACKETS), 0)


@pytest.mark.contract("C-METRIC-5")
def test_a_unix_socket_serves_as_well(gateway: Gateway, tmp_path: Path) -> None:
    """Some clients are configured with a path; it is gone afterwards."""
    path = tmp_path / "statsd.sock"
    relay = Relay(gateway.address, str(path), address=("127.0.0.1", 0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(PACKETS[0], str(path))
    relay.close()
    assert gateway.take(1) == PACKETS[:1]
    assert not path.exists()


@pytest.mark.contract("C-METRIC-4")
def test_without_a_gateway_packets_are_counted_and_dropped() -> None:
    """A shadow job's metrics go nowhere, at no cost for the program."""
    relay = Relay(None, address=("127.0.0.1", 0))
    send(relay.port, PACKETS)
    relay.close()
    assert (relay.received, relay.lost) == (len(PACKETS), len(PACKETS))


def test_a_gateway_that_is_away_costs_a_counted_loss(gateway: Gateway) -> None:
    """A refused packet must neither stop the relay nor take its neighbours with it."""
    address = gateway.address
    gateway.socket.close()
    relay = Relay(address, address=("127.0.0.1", 0))
    for _ in range(10):
        send(relay.port, PACKETS[:1])
        time.sleep(0.02)
    relay.close()
    assert relay.received == 10
    assert relay.lost >= 8  # the last ones are refused after nobody listens any more


@pytest.mark.contract("C-METRIC-3")
def test_a_gateway_that_moves_is_found_again(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways sit behind names whose addresses change while a job runs for days."""
    moved = Gateway()
    places = [gateway.socket.getsockname(), moved.socket.getsockname()]
    asked = threading.Event()

    def resolve(*_: Any, **__: Any) -> list[Any]:
        place = places.pop(0) if len(places) > 1 else places[0]
        if len(places) == 1:
            asked.set()
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", place)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(gateways, "RESOLVE_EVERY", 0.05)
    relay = Relay("gateway.internal:8125", address=("127.0.0.1", 0))
    asked.wait(20)
    send(relay.port, PACKETS[:1])
    moved.socket.settimeout(0.2)
    for _ in range(100):
        try:
            assert moved.take(1) == PACKETS[:1]
            break
        except TimeoutError:
            send(relay.port, PACKETS[:1])
    else:
        pytest.fail("nothing arrived at the new address")
    relay.close()
    moved.socket.close()


def test_packets_wait_for_a_slow_name(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first metrics of a job come before the first answer of DNS."""
    answer = threading.Event()
    place = gateway.socket.getsockname()

    def resolve(*_: Any, **__: Any) -> list[Any]:
        answer.wait(20)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", place)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    relay = Relay("gateway.internal:8125", address=("127.0.0.1", 0))
    send(relay.port, PACKETS)
    answer.set()
    assert gateway.take(len(PACKETS)) == PACKETS
    relay.close()
    assert relay.lost == 0


def test_a_job_s_metrics_reach_the_gateway(containers: Any, gateway: Gateway) -> None:
    """From the program's own client library to the gateway, with the last packet sent just before its exit."""
    program = "import os, socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    program += "to = (os.environ['STATSD_HOST'], int(os.environ['STATSD_PORT']))\n"
    program += "for i in range(1000):\n    s.sendto(b'rides:%d|c|#a:b' % i, to)\n"
    metrics = {"relay": True, "gateway": gateway.address.replace("localhost", "127.0.0.1"), "socket": None}
    container = containers.make("local", ["python3", "-c", program], metrics=metrics)
    container.network = True
    result = container.run()
    assert result.exit_code == 0
    assert gateway.take(1000) == [b"rides:%d|c|#a:b" % index for index in range(1000)]


def test_two_jobs_share_one_loopback(archive: Path) -> None:
    """Several local jobs run beside each other: the second is given another port, and told so."""
    first = Relay(None, address=("127.0.0.1", 0))
    second = Relay(None, address=("127.0.0.1", int(first.port)))
    assert first.port != second.port
    first.close()
    second.close()


@pytest.mark.contract("C-SUB-10")
def test_a_sidecar_s_address_is_left_alone(containers: Any) -> None:
    """On Kubernetes the sidecar is there already: what it was given stays."""
    container = containers.make("kubernetes", ["/usr/bin/env"], metrics={"relay": False})
    container.variables["STATSD_HOST"] = "10.1.2.3"
    lines = container.run().output.decode().splitlines()
    assert {"STATSD_HOST=10.1.2.3", "STATSD_PORT=8125"} <= set(lines)


@pytest.mark.contract("C-REPORT-4")
def test_loss_is_reported(containers: Any) -> None:
    """Nobody reads a counter that is only in memory."""
    program = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    program += "s.sendto(b'a:1|c', ('127.0.0.1', 8125))"
    result = containers.make("local", ["python3", "-c", program], metrics={"relay": True}).run()
    assert result.facts["metrics_lost"] == 1
