"""What is configured, and where each value comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from lyftlearn._text.display import without_credentials
from lyftlearn._text.redaction import redact
from lyftlearn.config import Setting, load

_SECRET = re.compile(r"passw|token|credential|api_?key|access_?key|private_?key|secret_?(key|value)$", re.IGNORECASE)


def configuration(config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> list[Setting]:
    """Return every setting with its value and its origin: a file, a variable, `config`, or `default`.

    Credentials are masked: user names, passwords and queries of URLs, and the values of keys that name a credential.
    Raises InvalidJob with every fault of the files.
    """
    return [setting._replace(value=_open(setting.key, setting.value)) for setting in load(config).settings()]


def _open(key: str, value: Any) -> Any:
    """Return a value without what is secret in it."""
    if isinstance(value, Mapping):
        return {name: _open(str(name), one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_open(key, one) for one in value]
    if value is not None and _SECRET.search(key.rpartition(".")[2]):
        return "***"
    return without_credentials(redact(value)) if isinstance(value, str) else value
