"""Asking the flag: who answers, how long that may take, and what was last known.

A provider that the host application gave to OpenFeature is asked first (domain `lyftlearn`, else the global one).
Without one, `LYFTLEARN_FLAGS` or `[migration] flags` names a flagd definition file, an OFREP service by URL, or a flagd
address. Nothing that a flag service does, or fails to do, raises or takes longer than the budget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lyftlearn import _telemetry
from lyftlearn._text.display import printable, quote, reason_of
from lyftlearn._text.redaction import redact
from lyftlearn.rollout.flag_cache import PersistentFlagCache
from lyftlearn.rollout.stage import Stage

if TYPE_CHECKING:
    from lyftlearn.config import Config
    from lyftlearn.rollout.flag_providers import FlagProvider

UNSET = "unset"
_MOST_KEPT = 10_000  # answers; a service that labels its jobs by the minute must not grow for ever
_MOST_HUNG = 4  # questions without an answer, each with a thread, before no more are asked
_LONGEST_DETAIL = 200
_LONGEST_READ = 10_000
_NO_SOURCE = "no provider, and neither LYFTLEARN_FLAGS nor [migration] flags is set"


class FlagEvaluation(NamedTuple):
    """What the flag said. stage: None where it did not really answer. detail: in words, for whoever asks why.

    unset: whether it was asked and has no opinion (any more), so that what it said before no longer counts. degraded:
    whether it did not answer as it should, which every job's decision then tells. reason: OpenFeature's, of the value.
    """

    stage: Stage | None
    detail: str
    variant: str | None = None
    unset: bool = False
    degraded: bool = False
    reason: str = "error"
    provider: str = ""


class FlagSource(Protocol):
    """Whoever says what the flag is for a job."""

    def ask(self, attributes: Mapping[str, Any]) -> FlagEvaluation:
        """Return the answer for a job with these attributes. Never raises."""
        ...


class Flags:
    """The flag of one configuration. Answers are kept for `[migration] cache`; safe to share between threads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._last_known = PersistentFlagCache(config.home / "flags")
        self._kept: dict[Hashable, tuple[float, FlagEvaluation]] = {}
        self._away_until = 0.0
        self._away_because = ""
        self._hung: list[threading.Thread] = []
        self._own: FlagProvider | None = None

    def ask(self, attributes: Mapping[str, Any]) -> FlagEvaluation:
        """Return the answer for a job with these attributes. Never raises."""
        key = _key(attributes)
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now < kept[0]:
            self._trace(kept[1], "cached")
            return kept[1]
        answer = self._ask(attributes, now)
        self._trace(answer, answer.reason)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = (now + self._config.migration_cache, answer)
        return answer

    def _trace(self, answer: FlagEvaluation, reason: str) -> None:
        """Tell whoever traces the submission, by the semantic conventions of feature flags."""
        told = {
            "feature_flag.key": self._config.migration_flag,
            "feature_flag.provider.name": answer.provider,
            "feature_flag.result.reason": reason,
            "feature_flag.result.value": str(answer.stage or ""),
            "feature_flag.result.variant": answer.variant or "",
        }
        _telemetry.add_event("feature_flag.evaluation", {name: text for name, text in told.items() if text})

    def _ask(self, attributes: Mapping[str, Any], now: float) -> FlagEvaluation:
        try:
            source = self._source()
        except Exception as exc:  # noqa: BLE001 - a broken flag service must never cost a submission
            return self._last_answer(attributes, f"cannot be asked: {_describe(exc)}")
        if source is None:
            return FlagEvaluation(None, _NO_SOURCE)
        if now < self._away_until:
            return self._last_answer(attributes, f"away: {self._away_because}")
        answer, trouble = self._within_budget(source, attributes)
        if trouble is not None:
            self._note_absence(trouble, now)
            return self._last_answer(attributes, trouble)
        if answer.stage is not None:
            self._last_known.keep(self._config.migration_flag, attributes, answer.stage)
        elif answer.unset:
            self._last_known.forget(self._config.migration_flag, attributes)
        return answer

    def _note_absence(self, trouble: str, asked: float) -> None:
        """Spare other models the waiting. An error that came at once may be about one model, and costs no time."""
        now = time.monotonic()
        if now - asked >= self._config.migration_budget / 2:
            self._away_until, self._away_because = now + self._config.migration_cache, trouble

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
            return evaluate(source, self._config.migration_flag, attributes)
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= _MOST_HUNG:
            silence = f"{len(self._hung)} earlier questions have no answer yet"
            return FlagEvaluation(None, silence), silence
        answers: list[tuple[FlagEvaluation, str | None]] = []
        asking = threading.Thread(
            target=lambda: answers.append(evaluate(source, self._config.migration_flag, attributes)),
            name="lyftlearn-flag",
            daemon=True,
        )
        try:
            asking.start()
        except RuntimeError as exc:  # this process may have no more threads
            return FlagEvaluation(None, str(exc)), str(exc)
        asking.join(self._config.migration_budget)
        if answers:
            return answers[0]
        self._hung.append(asking)
        silence = f"no answer within {self._config.migration_budget:g} s"
        return FlagEvaluation(None, silence), silence

    def _last_answer(self, attributes: Mapping[str, Any], trouble: str) -> FlagEvaluation:
        stage = self._last_known.find(self._config.migration_flag, attributes)
        if stage is None:
            return FlagEvaluation(None, f"no earlier answer is known; {trouble}", degraded=True)
        return FlagEvaluation(stage, f"last known answer: {stage}; {trouble}", degraded=True, reason="stale")


