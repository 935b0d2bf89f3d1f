"""Observations side by side: what differs, and whose word says what that means.

Noise is learnt from the reference alone, which is observed at least twice. Of what two runs there disagree on, only
what they disagree on is forgiven: where both have a fact, so must everybody, and where both have a number, a text is
no noise. The contract has no noise: a fact of it that is not the same twice is for somebody to look at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version

from lyftlearn.parity._model import SEVERITY, Cell, Observation, Parity, Row, Verdict
from lyftlearn.parity._rules import Match, Rules, shipped_rules
from lyftlearn.parity._values import excerpt, json_text, kind

_Texts = Mapping[str, str]
_Seen = tuple[str | None, ...]

NOTHING_OBSERVED = "nothing was observed here: the jobs that observe have told nothing"
UNCLASSED = "nobody has classed this difference: mend it, or give it a rule"
_QUOTED = 60
# Numbers, and words of 8 characters and more with a digit among them: what a run names by counting or by chance.
_VARYING = re.compile(r"(?=[A-Za-z]*[0-9])[A-Za-z0-9]{8,}|[0-9]+")


def compare(
    reference: Sequence[Observation],
    others: Sequence[Observation],
    *,
    command: str | None = None,
    started_at: datetime,
    seconds: float,
    rules: Rules | None = None,
) -> Parity:
    """Hold what was observed on each backend against the reference, which was observed at least twice.

    others: any number of each backend; one without facts stands for a backend that could not be observed, of which
    nothing holds. rules: by default those of the container contract. Raises ValueError, which says every fault, for a
    reference that cannot be one.
    """
    _check(reference)
    judge = _Judge(reference, _by_backend(others), rules or shipped_rules())
    return Parity(
        reference=judge.name,
        backends=tuple(judge.others),
        rows=tuple(map(judge.row, judge.paths)),
        command=command,
        version=version("lyftlearn"),
        started_at=started_at,
        seconds=seconds,
        unmatched=judge.unused_patterns,
    )


def _check(reference: Sequence[Observation]) -> None:
    names = sorted({run.backend for run in reference})
    faults = [f"run {number} has no facts: look at its job" for number, run in enumerate(reference, 1) if not run.facts]
    if len(reference) < 2:
        faults.append(f"{len(reference)} runs: two are needed to tell noise from differences")
    if len(names) > 1:
        faults.append(f"is of several backends, {', '.join(names)}: choose one")
    if faults:
        raise ValueError("\n".join(f"reference: {fault}" for fault in faults))


def _by_backend(observations: Iterable[Observation]) -> dict[str, list[_Texts]]:
    found: dict[str, list[_Texts]] = {}
    for one in observations:
        found.setdefault(one.backend, []).append(_texts(one))
    return found


def _texts(observation: Observation) -> _Texts:
    return {path: json_text(value) for path, value in observation.facts.items()}


@dataclass(frozen=True)
class _Fact:
    """One fact as the reference has it, run by run, and what the rules say of it."""

    path: str
    seen: _Seen
    matches: tuple[Match, ...]
    comes_and_goes: bool

    @property
    def stable(self) -> bool:
        return len(set(self.seen)) == 1

    @property
    def first(self) -> str | None:
        return next((text for text in self.seen if text is not None), None)

    def explains(self, value: str | None) -> bool:
        """Whether a value is of a kind that the reference's own runs have where they disagree."""
        return self.comes_and_goes or (not self.stable and kind(value) in map(kind, self.seen))

    def match(self, names: Collection[str], value: str | None) -> Match | None:
        return next((match for match in self.matches if match.rule.admits(names, self.first, value)), None)


