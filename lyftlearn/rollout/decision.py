"""Which backend a job goes to, and why.

`[migration] from` and `to` name the old backend and the new one. A *stage* says how far a job has moved between them; a
flag, evaluated by OpenFeature, gives the stage. Who decides, first match wins:

1. `LYFTLEARN_BACKEND`, the operator's override, a backend's name;
   then `[migration] kill_switch`, a file or object that means `off` while it is there;
2. the flag, where its provider really answered; else its last known answer, if the provider is away;
3. `[migration] stage`, the repository's own;
4. `[migration] default`, the platform's;
5. `off`.

`[migration] ceiling` is a stage that 2 to 5 never exceed. Deciding never raises: what is wrong with a source is part of
what it said, and the next one is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from lyftlearn._text.display import printable
from lyftlearn._text.redaction import redact
from lyftlearn.config import DEFAULT, Config
from lyftlearn.errors import DEFINITE_REFUSALS, AccessDenied, InvalidJob, QuotaExceeded
from lyftlearn.rollout.flags import FlagEvaluation, Flags, FlagSource
from lyftlearn.rollout.kill_switch import KillSwitch
from lyftlearn.rollout.stage import Stage

OVERRIDE, KILL_SWITCH = "LYFTLEARN_BACKEND", "[migration] kill_switch"
PARITY = "lyftlearn parity"
"""The source of the decision of a job that is there to compare backends: it belongs to no migration."""
NOBODY = "nobody"
"""The source of a decision that no setting and no flag made."""
OF_CALLER = "caller"
"""The source of the decision of somebody who named the backend."""
_LONGEST_REASON = 200  # the decision travels with the job, where space is short

Source: TypeAlias = tuple[str, str]
_encode = json.JSONEncoder(sort_keys=True).encode
_FIELDS: Mapping[type[Exception], str] = {AccessDenied: "access", QuotaExceeded: "quota"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer, with its reason. Every job carries it.

    stage: None where no migration is configured, or the operator's override decided. other: the backend of the other
    side, which a rehearsal plans for, a shadow runs on, and a live job falls back to. source: what decided. variant: of
    the flag. fell_back: whether the first choice had certainly refused. sources: every source that was asked,
    in order, and its answer. refusal: what the first choice refused the job for, pairs of field and problem.
    attributes: what the flag was given.
    """

    backend: str
    reason: str
    source: str
    stage: Stage | None = None
    other: str | None = None
    flag: str | None = None
    variant: str | None = None
    fell_back: bool = False
    sources: tuple[Source, ...] = ()
    refusal: tuple[Source, ...] = ()
    attributes: Mapping[str, Any]

    @classmethod
    def from_json(cls, text: str) -> Decision | None:
        """Return the decision that `as_json` wrote; None where the job's substrate has lost or cut it."""
        try:
            carried = json.loads(text)
            stage = Stage(carried["stage"]) if carried["stage"] else None
            return cls(
                backend=str(carried["backend"]),
                reason=str(carried["reason"]),
                source=str(carried["source"]),
                stage=stage,
                flag=carried["flag"] and str(carried["flag"]),
                variant=carried["variant"] and str(carried["variant"]),
                fell_back=bool(carried["fell_back"]),
                sources=tuple((str(name), str(answer)) for name, answer in carried.get("asked", ())),
                attributes={},
            )
        except (TypeError, ValueError, KeyError, RecursionError):
            return None

    @property
    def asked(self) -> tuple[Source, ...]:
        """`sources`, under its name in 1.0."""
        return self.sources

    def after_refusal(self, refusal: Exception) -> Decision | None:
        """Return the decision to fall back on after the backend certainly refused, or None where none is allowed."""
        if self.stage is not Stage.LIVE or self.fell_back or self.other is None:
            return None
        if not isinstance(refusal, DEFINITE_REFUSALS):
            return None
        named = tuple(refusal.faults) if isinstance(refusal, InvalidJob) else ()
        words = "; ".join(": ".join(fault) for fault in named) or str(refusal)
        reason = f"{self.reason}; {self.backend} refused: {_shorten(words)}"
        faults = named or ((_FIELDS.get(type(refusal), "backend"), str(refusal)),)
        return replace(self, backend=self.other, other=self.backend, reason=reason, fell_back=True, refusal=faults)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**self._travelling(), "other": self.other, "asked": self.sources, "attributes": dict(self.attributes)}

    def as_json(self) -> str:
        """Return one line for the job to carry: the answer and its reason, without what other sources said."""
        return _encode(self._travelling())

    def _travelling(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "stage": self.stage and str(self.stage),
            "reason": self.reason,
            "source": self.source,
            "flag": self.flag,
            "variant": self.variant,
            "fell_back": self.fell_back,
        }


def of_caller(backend: str, attributes: Mapping[str, Any]) -> Decision:
    """Return the decision of somebody who names the backend, for a plan that is looked at."""
    return Decision(backend=backend, reason=f"{backend} was asked for", source=OF_CALLER, attributes=attributes)


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."


class _StageChoice(NamedTuple):
    stage: Stage
    source: str
    variant: str | None = None
    remark: str = ""


