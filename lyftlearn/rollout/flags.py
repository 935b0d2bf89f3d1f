"""Asking the flag: who answers, how long that may take, and what was last known.

A provider that the host application gave to OpenFeature is asked first (domain `lyftlearn`, else the global one).
Without one, `LYFTLEARN_FLAGS` or `[migration] flags` names a flagd definition file, an OFREP service by URL, or a flagd
address. Nothing that a flag service does, or fails to do, raises or takes longer than the budget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lyftlearn.rollout.flag_cache import LastKnown
from lyftlearn.rollout.stage import Stage

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.rollout.flag_providers import FlagSource

UNSET = "unset"
_MOST_KEPT = 10_000  # answers; a service that labels its jobs by the minute must not grow for ever
_NO_SOURCE = "no provider, and neither LYFTLEARN_FLAGS nor [migration] flags is set"


@dataclass(frozen=True)
class Answer:
    """What the flag said. stage: None where it did not really answer. said: in words, for whoever asks why.

    withdrawn: whether it was asked and has no opinion (any more), so that what it said before no longer counts. amiss:
    whether it did not answer as it should, which every job's decision then tells.
    """

    stage: Stage | None
    said: str
    variant: str | None = None
    withdrawn: bool = False
    amiss: bool = False


class Flags:
    """The flag of one configuration. Answers are kept for `[migration] cache`; safe to share between threads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._last_known = LastKnown(config.home / "flags")
        self._kept: dict[Hashable, tuple[float, Answer]] = {}
        self._away_until = 0.0
        self._away_because = ""
        self._own: FlagSource | None = None

    def ask(self, attributes: Mapping[str, Any]) -> Answer:
        """Return the answer for a job with these attributes. Never raises."""
        key = _key(attributes)
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        answer = self._ask(attributes, now)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = (now + self._config.migration_cache, answer)
        return answer

    def _ask(self, attributes: Mapping[str, Any], now: float) -> Answer:
        try:
            source = self._source()
        except Exception as exc:  # noqa: BLE001 - a broken flag service must never cost a submission
            return self._remembered(attributes, f"cannot be asked: {exc}")
        if source is None:
            return Answer(None, _NO_SOURCE)
        if now < self._away_until:
            return self._remembered(attributes, f"away: {self._away_because}")
        answer, trouble = self._within_budget(source, attributes)
        if trouble is not None:
            self._away_until, self._away_because = now + self._config.migration_cache, trouble
            return self._remembered(attributes, trouble)
        if answer.stage is not None:
            self._last_known.keep(self._config.migration_flag, attributes, answer.stage)
        elif answer.withdrawn:
            self._last_known.forget(self._config.migration_flag, attributes)
        return answer

    def _source(self) -> FlagSource | None:
        from lyftlearn.rollout import flag_providers  # noqa: PLC0415 - only where a migration is configured

        host = flag_providers.of_the_host()
        if host is not None:
            return host
        if self._own is None and self._config.migration_flags:
            self._own = flag_providers.named(self._config.migration_flags, self._config.migration_budget)
        return self._own

    def _within_budget(self, source: FlagSource, attributes: Mapping[str, Any]) -> tuple[Answer, str | None]:
        """Return the answer, and what kept the source from giving one."""
        if source.immediate:
            return _evaluated(source, self._config.migration_flag, attributes)
        found: list[tuple[Answer, str | None]] = []
        asking = threading.Thread(
            target=lambda: found.append(_evaluated(source, self._config.migration_flag, attributes)),
            name="lyftlearn-flag",
            daemon=True,
        )
        asking.start()
        asking.join(self._config.migration_budget)
        silence = f"no answer within {self._config.migration_budget:g} s"
        return found[0] if found else (Answer(None, silence), silence)

    def _remembered(self, attributes: Mapping[str, Any], trouble: str) -> Answer:
        stage = self._last_known.find(self._config.migration_flag, attributes)
        if stage is None:
            return Answer(None, f"no earlier answer is known; {trouble}", amiss=True)
        return Answer(stage, f"last known answer: {stage}; {trouble}", amiss=True)


def _evaluated(source: FlagSource, flag: str, attributes: Mapping[str, Any]) -> tuple[Answer, str | None]:
    try:
        resolved = source.resolve(flag, attributes)
    except Exception as exc:  # noqa: BLE001 - whatever a provider raises, the submission goes on
        trouble = f"{source.name}: {exc or type(exc).__name__}"
        return Answer(None, trouble), trouble
    answer = _read(resolved.value, resolved.reason, resolved.variant)
    note = f"{source.name}{source.note()}: {answer.said}"
    return replace(answer, said=note), None


def _read(value: str, reason: str, variant: str | None) -> Answer:
    if reason.upper() in ("DEFAULT", "DISABLED", "ERROR"):
        told = f"no answer of its own (reason {reason})"
        return Answer(None, told, variant, withdrawn=reason.upper() != "ERROR")
    if value == UNSET:
        return Answer(None, UNSET, variant, withdrawn=True)
    if value not in list(Stage):
        return Answer(
            None, f"answered {value!r}, which is no stage: use {', '.join(Stage)} or {UNSET}", variant, amiss=True
        )
    return Answer(Stage(value), value, variant)


def _key(attributes: Mapping[str, Any]) -> Hashable:
    return tuple((name, _hashable(value)) for name, value in attributes.items())


def _hashable(value: Any) -> Hashable:
    return tuple(sorted(value.items())) if isinstance(value, Mapping) else value