class _Judge:
    def __init__(self, reference: Sequence[Observation], others: Mapping[str, list[_Texts]], rules: Rules) -> None:
        self.name = reference[0].backend
        self.others = others
        self._runs = [_texts(run) for run in reference]
        self._rules = rules
        self._passing = _passing_families(self._runs)

    @cached_property
    def paths(self) -> list[str]:
        """Every path that anybody has, numbers in it by their size."""
        everyone = [*self._runs, *(run for runs in self.others.values() for run in runs)]
        return sorted({path for run in everyone for path in run}, key=_in_order)

    @cached_property
    def _matches(self) -> Mapping[str, tuple[Match, ...]]:
        return {path: self._rules.matches(path) for path in self.paths}

    @property
    def unused_patterns(self) -> tuple[str, ...]:
        """Patterns that no path met first."""
        return self._rules.unused_patterns({match for matches in self._matches.values() for match in matches})

    def row(self, path: str) -> Row:
        fact = self._fact(path)
        cells = {name: self._cell(fact, name, runs) for name, runs in self.others.items()}
        return Row(path=path, reference=fact.first, cells=cells)

    def _fact(self, path: str) -> _Fact:
        seen = tuple(run.get(path) for run in self._runs)
        passing = None in seen and _family(path) in self._passing
        return _Fact(path=path, seen=seen, matches=self._matches[path], comes_and_goes=passing)

    def _cell(self, fact: _Fact, name: str, runs: Sequence[_Texts]) -> Cell:
        """Judge the worst of a backend's runs."""
        if not any(runs):
            return Cell(verdict=Verdict.NOT_OBSERVED, value=None, reason=NOTHING_OBSERVED)
        cells = [self._judge(fact, name, run.get(fact.path)) for run in runs]
        return max(cells, key=lambda cell: SEVERITY.index(cell.verdict))

    def _judge(self, fact: _Fact, name: str, value: str | None) -> Cell:
        verdict, reason = self._verdict(fact, name, value)
        return Cell(verdict=verdict, value=value, reason=reason)

    def _verdict(self, fact: _Fact, name: str, value: str | None) -> tuple[Verdict, str]:
        if fact.stable and value == fact.first:
            return Verdict.EQUAL, ""
        match = fact.match((self.name, name), value)
        if not fact.explains(value):
            return _classify(match)
        if match and not match.rule.allowed:
            return Verdict.UNKNOWN, f"{_contract_sentence(match)}, but {self._noise(fact)}: mend it, or mask it"
        return Verdict.NOISE, self._noise(fact)

    def _noise(self, fact: _Fact) -> str:
        if fact.stable:
            return f"such facts come and go between runs on {self.name}"
        return f"two runs on {self.name} differ in it: {' and '.join(_samples(fact.seen))}"


def _classify(match: Match | None) -> tuple[Verdict, str]:
    if match is None:
        return Verdict.UNKNOWN, UNCLASSED
    if match.rule.allowed:
        return Verdict.ALLOWED, f"{match.rule.row}: {match.rule.reason}"
    return Verdict.BROKEN, _contract_sentence(match)


def _contract_sentence(match: Match) -> str:
    return f"the contract says that it is equal everywhere, under {match.rule.row!r}"


def _samples(seen: _Seen) -> list[str]:
    first, second = list(dict.fromkeys("(absent)" if text is None else text for text in seen))[:2]
    return [excerpt(first, second, _QUOTED), excerpt(second, first, _QUOTED)]


def _passing_families(runs: Sequence[_Texts]) -> frozenset[str]:
    """Return the families of paths of which different runs have different members, such as numbers of processes."""
    everywhere = set(runs[0]).intersection(*runs[1:])
    own = [{_family(path) for path in run.keys() - everywhere} - {""} for run in runs]
    return frozenset(
        family for number, families in enumerate(own) for family in families if _elsewhere(family, own, number)
    )


def _elsewhere(family: str, own: Sequence[set[str]], number: int) -> bool:
    return any(family in families for other, families in enumerate(own) if other != number)


def _family(path: str) -> str:
    """Return a path without what varies in it; nothing if nothing does."""
    family = _VARYING.sub("#", path)
    return family if family != path else ""


def _in_order(path: str) -> tuple[tuple[int, str], ...]:
    parts = re.split(r"([0-9]+)", path)
    return tuple((int(part[:18]), part) if part.isdecimal() and part.isascii() else (-1, part) for part in parts)
