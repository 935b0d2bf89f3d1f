"""What every pod has of the API: a token of its service account, the cluster's certificate, and its namespace."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.doubles.cluster.store import ApiError, Object, Store

DEFAULT_ACCOUNT = "default"
"""The account that a controller makes in every namespace, and that admission gives to every pod that names none."""
MOUNTED_AT = "/var/run/secrets/kubernetes.io/serviceaccount"


def token_of(account: str) -> str:
    """The token of a service account, for the callers of an `Access`."""
    return f"token-of-{account}"


@dataclass(frozen=True)
class Certificate:
    """The server's certificate, which is its own authority."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        return made


def make_certificate(directory: Path, host: str = "127.0.0.1") -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    made = Certificate(directory / "ca.crt", directory / "ca.key")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, none))
    return made


def account_of(pod: Object) -> str | None:
    """The account whose token a pod has; None where it is to have none."""
    spec = pod["spec"]
    return spec.get("serviceAccountName", DEFAULT_ACCOUNT) if spec.get("automountServiceAccountToken", True) else None


def check_account(store: Store, namespace: str, pod: Object) -> None:
    """Refuse a pod whose account is not there, in the words of the admission plugin ServiceAccount."""
    name = pod["spec"].get("serviceAccountName", DEFAULT_ACCOUNT)
    if store.find("serviceaccounts", namespace, name) is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise ApiError(403, "Forbidden", f'pods "{pod["metadata"].get("name", "")}" is forbidden: {why}')


def write_account(pod: Object, directory: Path, certificate: Path) -> Path | None:
    """Write what a pod has mounted at `MOUNTED_AT`, and return where it lies; None where it has nothing."""
    account = account_of(pod)
    if account is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "token").write_text(token_of(account))
    (directory / "namespace").write_text(pod["metadata"]["namespace"])
    (directory / "ca.crt").write_bytes(certificate.read_bytes())
    return directory
