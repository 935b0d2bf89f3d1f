"""Whether a text can be written."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Whether UTF-8 has it: half of a surrogate pair is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
