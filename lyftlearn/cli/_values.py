"""From the words of a command line to the values of the API. Readers raise ArgumentTypeError, saying what to write."""

from __future__ import annotations

import argparse
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lyftlearn._text.small_file import read_small_text

if TYPE_CHECKING:
    from lyftlearn.types import JSON


def assignment(text: str) -> tuple[str, str]:
    """Read `NAME=VALUE`; the value is everything after the first `=`, untouched."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no assignment: write NAME=VALUE")
    return name, value


def hyperparameter(text: str) -> tuple[str, JSON]:
    """Read `NAME=VALUE`, which keeps VALUE as text, or `NAME:=VALUE`, where VALUE is JSON."""
    name, value = assignment(text)
    if not name.endswith(":"):
        return name, value
    if name == ":":
        raise argparse.ArgumentTypeError(f"{text!r} names no hyperparameter: write NAME:=JSON")
    return name[:-1], _parse_json(value, f"the value of {name[:-1]!r}")


def duration_or_never(text: str) -> str | None:
    """Read a duration as the API does; `never` is None."""
    return None if text == "never" else text


def document(text: str) -> dict[str, JSON]:
    """Read a file that holds one JSON object."""
    try:
        found = _parse_json(read_small_text(text), text)
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise argparse.ArgumentTypeError(f"{text} is not UTF-8: {exc}") from exc
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text} holds no JSON object: write names and values in braces")
    return found


def output(text: str) -> tuple[str, str | None]:
    """Read `NAME` or `NAME=URI`."""
    return assignment(text) if "=" in text else (text, None)


def number(text: str) -> float:
    """Read a number; a whole one stays whole."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def moment(text: str) -> str | datetime:
    """Read a duration, left to the API, or an ISO 8601 time; one without an offset is local time."""
    if not re.match(r"\d{4}-\d", text):
        return text
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as exc:
        raise argparse.ArgumentTypeError(f'{text!r} is no time: write "2h" or "2025-01-31T08:00:00+00:00"') from exc


class Collect(argparse.Action):
    """Gathers `NAME=VALUE` options in a mapping; a name that comes twice is a mistake."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Add one pair."""
        gathered: dict[str, Any] = getattr(namespace, self.dest, {})
        name, value = values
        if name in gathered:
            parser.error(f"{option} gives {name!r} twice")
        setattr(namespace, self.dest, {**gathered, name: value})


def _parse_json(text: str, what: str) -> JSON:
    try:
        value: JSON = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise argparse.ArgumentTypeError(f"{what} is not JSON ({exc})") from exc
    return value
