"""Answers of a flag that nobody obeys yet. Asking keeps nothing, so it changes no answer that a job gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lyftlearn.rollout.flag_providers import FlagProvider
from lyftlearn.rollout.flags import FlagEvaluation, evaluate


class WhatIfFlags:
    """The flag as one source has it. troubles: what kept the source from answering, each once, in its words."""

    def __init__(self, source: FlagProvider | None, flag: str) -> None:
        self._source = source
        self._flag = flag
        self.troubles: dict[str, None] = {}

    def ask(self, attributes: Mapping[str, Any]) -> FlagEvaluation:
        """Return the answer for a job with these attributes. Never raises."""
        if self._source is None:
            return FlagEvaluation(None, "no source of flags is configured")
        answer, trouble = evaluate(self._source, self._flag, attributes)
        if trouble is not None:
            self.troubles.setdefault(trouble)
        return answer
