"""The HTTP proxy on the way to a cluster: of the kubeconfig, or of the environment."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult


@dataclass(frozen=True)
class Proxy:
    """Where it is, and the headers that it wants."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)


def find(server: SplitResult, named: str | None) -> Proxy | None:
    """Return the proxy for `server`. named: `proxy-url` of the kubeconfig, which goes before `HTTPS_PROXY` and kin."""
    url = named or _of_environment(server)
    if not url:
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        shown = f"{parts.scheme}://{parts.hostname}"
        raise LyftLearnError(f"the proxy {shown} on the way to the cluster cannot be used: name an http:// proxy")
    return Proxy(parts.hostname, parts.port or 80, _headers(parts))


def _of_environment(server: SplitResult) -> str | None:
    if proxy_bypass(server.netloc):
        return None
    proxies = getproxies()
    return proxies.get(server.scheme) or proxies.get("all")


def _headers(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
