"""Values of secrets that came as JSON."""

from __future__ import annotations

from ..faults import configuration_failure


def encode(secret: str, text: str) -> bytes:
    """A value in UTF-8. JSON can write half of a surrogate pair, which no variable and no text file holds."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise configuration_failure(f"secrets: {secret}: one of its values is no text: write it anew") from None
