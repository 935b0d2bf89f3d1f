"""What is configured, and where each value comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lyftlearn.config import Setting, load


def configuration(config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> list[Setting]:
    """Return every setting with its value and its origin: a file, a variable, `config`, or `default`.

    Raises InvalidJob, listing every fault of the files.
    """
    return load(config).settings()
