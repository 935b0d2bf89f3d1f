"""Whom to trust, and the certificate to show, as a kubeconfig says."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from lyftlearn.backend import read_small_file
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lyftlearn_kubernetes.api.access import Access


class Certificates:
    """The context of connections, made anew when the files that it was made from have changed."""

    def __init__(self, access: Access) -> None:
        self._access = access
        names = (access.cluster.get("certificate-authority"), access.user.get("client-certificate"))
        self._files = [name for name in (*names, access.user.get("client-key")) if name]
        self._stamp = self._newest_stamp()
        self._context = context(access)

    def context(self) -> ssl.SSLContext:
        """Return the context of a new connection. Files that are just being written leave the old one in use."""
        stamp = self._newest_stamp()
        if stamp != self._stamp:
            with suppress(LyftLearnError):
                self._context, self._stamp = context(self._access), stamp
        return self._context

    def _newest_stamp(self) -> list[int]:
        with suppress(OSError):
            return [os.stat(name).st_mtime_ns for name in self._files]  # noqa: PTH116 - asked for each connection
        return []


def context(access: Access) -> ssl.SSLContext:
    """Return what a connection needs. Raises LyftLearnError if files or their content are not what they should be."""
    try:
        made = _trusting_context(access.cluster)
        _load_client_certificate(made, access.user)
    except (OSError, ValueError) as exc:
        raise LyftLearnError(f"the certificates of context {access.context!r} are broken: {exc}") from exc
    return made


def _trusting_context(cluster: Mapping[str, Any]) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    if cluster.get("insecure-skip-tls-verify") and (data or cluster.get("certificate-authority")):
        raise ValueError("a certificate authority and insecure-skip-tls-verify exclude each other")
    if data:
        made = ssl.create_default_context(cadata=_decode(data).decode("ascii"))
    else:
        file = cluster.get("certificate-authority")
        made = ssl.create_default_context(cafile=_readable(file) if file else None)
    if cluster.get("insecure-skip-tls-verify"):
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _load_client_certificate(made: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    """Load the user's certificate; the library reads files only, so data become files that are gone at once."""
    with ExitStack() as stack:
        files = {}
        for name in ("client-certificate", "client-key"):
            if user.get(f"{name}-data"):
                file = stack.enter_context(tempfile.NamedTemporaryFile())
                file.write(_decode(user[f"{name}-data"]))
                file.flush()
                files[name] = file.name
            elif user.get(name):
                files[name] = _readable(user[name])
        if "client-certificate" in files:
            made.load_cert_chain(files["client-certificate"], files.get("client-key"))


def _decode(data: str) -> bytes:
    """Decode base64 in lines. What is no certificate at all would let any authority of this machine's be trusted."""
    decoded = base64.b64decode("".join(data.split()), validate=True)
    if not decoded:
        raise ValueError("the data of one are empty")
    return decoded


def _readable(path: str) -> str:
    """Return the path of a file. Raises OSError with its name, which the library leaves out."""
    read_small_file(path)
    return path
