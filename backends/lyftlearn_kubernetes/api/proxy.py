"""The HTTP proxy on the way to a cluster: of the kubeconfig, or of the environment as kubectl reads it.

The rules for the environment are Go's, golang.org/x/net/http/httpproxy, which differ from Python's: CIDR blocks, ports,
and a loopback address that never goes through a proxy.
"""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from lyftlearn.backend import redaction
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_Address: TypeAlias = IPv4Address | IPv6Address
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """Where it is, and the headers that it wants."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)


def find(server: SplitResult, named: str | None) -> Proxy | None:
    """Return the proxy for `server`. named: `proxy-url` of the kubeconfig, which goes before `HTTPS_PROXY` and kin."""
    url = named or _of_environment(server)
    return _proxy(url) if url else None


def _proxy(url: str) -> Proxy:
    """Return the proxy at `url`. It may hold a password, so no part of it but scheme and host is ever shown."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise LyftLearnError("the proxy on the way to the cluster has no valid host or port") from None
    if parts.scheme != "http" or not host:
        shown = f"{parts.scheme}://{host or ''}"
        raise LyftLearnError(f"the proxy {shown} on the way to the cluster cannot be used: name an http:// proxy")
    return Proxy(host, port or 80, _headers(parts))


def _of_environment(server: SplitResult) -> str | None:
    url = _variable("HTTPS_PROXY" if server.scheme == "https" else "HTTP_PROXY")
    if not url or not uses_proxy(server.hostname or "", server.port or _PORTS[server.scheme], _variable("NO_PROXY")):
        return None
    if server.scheme == "http" and os.environ.get("REQUEST_METHOD"):
        raise LyftLearnError("HTTP_PROXY is not used in a CGI program, where whoever calls may set it")
    return url


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""


def uses_proxy(host: str, port: int, no_proxy: str) -> bool:
    """Whether a request to `host` goes through a proxy, in spite of `NO_PROXY`."""
    if host == "localhost":
        return False
    address = _address(host)
    if address is not None and address.is_loopback:
        return False
    name = _ascii(host.strip().lower())
    entries = [entry.strip().lower() for entry in no_proxy.split(",")]
    return "*" not in entries and not any(_matches(entry, name, address, str(port)) for entry in entries if entry)


def _matches(entry: str, name: str, address: _Address | None, port: str) -> bool:
    if "/" in entry and entry.rpartition("/")[2].isdigit():
        with suppress(ValueError):
            return address is not None and address in ip_network(entry, strict=False)
    host, wanted_port = _split_port(entry)
    entry_address = _address(host)
    if not host or wanted_port not in ("", port):
        return False
    if entry_address is not None:
        return entry_address == address
    domain = _ascii(host.removeprefix("*") if host.startswith("*.") else host)
    if domain.startswith("."):
        return name.endswith(domain)
    return name == domain or name.endswith(f".{domain}")


def _split_port(entry: str) -> tuple[str, str]:
    """Return host and port of `host:port` and `[host]:port`; the entry as it is, where it has no port."""
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        return (host, rest[1:]) if bracket and rest.startswith(":") else (entry, "")
    host, _, port = entry.rpartition(":")
    return (host, port) if entry.count(":") == 1 else (entry, "")


def _address(text: str) -> _Address | None:
    """Return an address, without its zone; IPv4 in the clothes of IPv6 is IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _ascii(name: str) -> str:
    if name.isascii():
        return name
    leading = "." if name.startswith(".") else ""
    try:
        return leading + name.removeprefix(".").encode("idna").decode()
    except UnicodeError:
        return name


def _headers(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    password = unquote(parts.password or "")
    pair = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
    redaction.remember(password, pair)
    return {"Proxy-Authorization": f"Basic {pair}"}
