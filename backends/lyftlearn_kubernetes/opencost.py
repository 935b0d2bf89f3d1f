"""What OpenCost says that a job's pods have cost: their part of nodes, volumes and network, by the cluster's prices.

One question for each job, to its allocation API: https://opencost.io/docs/integrations/api. Pods are found by their
label of the job, as Prometheus writes it: OpenCost's versions name a group of pods `<value>` or `<label>=<value>`.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from lyftlearn.backend import Bill, Check, Verdict
from lyftlearn.errors import BackendUnavailable, JobNotFound
from lyftlearn_kubernetes.labels import JOB

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTLED = timedelta(minutes=10)
"""After a job's end: Prometheus looks at pods once a minute, and OpenCost keeps answers for some minutes."""
SECONDS = 10.0
_MARGIN = timedelta(minutes=1)
_LARGEST_ANSWER = 16 << 20
_CHUNK = 1 << 16
_LABEL = re.sub(r"[^a-zA-Z0-9_]", "_", JOB)


def bill(url: str, currency: str, job_id: str, start: datetime, end: datetime) -> Bill:
    """Return what a job has cost that ran from `start` to `end`. Raises BackendUnavailable, JobNotFound."""
    if datetime.now(UTC) - end < SETTLED:
        return Bill(None, currency, f"OpenCost knows what it cost {SETTLED.seconds // 60} minutes after its end")
    costs = _costs(url, job_id, start - _MARGIN, end + _MARGIN)
    if not costs:
        raise JobNotFound("OpenCost knows no pod of this job")
    if not all(math.isfinite(cost) and cost >= 0 for cost in costs):
        raise BackendUnavailable("OpenCost's answer has a cost that is none")
    return Bill(sum(costs), currency, "counted by OpenCost")


def check(url: str) -> Check:
    """Ask for the pods of a job that there is not, as `bill` does."""
    now = datetime.now(UTC)
    try:
        _costs(url, "none", now - timedelta(hours=1), now)
    except BackendUnavailable as exc:
        return Check("OpenCost", Verdict.WARNING, f"{exc} ({url}): costs follow from what jobs request, and `prices`")
    return Check("OpenCost", Verdict.OK, f"answers at {url}")


def _costs(url: str, job_id: str, start: datetime, end: datetime) -> list[float]:
    """Return the cost of the job's pods in each span of time that the answer has."""
    moments = (f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for moment in (start, end))
    query = {"window": ",".join(moments), "aggregate": f"label:{_LABEL}", "filter": f'label[{_LABEL}]:"{job_id}"'}
    answer = _ask(f"{url.rstrip('/')}/allocation/compute?{urlencode(query)}")
    try:
        return [float(cost) for cost in _costs_of(answer, {job_id, f"{_LABEL}={job_id}"})]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as exc:
        raise BackendUnavailable("OpenCost's answer is none of its allocation API") from exc


def _costs_of(answer: Any, names: set[str]) -> Iterator[Any]:
    """Yield the cost of the groups of pods of these names. Versions without filters tell other jobs, too."""
    for allocations in answer["data"]:
        for name, allocation in (allocations or {}).items():
            if name in names:
                yield allocation["totalCost"]


def _ask(url: str) -> Any:
    try:
        return json.loads(_read(url))
    except HTTPError as exc:
        exc.close()
        raise BackendUnavailable(f"OpenCost answered with status {exc.code}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise BackendUnavailable(f"OpenCost does not answer: {getattr(exc, 'reason', exc)}") from exc
    except (RecursionError, ValueError) as exc:
        raise BackendUnavailable("OpenCost's answer is no JSON") from exc


def _read(url: str) -> bytes:
    """Return the answer; give up on one that takes longer altogether, however it trickles."""
    until = time.monotonic() + SECONDS
    data = bytearray()
    with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=SECONDS) as answer:  # noqa: S310 - checked
        while chunk := answer.read1(_CHUNK):
            data += chunk
            if len(data) > _LARGEST_ANSWER:
                raise BackendUnavailable(f"OpenCost's answer has more than {_LARGEST_ANSWER} bytes")
            if time.monotonic() > until:
                raise TimeoutError("the answer takes too long")
    return bytes(data)
