"""Whom the autopilot tells of its steps, before and after: a URL, which gets a CloudEvent 1.0, or a command.

CloudEvents 1.0 and its HTTP protocol binding, structured mode: github.com/cloudevents/spec. An answer is bounded in
time and size, and a redirect is not followed. Only a clear yes lets a step go on.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from lyftlearn._text.display import printable
from lyftlearn._text.redaction import redact_printed, remember_url, shown_url

SECONDS = 10.0
_LONGEST_ANSWER = 300
PLANNED, DONE = "lyftlearn.migration.step.planned", "lyftlearn.migration.step.done"


@dataclass(frozen=True)
class Answer:
    """What a hook said. broken: it gave no answer that counts, so others need not be asked now."""

    yes: bool
    said: str = ""
    broken: bool = False


def event(kind: str, subject: str, at: datetime, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CloudEvent. The same step has the same id however often it is told, so that it can be told again."""
    told = json.dumps([kind, subject, at.isoformat(), data], sort_keys=True, default=str)
    return {
        "specversion": "1.0",
        "id": sha256(told.encode()).hexdigest()[:32],
        "source": "lyftlearn/migration/autopilot",
        "type": kind,
        "subject": subject,
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def tell(hook: str, told: Mapping[str, Any], seconds: float = SECONDS) -> Answer:
    """Tell a hook, and return its answer. Never raises."""
    if hook.lower().startswith(("http://", "https://")):
        return _post(hook, told, seconds)
    return _run(hook, told, seconds)


def _post(url: str, told: Mapping[str, Any], seconds: float) -> Answer:
    """Send an event. Its thread is left behind when the time is over: a service may send its headers for an hour."""
    remember_url(url)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(url, told, seconds)), name="hook", daemon=True)
    with suppress(RuntimeError):  # this process may have no more threads
        asking.start()
        asking.join(seconds)
    late = Answer(yes=False, said=f"{shown_url(url)} gave no answer within {seconds:g} s", broken=True)
    return answers[0] if answers else late


def _ask(url: str, told: Mapping[str, Any], seconds: float) -> Answer:
    from lyftlearn.rollout.bounded_session import BoundedSession  # noqa: PLC0415 - brings requests, which URLs need

    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    try:
        with BoundedSession(seconds) as session:
            answer = session.post(url, data=json.dumps(told).encode(), headers=headers, timeout=seconds)
    except Exception as exc:  # noqa: BLE001 - whatever keeps an answer away, and some libraries raise what they like
        return Answer(yes=False, said=f"{shown_url(url)} gave no answer: {_short(str(exc))}", broken=True)
    code = answer.status_code
    said = f"{shown_url(url)} answered {code}: {_short(answer.text)}"
    return Answer(yes=200 <= code < 300, said=said, broken=not (200 <= code < 300 or 400 <= code < 500))


def _run(command: str, told: Mapping[str, Any], seconds: float) -> Answer:
    """Run a command in a group of its own, so that nothing of it is left when its time is over."""
    name = next(iter(command.split()), "the hook")  # what follows it may be a secret
    with tempfile.TemporaryFile() as output:
        try:
            words = shlex.split(command)
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
            )
        except (OSError, ValueError, IndexError) as exc:
            return Answer(yes=False, said=f"{name} cannot be run: {exc}", broken=True)
        try:
            process.communicate(json.dumps(told).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            return Answer(yes=False, said=f"{name} gave no answer within {seconds:g} s", broken=True)
        output.seek(0)
        said = output.read(4 * _LONGEST_ANSWER).decode(errors="replace")
    code = process.returncode
    return Answer(yes=code == 0, said=f"{name} ended with {code}: {_short(said)}", broken=code < 0)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _short(text: str) -> str:
    line = printable(redact_printed(" ".join(text[: 4 * _LONGEST_ANSWER].split())))
    return line if len(line) <= _LONGEST_ANSWER else f"{line[:_LONGEST_ANSWER]}..."
