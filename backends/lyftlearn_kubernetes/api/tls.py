"""Whom to trust, and the certificate to show, as a kubeconfig says."""

from __future__ import annotations

import base64
import ssl
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lyftlearn_kubernetes.api.access import Access


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
    if data:
        made = ssl.create_default_context(cadata=_decode(data).decode("ascii"))
    else:
        made = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
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
                files[name] = user[name]
        if "client-certificate" in files:
            made.load_cert_chain(files["client-certificate"], files.get("client-key"))


def _decode(data: str) -> bytes:
    return base64.b64decode(data, validate=False)
