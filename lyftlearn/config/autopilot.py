"""The table `[autopilot]`: how a migration may drive itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lyftlearn._contract.options import (
    POSITIVE_DURATION,
    TEXT,
    TEXTS,
    Kind,
    Option,
    list_of,
    one_of,
    whole_number,
)

_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
QUIET_PATTERN = rf"({_DAY}(-{_DAY})?( {_TIME}-{_TIME})?|{_TIME}-{_TIME})"
_QUIET_WORDS = 'such as "18:00-08:00", "sat-sun" or "fri 12:00-23:59"'


def _zone(value: Any) -> str:
    if value == "UTC":
        return "UTC"
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - it asks how Python was built, which takes time

    try:
        return str(ZoneInfo(value))
    except (TypeError, ValueError, OSError, KeyError):
        raise ValueError('the name of a time zone, such as "UTC" or "America/Los_Angeles"') from None


def _quiet(value: Any) -> str:
    import re  # noqa: PLC0415 - only where somebody wrote one

    if not isinstance(value, str) or not value.strip() or not re.fullmatch(QUIET_PATTERN, value):
        raise ValueError(f"a span of quiet time, {_QUIET_WORDS}")
    return value


def _level(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and _LEAST_LEVEL <= value < 1):
        raise ValueError
    return float(value)


def _span(value: Any) -> timedelta:
    length: timedelta = POSITIVE_DURATION.read(value)
    if length > _LONGEST:
        raise ValueError
    return length


_LEAST_LEVEL, _LONGEST = 1e-9, timedelta(days=36500)
_LEVEL = Kind(
    f"a probability below 1, and {_LEAST_LEVEL:g} or more",
    _level,
    {"type": "number", "minimum": _LEAST_LEVEL, "exclusiveMaximum": 1},
)
_SPAN = POSITIVE_DURATION._replace(expected=f"{POSITIVE_DURATION.expected}, and 36500d at most", read=_span)
_ZONE = Kind("the name of a time zone", _zone, {"type": "string", "minLength": 1})
_QUIET = Kind("a span of quiet time", _quiet, {"type": "string", "minLength": 1, "pattern": f"^{QUIET_PATTERN}$"})
# The names of `_migration.rungs.Rung`, of `history` columns and of the guard's measures, which stand above; tests hold
# them to each other.
_RUNG = one_of("off", "rehearse", "shadow", "live-10", "live-50", "live-100", "complete")
_MADE_WITH = one_of("image", "source", "version")
_MEASURE = one_of("failures", "platform failures", "start-up time", "duration", "cost", "shadow differences")

AUTOPILOT = (
    Option(
        key="by",
        kind=one_of("model", "repository"),
        default="model",
        doc="What is moved at once: one model, or all models of a repository.",
        example="repository",
    ),
    Option(key="ceiling", kind=_RUNG, default="complete", doc="The highest rung.", example="live-50"),
    Option(
        key="pause",
        kind=_SPAN,
        default="1d",
        doc="How long a model stays on a rung at least.",
        example="3d",
    ),
    Option(
        key="raises_a_day",
        kind=whole_number(0),
        default=100,
        doc="How many models are raised within a day at most. Lowering has no limit.",
        example=20,
    ),
    Option(
        key="rehearsals",
        kind=whole_number(1),
        default=3,
        doc="How many rehearsals a model needs before `shadow`. The newest must have found nothing.",
        example=10,
    ),
    Option(
        key="level",
        kind=_LEVEL,
        default=0.01,
        doc="How probable it may be that a model is ever called worse although it is not.",
        example=0.005,
    ),
    Option(
        key="ignore",
        kind=list_of(_MEASURE, f"a list of measures, {_MEASURE.expected}"),
        default=(),
        doc="Measures of the guard that are not judged.",
        example=["shadow differences"],
    ),
    Option(
        key="max_age",
        kind=_SPAN,
        default="30d",
        doc="How long a rehearsal, a shadow or a job on the new side shows anything.",
        example="14d",
    ),
    Option(
        key="stale_with",
        kind=list_of(_MADE_WITH, "a list of image, source and version"),
        default=("image", "source", "version"),
        doc="What evidence must share with a model's newest job: the image, the source, lyftlearn's version.",
        example=["image"],
    ),
    Option(
        key="only",
        kind=TEXTS,
        default=(),
        doc="Patterns of the models that it moves, `repository#model`; by default all.",
        example=["rides/*"],
    ),
    Option(
        key="never",
        kind=TEXTS,
        default=(),
        doc="Patterns of models that it leaves where they are.",
        example=["rides/pricing#eta"],
    ),
    Option(
        key="quiet",
        kind=list_of(_QUIET, f"a list of spans of quiet time, {_QUIET_WORDS}"),
        default=(),
        doc="When nothing is raised: spans of a day, days of a week, or both.",
        example=["18:00-08:00", "sat-sun"],
    ),
    Option(key="zone", kind=_ZONE, default="UTC", doc="The time zone of `quiet`.", example="America/Los_Angeles"),
    Option(
        key="before",
        kind=TEXT,
        doc="A hook that may refuse a step: a URL that gets a CloudEvent, or a command that gets it as its input.",
        example="https://change.example/lyftlearn",
    ),
    Option(
        key="after",
        kind=TEXT,
        doc="A hook that hears of each step: a URL, or a command.",
        example="notify-channel --channel migrations",
    ),
    Option(
        key="writer",
        kind=TEXT,
        doc="A plugin that keeps the rungs with a provider of flags, in place of the file in `[migration] flags`.",
        example="acme-flags",
    ),
    Option(key="every", kind=_SPAN, default="15m", doc="How often it looks, without `--once`.", example="1h"),
)