def evaluate(source: FlagProvider, flag: str, attributes: Mapping[str, Any]) -> tuple[FlagEvaluation, str | None]:
    """Return the answer of a source, and what kept it from giving one. Keeps nothing, and never raises."""
    try:
        resolution = source.resolve(flag, attributes)
        answer = _read(resolution.value, str(resolution.reason), resolution.variant)
    except Exception as exc:  # noqa: BLE001 - whatever a provider raises, the submission goes on
        trouble = f"{source.name}: {_describe(exc)}"
        return FlagEvaluation(None, trouble), trouble
    note = f"{source.name}{source.note()}: {answer.detail}"
    return answer._replace(detail=note, reason=_shorten(str(resolution.reason)).lower(), provider=source.name), None


def _describe(exc: Exception) -> str:
    return _shorten(reason_of(exc)) or type(exc).__name__


def _shorten(text: str) -> str:
    """Return what others wrote, as it may travel with a job: on one short line, without secrets."""
    line = printable(redact(text[:_LONGEST_READ]))
    return line if len(line) <= _LONGEST_DETAIL else f"{line[:_LONGEST_DETAIL]}..."


def _read(value: Any, reason: str, variant: Any) -> FlagEvaluation:
    named = None if variant is None else _shorten(str(variant))
    if reason.upper() in ("DEFAULT", "DISABLED", "ERROR"):
        detail = f"no answer of its own (reason {reason.upper()})"
        return FlagEvaluation(None, detail, named, unset=reason.upper() != "ERROR")
    if value == UNSET:
        return FlagEvaluation(None, UNSET, named, unset=True)
    if not isinstance(value, str) or value not in list(Stage):
        detail = f"answered {_shorten(quote(value))}, which is no stage: use {', '.join(Stage)} or {UNSET}"
        return FlagEvaluation(None, detail, named, degraded=True)
    return FlagEvaluation(Stage(value), str(value), named)


def _key(attributes: Mapping[str, Any]) -> Hashable:
    return tuple((name, _hashable(value)) for name, value in attributes.items())


def _hashable(value: Any) -> Hashable:
    return tuple(sorted(value.items())) if isinstance(value, Mapping) else value
