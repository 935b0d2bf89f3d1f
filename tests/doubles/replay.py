"""Recordings of real platforms, played to the doubles of tests: what a double would have answered.

A recording is what `LYFTLEARN_RECORD` wrote. Its requests are sent again, in order; of each answer, the status or the
error and the fields with their types must be the double's, too. What depends on how far a job was is not compared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lyftlearn._contract.recording import FORMAT

RECORDINGS = Path(__file__).parents[1] / "recordings"
# Kubernetes: who wrote which field, and what controllers note. Both: what a job's progress adds.
PASSING = frozenset((
    "managedFields", "annotations", "status", "nodeName", "TrainingJobStatus", "SecondaryStatus",
    "SecondaryStatusTransitions", "FailureReason", "ModelArtifacts", "TrainingStartTime", "TrainingEndTime",
    "BillableTimeInSeconds", "TrainingTimeInSeconds", "FinalMetricDataList", "ResponseMetadata", "WarmPoolStatus",
))  # fmt: skip
_LOOKS, _PAUSE = 20, 0.1
# What a server gives out, and a later request repeats.
GIVEN = ("uid", "resourceVersion", "continue", "NextToken", "nextToken")
Answer = Mapping[str, Any]
Ask = Callable[[Mapping[str, Any]], Answer]


def exchanges(path: Path) -> Iterator[tuple[Mapping[str, Any], Answer]]:
    """Yield the requests and answers of a recording."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(head)["recording"] == FORMAT
    for line in lines:
        exchange = json.loads(line)
        yield exchange["request"], exchange["answer"]


def differences(path: Path, ask: Ask) -> list[str]:
    """Return in what the double differs from whoever was recorded. ask: sends a request to the double."""
    found, known = [], dict[str, str]()
    for number, (request, answer) in enumerate(exchanges(path), start=1):
        asked = json.loads(_translated(json.dumps(request), known))
        if _was_there_before(answer):
            ask(asked)
        now = _ask_patiently(ask, asked, answer)
        known |= dict(_given(answer, now))
        found += [f"exchange {number}, {_title(request)}: {problem}" for problem in _compare("", answer, now)]
    return found


def _was_there_before(answer: Answer) -> bool:
    """Whether something existed that was to be created, so that it must exist here, too."""
    return answer.get("code") == 409 or answer.get("error", {}).get("Code") == "ResourceInUse"


def _ask_patiently(ask: Ask, request: Mapping[str, Any], answer: Answer) -> Answer:
    """Send a request. What only reads is sent again for a while: a double makes pods in its own time."""
    reads = request.get("method") == "GET" or str(request.get("operation")).startswith(("describe", "list", "get"))
    for _ in range(_LOOKS if reads else 0):
        now = ask(request)
        if not [*_compare("", answer, now)]:
            return now
        time.sleep(_PAUSE)
    return ask(request)


def _title(request: Mapping[str, Any]) -> str:
    words = ("method", "path", "service", "operation")
    return " ".join(str(request[word]) for word in words if word in request)


def _translated(text: str, known: Mapping[str, str]) -> str:
    for before, now in known.items():
        text = text.replace(json.dumps(before), json.dumps(now))
    return text


def _given(before: Any, now: Any) -> Iterator[tuple[str, str]]:
    """Yield what was given out then, with what was given out now."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before.keys() & now.keys():
            if name in GIVEN and isinstance(before[name], str) and isinstance(now[name], str) and before[name]:
                yield before[name], now[name]
            yield from _given(before[name], now[name])
    elif isinstance(before, list) and isinstance(now, list):
        for pair in zip(before, now, strict=False):
            yield from _given(*pair)


def _compare(path: str, before: Any, now: Any) -> Iterator[str]:
    """Yield what is another kind of value, what is missing, and what is there and should not be."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now} - PASSING):
            if name not in now:
                yield f"{path}.{name} is missing"
            elif name not in before:
                yield f"{path}.{name} is there, and was not"
            else:
                yield from _compare(f"{path}.{name}", before[name], now[name])
    elif isinstance(before, list) and isinstance(now, list):
        if before and not now:
            yield f"{path} has {len(now)} items, and had {len(before)}"
        for pair in zip(before[:1], now[:1], strict=False):
            yield from _compare(f"{path}[0]", *pair)
    elif type(before) is not type(now):
        yield f"{path} is {type(now).__name__}, and was {type(before).__name__}"
    elif path in (".code", ".error.Code", ".body.reason") and before != now:
        yield f"{path} is {now!r}, and was {before!r}"
