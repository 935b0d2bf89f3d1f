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

from lyftlearn.rollout.flag_cache import PersistentFlagCache
from lyftlearn.rollout.stage import Stage

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.rollout.flag_providers import FlagProvider

UNSET = "unset"
_MOST_KEPT = 10_000  # answers; a service that labels its jobs by the minute must not grow for ever
_NO_SOURCE = "no provider, and neither LYFTLEARN_FLAGS nor [migration] flags is set"


@dataclass(frozen=True)
class FlagEvaluation:
    """What the flag said. stage: None where it did not really answer. detail: in words, for whoever asks why.

    unset: whether it was asked and has no opinion (any more), so that what it said before no longer counts. amiss:
    whether it did not answer as it should, which every job's decision then tells.
    """

    stage: Stage | None
    detail: str
    variant: str | None = None
    unset: bool = False
    degraded: bool = False


class Flags:
    """The flag of one configuration. Answers are kept for `[migration] cache`; safe to share between threads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._last_known = PersistentFlagCache(config.home / "flags")
        self._kept: dict[Hashable, tuple[float, FlagEvaluation]] = {}
        self._away_until = 0.0
        self._away_because = ""
        self._own: FlagProvider | None = None

    def ask(self, attributes: Mapping[str, Any]) -> FlagEvaluation:
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

    def _ask(self, attributes: Mapping[str, Any], now: float) -> FlagEvaluation:
        try:
            source = self._source()
        except Exception as exc:  # noqa: BLE001 - a broken flag service must never cost a submission
            return self._remembered(attributes, f"cannot be asked: {exc}")
        if source is None:
            return FlagEvaluation(None, _NO_SOURCE)
        if now < self._away_until:
            return self._remembered(attributes, f"away: {self._away_because}")
        answer, trouble = self._within_budget(source, attributes)
        if trouble is not None:
            self._away_until, self._away_because = now + self._config.migration_cache, trouble
            return self._remembered(attributes, trouble)
        if answer.stage is not None:
            self._last_known.keep(self._config.migration_flag, attributes, answer.stage)
        elif answer.unset:
            self._last_known.forget(self._config.migration_flag, attributes)
        return answer

    def _source(self) -> FlagProvider | None:
        from lyftlearn.rollout import flag_providers  # noqa: PLC0415 - only where a migration is configured

        host = flag_providers.host_provider()
        if host is not None:
            return host
        if self._own is None and self._config.flag_source:
            self._own = flag_providers.provider_from_url(self._config.flag_source, self._config.migration_budget)
        return self._own

    def _within_budget(self, source: FlagProvider, attributes: Mapping[str, Any]) -> tuple[FlagEvaluation, str | None]:
        """Return the answer, and what kept the source from giving one."""
        if source.immediate:
            return _evaluated(source, self._config.migration_flag, attributes)
        found: list[tuple[FlagEvaluation, str | None]] = []
        asking = threading.Thread(
            target=lambda: found.append(_evaluated(source, self._config.migration_flag, attributes)),
            name="lyftlearn-flag",
            daemon=True,
        )
        asking.start()
        asking.join(self._config.migration_budget)
        silence = f"no answer within {self._config.migration_budget:g} s"
        return found[0] if found else (FlagEvaluation(None, silence), silence)

    def _remembered(self, attributes: Mapping[str, Any], trouble: str) -> FlagEvaluation:
        stage = self._last_known.find(self._config.migration_flag, attributes)
        if stage is None:
            return FlagEvaluation(None, f"no earlier answer is known; {trouble}", degraded=True)
        return FlagEvaluation(stage, f"last known answer: {stage}; {trouble}", degraded=True)


def _evaluated(source: FlagProvider, flag: str, attributes: Mapping[str, Any]) -> tuple[FlagEvaluation, str | None]:
    try:
        resolved = source.resolve(flag, attributes)
    except Exception as exc:  # noqa: BLE001 - whatever a provider raises, the submission goes on
        trouble = f"{source.name}: {exc or type(exc).__name__}"
        return FlagEvaluation(None, trouble), trouble
    answer = _read(resolved.value, resolved.reason, resolved.variant)
    note = f"{source.name}{source.note()}: {answer.detail}"
    return replace(answer, detail=note), None


def _read(value: str, reason: str, variant: str | None) -> FlagEvaluation:
    if reason.upper() in ("DEFAULT", "DISABLED", "ERROR"):
        told = f"no answer of its own (reason {reason})"
        return FlagEvaluation(None, told, variant, unset=reason.upper() != "ERROR")
    if value == UNSET:
        return FlagEvaluation(None, UNSET, variant, unset=True)
    if value not in list(Stage):
        return FlagEvaluation(
            None, f"answered {value!r}, which is no stage: use {', '.join(Stage)} or {UNSET}", variant, degraded=True
        )
    return FlagEvaluation(Stage(value), value, variant)


def _key(attributes: Mapping[str, Any]) -> Hashable:
    return tuple((name, _hashable(value)) for name, value in attributes.items())


def _hashable(value: Any) -> Hashable:
    return tuple(sorted(value.items())) if isinstance(value, Mapping) else value
