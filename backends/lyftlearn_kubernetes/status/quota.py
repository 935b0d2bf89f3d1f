"""What an API server says when it refuses a pod: whether waiting can ever help."""

from __future__ import annotations

import re

# k8s.io/apiserver's resourcequota admission: "exceeded quota: NAME, requested: a=1,b=2, used: ..., limited: ...".
_EXCEEDED = re.compile(r"exceeded quota: [^,]+, requested: (?P<requested>.+?), used: .+?, limited: (?P<hard>[^;|]+)")
# As the Jobs' controller words an API server that it does not reach, or that does not know it: Go's net, net/http and
# context, and the API server's errors.NewTimeoutError. A webhook's own words may be any.
_UNREACHED = re.compile(
    r"^(?!.*denied the request).*(?:request did not complete within|context deadline exceeded"
    r"|connection (?:refused|reset|lost)|handshake timeout|i/o timeout|no route to host|\bEOF\b|transport is closing"
    r'|creating: Unauthorized|:job-controller" cannot )',
    re.DOTALL,
)
# As the API server words what is nobody's fault and passes: https://github.com/kubernetes/kubernetes, apiserver's
# errors.NewInternalError, NewConflict and NewTimeoutError, and the quota admission's own.
_PASSING = re.compile(
    r"status unknown for quota|quota evaluation timed out|^(?:\w+: )?(?:Error creating: )?Internal error occurred"
    r"|Operation cannot be fulfilled|etcdserver: |request timed out|server is currently unable|try again"
)
_QUANTITY = re.compile(r"(?P<number>[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<suffix>[numkMGTPE]?|[KMGTPE]i)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def is_quota_refusal(message: str) -> bool:
    """Whether a quota is what refuses."""
    return "exceeded quota" in message


def may_pass(message: str) -> bool:
    """Whether what refuses is only out of order now, such as a webhook that does not answer."""
    return _PASSING.search(message) is not None or _UNREACHED.search(message) is not None


def exceeds_hard_limit(message: str) -> bool:
    """Whether more is asked for than the quota allows at all; else it is enough that others end."""
    match = _EXCEEDED.search(message)
    if match is None:
        return False
    hard = _amounts(match["hard"])
    return any(amount > hard[name] for name, amount in _amounts(match["requested"]).items() if name in hard)


def _amounts(text: str) -> dict[str, float]:
    pairs = (pair.strip().partition("=") for pair in text.split(","))
    amounts = {name: parse_quantity(value) for name, _, value in pairs}
    return {name: amount for name, amount in amounts.items() if amount is not None}


def parse_quantity(text: str) -> float | None:
    """Return a quantity such as "500m" or "2Gi" as a number; None if it is none."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    try:
        number = float(match["number"])
    except ValueError:
        return None
    suffix = match["suffix"]
    if suffix.endswith("i"):
        return number * 1024.0 ** ("KMGTPE".index(suffix[0]) + 1)
    return number * 10.0 ** _DECIMAL[suffix]