class Rollout:
    """Decides, for one configuration.

    installed: asked for the names of backends, and only when one must be there. flags: by default those configured.
    """

    def __init__(
        self, config: Config, installed: Callable[[], Collection[str]], flags: FlagSource | None = None
    ) -> None:
        self._config = config
        self._installed = installed
        self._flags = flags or Flags(config)
        self._kill_switch = KillSwitch(config)

    def decide(self, attributes: Mapping[str, Any]) -> Decision:
        """Return where a job with these attributes goes now. Never raises."""
        override = os.environ.get(OVERRIDE, "")
        sources: list[Source] = [(OVERRIDE, override or "not set")]
        if override:
            return Decision(
                backend=override,
                reason=f"{OVERRIDE} says so",
                source=OVERRIDE,
                sources=tuple(sources),
                attributes=attributes,
            )
        if self._config.migration_to is None:
            return self._without_migration(sources, attributes)
        return self.decide_by_stage(attributes, sources)

    def decide_by_stage(self, attributes: Mapping[str, Any], sources: list[Source]) -> Decision:
        """Return where the migration sends a job, whatever an operator's override says. Never raises."""
        choice = self._choose_stage(attributes, sources)
        stage, reason = self._feasible_stage(choice, sources)
        return self._decision(stage, reason, choice, sources, attributes)

    def _without_migration(self, sources: list[Source], attributes: Mapping[str, Any]) -> Decision:
        origin, backend = self._config.origin("backend"), self._config.backend
        sources.append((origin, backend))
        return Decision(
            backend=backend,
            reason="nothing is configured" if origin == DEFAULT else f"`backend` in {origin}",
            source=origin,
            sources=tuple(sources),
            attributes=attributes,
        )

    def _choose_stage(self, attributes: Mapping[str, Any], sources: list[Source]) -> _StageChoice:
        if self._config.kill_switch is not None:
            pulled, seen = self._kill_switch.look()
            sources.append((KILL_SWITCH, _shorten(printable(redact(seen)))))
            if pulled:
                return _StageChoice(Stage.OFF, KILL_SWITCH)
        answer: FlagEvaluation = self._flags.ask(attributes)
        sources.append((f"flag {self._config.migration_flag}", answer.detail))
        settings = (
            ("[migration] stage", _stage(self._config.migration_stage)),
            ("[migration] default", _stage(self._config.migration_default)),
        )
        sources.extend((name, self._with_origin(name, stage)) for name, stage in settings)
        remark = f" (flag: {_shorten(answer.detail)})" if answer.degraded else ""
        if answer.stage is not None:
            return _StageChoice(answer.stage, f"flag {self._config.migration_flag}", answer.variant, remark)
        settled = ((name, stage) for name, stage in settings if stage)
        source, stage = next(settled, (NOBODY, Stage.OFF))
        return _StageChoice(stage, source, remark=remark)

    def _with_origin(self, name: str, stage: Stage | None) -> str:
        """Return a setting as an answer that names the file it stands in."""
        if stage is None:
            return "not set"
        origin = self._config.origin(f"migration.{name.rpartition(' ')[2]}")
        return str(stage) if origin == DEFAULT else f"{stage}, in {origin}"

    def _feasible_stage(self, choice: _StageChoice, sources: list[Source]) -> tuple[Stage, str]:
        """Return the stage that can be honoured, and why it is that one."""
        said = "no stage is set" if choice.source == NOBODY else f"{choice.source} says {choice.stage}"
        stage, reason = choice.stage, f"{said}{choice.remark}"
        ceiling, target = _stage(self._config.migration_ceiling), str(self._config.migration_to)
        if ceiling is not None and ceiling < stage:
            sources.append(("[migration] ceiling", self._with_origin("[migration] ceiling", ceiling)))
            stage, reason = ceiling, f"{reason}; [migration] ceiling keeps it at {ceiling}"
        if stage in (Stage.REHEARSE, Stage.SHADOW, Stage.LIVE) and target not in self._installed():
            sources.append((f"backend {target}", "is not installed"))
            stage, reason = Stage.OFF, f"{reason}; but backend {target} is not installed here"
        return stage, reason

    def _decision(
        self, stage: Stage, reason: str, choice: _StageChoice, sources: list[Source], attributes: Mapping[str, Any]
    ) -> Decision:
        old, new = self._config.migration_from, str(self._config.migration_to)
        moved = stage >= Stage.LIVE
        return Decision(
            backend=new if moved else old,
            other=old if moved else new,
            stage=stage,
            reason=reason,
            source=choice.source,
            flag=self._config.migration_flag,
            variant=choice.variant,
            sources=tuple(sources),
            attributes=attributes,
        )


def _stage(name: str | None) -> Stage | None:
    return None if name is None else Stage(name)


def in_use(config: Config) -> list[str]:
    """Return the backends whose jobs belong to this configuration, without doubles."""
    names = (os.environ.get(OVERRIDE), config.migration_from, config.migration_to)
    return list(dict.fromkeys(name for name in names if name))
