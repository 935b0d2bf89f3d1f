"""A network of the cluster's own: each pod has a namespace with an address, and a bridge joins them.

The API server listens at the bridge. What one side may not reach on the other is dropped where it arrives, as a
security group or a network policy drops it: without a word.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from itertools import count


def missing() -> str | None:
    """Why there are no networks here; None where there are."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [name for name in ("ip", "iptables", "nsenter") if shutil.which(name) is None]
    return f"apt-get install iproute2 iptables util-linux: {', '.join(lacking)} missing" if lacking else None


class Network:
    """One bridge of this machine and the namespaces at it, gone after `close`."""

    def __init__(self) -> None:
        self._tag = secrets.token_hex(3)
        self._bridge = f"lb{self._tag}"
        self._base = f"10.{secrets.randbelow(120) + 100}.{secrets.randbelow(256)}"
        self._numbers = count(2)
        self._names: list[str] = []
        self.gateway = f"{self._base}.1"
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.gateway}/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")

    def join(self) -> tuple[str, str]:
        """Make a namespace with an address of its own; return the namespace's name and the address."""
        number = next(self._numbers)
        name, outer = f"ll{self._tag}-{number}", f"lv{self._tag}{number:x}"
        address = f"{self._base}.{number}"
        _run("ip", "netns", "add", name)
        self._names.append(name)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", outer, "master", self._bridge, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", self.gateway),
        ):
            _run("ip", "-n", name, *words)
        return name, address

    def leave(self, name: str) -> None:
        """Remove a namespace, and with it its end of the bridge."""
        if name in self._names:
            self._names.remove(name)
            _run("ip", "netns", "delete", name)

    @staticmethod
    def close_ports(name: str, ports: str) -> None:
        """Drop what wants to connect to these ports in a namespace; connections from it are untouched."""
        _run(*inside(name), "iptables", "-A", "INPUT", "-p", "tcp", "--syn", "--dport", ports, "-j", "DROP")

    def close(self) -> None:
        """Remove everything."""
        for name in tuple(self._names):
            self.leave(name)
        _run("ip", "link", "delete", self._bridge)


def inside(name: str) -> list[str]:
    """The beginning of a command line that runs in a namespace."""
    return ["nsenter", f"--net=/run/netns/{name}", "--"]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
