"""`$(NAME)` by Kubernetes' rules."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

# Texts, not patterns: a start loads `re` only where it needs it.
_REFERENCE = r"\$(?:\$|\(([^)]*)\))"
_SERVICE = r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)"


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where NAME is known; `$$` stands for `$`; what is unknown or incomplete stays as written."""
    if "$" not in text:
        return text
    import re

    return re.sub(_REFERENCE, lambda match: _value(match, values), text)


def _value(match: re.Match[str], values: Mapping[str, str]) -> str:
    name = match.group(1)
    return "$" if name is None else values.get(name, match.group(0))


def expand_in_order(variables: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Expand each variable with what is known and what stands before it."""
    values = dict(known)
    for name, text in variables.items():
        values[name] = expand(text, values)
    return {name: values[name] for name in variables}


def service_variables(names: Iterable[str]) -> list[str]:
    """The names Kubernetes gives its service variables, which `$(NAME)` may refer to there."""
    import re

    return [name for name in names if re.fullmatch(_SERVICE, name)]
