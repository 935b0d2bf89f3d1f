"""Label and field selectors."""

from __future__ import annotations

import re
from typing import Any

_SET = re.compile(r"\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*")


def labels_match(selector: str, labels: dict[str, str]) -> bool:
    return all(_requirement(part.strip(), labels) for part in re.split(r",(?![^(]*\))", selector) if part.strip())


def _requirement(text: str, labels: dict[str, str]) -> bool:
    found = _SET.fullmatch(text)
    if found:
        inside = labels.get(found[1]) in [value.strip() for value in found[3].split(",")]
        return inside if found[2] == "in" else not inside
    if "!=" in text:
        key, value = text.split("!=")
        return labels.get(key) != value
    if "=" in text:
        key, value = text.replace("==", "=").split("=")
        return labels.get(key) == value
    return text[1:] not in labels if text.startswith("!") else text in labels


def fields_match(selector: str, item: dict[str, Any]) -> bool:
    for part in filter(None, selector.split(",")):
        path, _, value = part.partition("=")
        found: Any = item
        for name in path.split("."):
            found = (found or {}).get(name)
        if str(found) != value:
            return False
    return True
