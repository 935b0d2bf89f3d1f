"""What a platform was asked and what it answered, kept for those who write its doubles.

With `LYFTLEARN_RECORD=<directory>`, each process appends every exchange to a file there, without what is secret: tests
hold the doubles of a platform to such files. Nobody is disturbed by a recording that cannot be written.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lyftlearn._text.redaction import HIDDEN, redact, secrets_in_output

VARIABLE = "LYFTLEARN_RECORD"
FORMAT = 1
_ACCOUNT = "000000000000"
_ACCOUNTS = r"(?<=:)\d{12}(?=[:/])|\b\d{12}(?=\.dkr\.ecr\.)|\b\d{12}(?=-)|(?<=-)\d{12}\b"
_BYTES = "aGlkZGVu"  # the word `hidden`, where only base64 may stand
# What users wrote, by the name of the field: variables, secrets, and lines of a log.
_VARIABLES = frozenset(("env", "Environment", "environment", "data", "stringData"))
_TEXTS = frozenset(("message", "Message", "FailureReason", "command", "args", "ContainerEntrypoint"))
_NAMED_LIKE_SECRETS = r"(?i)token|secret|passw|credential|private_?key|access_?key|url"
_OURS = ("LYFTLEARN_", "SM_", "PYTHON", "OMP_", "TMPDIR", "HOME")
_lock = threading.Lock()


def is_on() -> bool:
    """Whether exchanges are kept."""
    return bool(os.environ.get(VARIABLE))


def keep(platform: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Append one exchange, masked. Raises nothing."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    try:
        exchange = mask(json.loads(json.dumps({"request": request, "answer": answer}, default=_plain)))
        _append(Path(directory) / f"{platform}-{os.getpid()}.jsonl", exchange)
    except (OSError, ValueError, RecursionError):  # the job matters more than what is kept about it
        return


def mask(document: Any, name: str = "") -> Any:
    """Return a document without what users wrote and what identifies them; its shape stays as it is."""
    if isinstance(document, dict):
        return _masked_table(document, name)
    if isinstance(document, list):
        return [mask(item, name) for item in document]
    return _masked_text(document, name) if isinstance(document, str) else document


def _masked_table(table: dict[str, Any], name: str) -> dict[str, Any]:
    hidden = _BYTES if name.lower().endswith("data") else HIDDEN
    masked = {
        key: hidden if name in _VARIABLES and isinstance(value, str) and not key.startswith(_OURS) else mask(value, key)
        for key, value in table.items()
    }
    if {"timestamp", "message"} <= masked.keys():  # a line of a log
        masked["message"] = HIDDEN
    return masked


def _masked_text(text: str, name: str) -> str:
    if text[:1] == "{" and (inner := _document_in(text)) is not None:
        return json.dumps(mask(inner, name) | ({"message": HIDDEN} if "message" in inner else {}))
    if re.search(_NAMED_LIKE_SECRETS, name) and name not in ("secrets", "S3Uri") and text:
        return HIDDEN
    hidden = redact(text)
    for pattern, instead in secrets_in_output() if name in _TEXTS else ():
        hidden = pattern.sub(instead, hidden)
    return re.sub(_ACCOUNTS, _ACCOUNT, hidden)


def _document_in(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _append(path: Path, exchange: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if os.fstat(descriptor).st_size == 0:
                file.write(json.dumps({"recording": FORMAT, "at": datetime.now(UTC).isoformat()}) + "\n")
            file.write(json.dumps(exchange) + "\n")


def _renew_lock() -> None:
    """A forked child has no thread that would give back what was held."""
    global _lock  # noqa: PLW0603 - the process's, as the file
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def _plain(value: Any) -> Any:
    """Return what JSON does not know: times of boto3, mappings, and bodies that are streams."""
    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else str(type(value).__name__)
