"""Which facts are the contract and which may differ, read from `rules.toml`.

A pattern is a path in which `*` stands for any characters of one word, and `**` for anything. The first pattern that
names a path decides, in the file's order. A rule of the class "contract" names what must be equal; one of the class
"allowed" what may differ, with its reason. `row` is where docs/reference/container-contract.md says so.

An allowed rule with `values`, patterns of JSON texts, steps back for the next one where a value is another: a service
variable is one by what is in it. One with `backends` does so where neither of the two is named: what one of them alone
cannot do excuses nobody else. One with `unobserved` instead of paths says why no observation shows the difference.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn._text.small_file import read_small_text
from lyftlearn.errors import InvalidJob

CONTRACT, ALLOWED = "contract", "allowed"
_FILE = "rules.toml"
_KEYS = {
    CONTRACT: ("class", "row", "paths"),
    ALLOWED: ("class", "row", "reason", "paths", "values", "backends", "unobserved"),
}
_TEXTS = {CONTRACT: ("row",), ALLOWED: ("row", "reason")}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one row of the documentation says of facts. reason: why they may differ; empty for the contract.

    values, backends: the only ones that it judges; any where there are none.
    """

    allowed: bool
    row: str
    reason: str
    patterns: tuple[str, ...]
    values: tuple[str, ...]
    backends: tuple[str, ...] = ()

    @property
    def conditional(self) -> bool:
        """Whether it may step back."""
        return bool(self.values or self.backends)

    def admits(self, names: Collection[str], *texts: str | None) -> bool:
        """Whether the rule judges facts of these values on these two backends; absent ones do not count."""
        if self.backends and not set(self.backends) & set(names):
            return False
        there = [text for text in texts if text is not None]
        return not self.values or all(any(_expression(one).fullmatch(text) for one in self.values) for text in there)


@dataclass(frozen=True)
class Match:
    """A rule, and which of its patterns named the path."""

    rule: Rule
    pattern: str


class Rules:
    """Rules in their order."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._compiled = [(_expression(pattern), Match(rule, pattern)) for rule in rules for pattern in rule.patterns]

    def unused_patterns(self, used: Collection[Match]) -> tuple[str, ...]:
        """Return the patterns, in order, that are in none of `used`."""
        return tuple(match.pattern for _, match in self._compiled if match not in used)

    def matches(self, path: str) -> tuple[Match, ...]:
        """Return those that may judge `path`, in order: up to the first that does so whatever the values are."""
        found = []
        for expression, match in self._compiled:
            if expression.fullmatch(path):
                found.append(match)
                if not match.rule.conditional:
                    break
        return tuple(found)


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    parts = {"**": ".*", "*": "[^ ]*"}
    return re.compile(
        "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", pattern)), re.DOTALL
    )


@cache
def shipped_rules() -> Rules:
    """Return the rules of the container contract."""
    return _parse(_FILE, files("lyftlearn.parity").joinpath(_FILE).read_text(encoding="utf-8"))


def load(path: str | os.PathLike[str]) -> Rules:
    """Return the rules of a file. Raises InvalidJob, which lists every fault; OSError for what cannot be read."""
    return _parse(str(path), read_small_text(path))


def _parse(origin: str, text: str) -> Rules:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidJob([(origin, f"is not TOML: {exc}")]) from exc
    faults = [(f"{origin}: {where}", problem) for where, problem in _faults(document)]
    if faults:
        raise InvalidJob(faults)
    return Rules(tuple(_rule(table) for table in document["rule"]))


def _rule(table: Mapping[str, Any]) -> Rule:
    return Rule(
        allowed=table["class"] == ALLOWED,
        row=table["row"],
        reason=table.get("reason", ""),
        patterns=tuple(table.get("paths", ())),
        values=tuple(table.get("values", ())),
        backends=tuple(table.get("backends", ())),
    )


def _faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    yield from (Fault(key, "is not known: write only [[rule]] tables") for key in document if key != "rule")
    tables = document.get("rule")
    if not isinstance(tables, list) or not tables:
        yield Fault("rule", "is missing: write [[rule]] tables")
        return
    earlier: dict[str, int] = {}
    for number, table in enumerate(tables, 1):
        yield from (Fault(f"rule {number}{where}", problem) for where, problem in _rule_faults(table))
        for pattern in _patterns(table):
            if pattern in earlier:
                yield Fault(f"rule {number}.paths", f"{pattern!r} stands in rule {earlier[pattern]} already: keep one")
            if not {"values", "backends"} & table.keys():
                earlier.setdefault(pattern, number)


def _rule_faults(table: Any) -> Iterator[Fault]:
    if not isinstance(table, Mapping):
        yield Fault("", f"is {table!r}: write a table")
        return
    chosen = str(table.get("class"))
    if chosen not in _KEYS:
        yield Fault(".class", f"is {table.get('class')!r}: write {' or '.join(_KEYS)}")
        return
    known = _KEYS[chosen]
    yield from (Fault(f".{key}", f"is not known here: write {', '.join(known)}") for key in table if key not in known)
    yield from (_must_be_text(table, key) for key in _TEXTS[chosen] if not _is_text(table.get(key)))
    if "unobserved" not in table:
        yield from _list_faults(table)
    elif not _is_text(table["unobserved"]) or "paths" in table:
        yield Fault(".unobserved", "stands for paths: write why no observation shows the difference, and no paths")


def _must_be_text(table: Mapping[str, Any], key: str) -> Fault:
    return Fault(f".{key}", f"is {table.get(key)!r}: write a text")


def _list_faults(table: Mapping[str, Any]) -> Iterator[Fault]:
    if not _patterns(table) or len(_patterns(table)) < len(table["paths"]):
        yield Fault(".paths", f"is {table.get('paths')!r}: write a list of patterns, words with one space between them")
    for key, what in (("values", "patterns of values"), ("backends", "names of backends")):
        given = table.get(key, ["*"])
        if not isinstance(given, list) or not given or not all(map(_is_text, given)):
            yield Fault(f".{key}", f"is {given!r}: write a list of {what}")


def _patterns(table: Any) -> list[str]:
    """Return those that could be patterns at all."""
    found = table.get("paths") if isinstance(table, Mapping) else None
    return [one for one in found if _is_text(one) and " ".join(one.split()) == one] if isinstance(found, list) else []


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
