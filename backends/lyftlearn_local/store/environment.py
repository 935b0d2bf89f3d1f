"""The variables that a node starts with: clean, as a container's, but for what finds credentials and the network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = frozenset(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (upper, upper.lower())
) | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
_AWS_FILES = {"AWS_CONFIG_FILE": ".aws/config", "AWS_SHARED_CREDENTIALS_FILE": ".aws/credentials"}


def clean_environment(python: str) -> dict[str, str]:
    """Return it, made from the caller's own. Jobs find `python` first."""
    passed_on = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("AWS_")}
    return {"PATH": f"{Path(python).parent}:{_STANDARD_PATH}", **_aws_files(), **passed_on}


def driver_environment(python: str) -> dict[str, str]:
    """Return the variables by which a search's driver finds the packages, the programs and the engine of its caller."""
    from lyftlearn_local.containers import engine  # noqa: PLC0415 - only for searches

    packages = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)  # noqa: PTH100 - as Python has it
    programs = f"{clean_environment(python)['PATH']}:{os.environ.get('PATH', os.defpath)}"
    return {**engine.variables(), "PATH": programs, "PYTHONPATH": packages}


def _aws_files() -> dict[str, str]:
    """Where the caller's AWS configuration is: the job may have another HOME."""
    home = Path(os.environ.get("HOME", "/"))
    return {name: str(home / path) for name, path in _AWS_FILES.items() if os.access(home / path, os.R_OK)}
