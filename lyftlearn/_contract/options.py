"""Options as data: one declaration of each key of a configuration table.

From a declaration come the value that code uses, the fault that a person reads, the JSON Schema that an editor
completes by, and the row of the reference page. Backends declare their tables with the same kinds, so that a duration
or a gateway is written alike everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from lyftlearn._contract.fault import Fault
from lyftlearn._text import display
from lyftlearn._text.display import without_credentials
from lyftlearn._text.quantities import duration
from lyftlearn.runtime.location import Location

Schema: TypeAlias = Mapping[str, Any]

_DURATION_PATTERN = r"^(\d+(\.\d+)?[smhd])+$"
BUCKET_PATTERN = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
"""Of a bucket's name: docs.aws.amazon.com/AmazonS3, "General purpose bucket naming rules"."""
_GATEWAY_PATTERN = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})"
_LONGEST_SHOWN = 80  # characters of a value that a message repeats


class Kind(NamedTuple):
    """A kind of value.

    expected: what to write, in words. read: returns the value that code uses; raises ValueError for what is no such
    value. schema: its JSON Schema. resolve: returns the value that a file in a directory stands for, where it is
    relative to that file.
    """

    expected: str
    read: Callable[[Any], Any]
    schema: Schema
    resolve: Callable[[str, Path], str] | None = None


class Option(NamedTuple):
    """One key of a table.

    key: its name; `a.b` is `b` in the table `a` below. default: as a person would write it; None means that nothing is
    set. doc: its meaning, one or two sentences. example: as a person would write it.
    """

    key: str
    kind: Kind
    doc: str
    example: Any
    default: Any = None

    def default_value(self) -> Any:
        """Return the default as code uses it."""
        return None if self.default is None else self.kind.read(self.default)


def read_options(where: str, table: Mapping[str, Any], options: Sequence[Option]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the value of every option by its key, and what is wrong with the table. Never raises.

    where: what the table is called in faults. An option that is faulty, or that nobody set, has its default.
    """
    known = {option.key: option for option in options}
    values = {option.key: option.default_value() for option in options}
    faults: list[Fault] = []
    for key, value in _leaves(table, known):
        if key not in known:
            faults.append(Fault(f"{where}.{key}", f"is not known: {_advice(key, known)}"))
            continue
        try:
            values[key] = known[key].kind.read(value)
        except ValueError as exc:
            faults.append(
                Fault(f"{where}.{key}", f"is {display_value(value)}: write {str(exc) or known[key].kind.expected}")
            )
    return values, faults


def read_model_options(
    name: str, own: Mapping[str, Any], common: Mapping[str, Any], options: Sequence[Option]
) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """Return, by model, what its tables set, and what is wrong with them.

    own: the tables `[<name>.models.<model>]` of the backend `name`, which win over those of every backend that are in
    common, `[models.<model>]`.
    """
    models: dict[str, dict[str, Any]] = {}
    faults: list[Fault] = []
    unset = [option._replace(default=None) for option in options]
    for where, tables in (("models", common), (f"{name}.models", own)):
        for model, table in tables.items():
            values, wrong = read_options(f"{where}.{model}", table, unset)
            models.setdefault(model, {}).update({key: value for key, value in values.items() if value is not None})
            faults += wrong
    return models, faults


def json_schema(options: Sequence[Option]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a table with these options."""
    root: dict[str, Any] = _empty_table()
    for option in options:
        *groups, name = option.key.split(".")
        table = root
        for group in groups:
            table = table["properties"].setdefault(group, _empty_table())
        described = {"description": option.doc, "examples": [option.example]}
        default = {} if option.default is None else {"default": option.default}
        table["properties"][name] = {**option.kind.schema, **described, **default}
    return root


def nearest(word: str, words: Sequence[str]) -> str | None:
    """Return the one of `words` that `word` is most likely meant to be."""
    import difflib  # noqa: PLC0415 - only where something is amiss

    return next(iter(difflib.get_close_matches(word, words, n=1)), None)


def display_value(value: Any) -> str:
    """Return a value for a message: short, and without the user and password of a URL."""
    text = without_credentials(display.quote(value, most=10_000))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def one_of(*words: str) -> Kind:
    """Return the kind of one word of several."""

    def read(value: Any) -> str:
        return str(_require(isinstance(value, str) and value in words, value))

    return Kind(f"one of {', '.join(words)}", read, {"enum": list(words)})


def whole_number(low: int, high: int | None = None) -> Kind:
    """Return the kind of a whole number from `low` to `high`, both included."""

    def read(value: Any) -> int:
        return int(_require(type(value) is int and low <= value and (high is None or value <= high), value))

    expected = f"a whole number, {low} or more" if high is None else f"a whole number from {low} to {high}"
    bounds = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return Kind(expected, read, {"type": "integer", **bounds})


def number(low: float, high: float, *, below: bool = False) -> Kind:
    """Return the kind of a number from `low` to `high`; below: without `high` itself."""

    def read(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(_require(is_number and low <= value <= high and not (below and value == high), value))

    limit = {"exclusiveMaximum" if below else "maximum": high}
    expected = f"a number from {low:g} to {'below ' if below else ''}{high:g}"
    return Kind(expected, read, {"type": "number", "minimum": low, **limit})


def matching(pattern: str, expected: str) -> Kind:
    """Return the kind of a text that a regular expression describes as a whole: compiled where there is such a text."""

    def read(value: Any) -> str:
        return str(_require(isinstance(value, str) and re.fullmatch(pattern, value) is not None, value))

    return Kind(expected, read, {"type": "string", "pattern": f"^({pattern})$"})


def table_of(options: Sequence[Option]) -> Kind:
    """Return the kind of a table with these options, and no others; its value is a mapping of those that are set."""

    def read(value: Any) -> Mapping[str, Any]:
        table = _require(isinstance(value, Mapping), value)
        values, faults = read_options("", table, options)
        if faults:
            raise ValueError("; ".join(f"`{path[1:]}` {problem}" for path, problem in faults))
        return {key: value for key, value in values.items() if value is not None}

    names = ", ".join(option.key for option in options)
    return Kind(f"a table of {names}", read, json_schema(options))


def model_tables(options: Sequence[Option], example: Mapping[str, Any]) -> Option:
    """Return the option `models`: tables of these options, without defaults, for the jobs of one model each."""
    unset = [option._replace(default=None) for option in options]
    tables = mapping_of(TABLE, "a table for each model")
    schema = {"type": "object", "additionalProperties": json_schema(unset)}
    return Option(
        key="models",
        kind=Kind("a table of tables, one for each model", tables.read, schema),
        default={},
        doc="What jobs of one model get instead, by the model's name.",
        example=example,
    )


def list_of(kind: Kind, expected: str) -> Kind:
    """Return the kind of a list whose items are of one kind."""

    def read(value: Any) -> tuple[Any, ...]:
        return tuple(kind.read(item) for item in _require(isinstance(value, list | tuple), value))

    return Kind(expected, _in_words(expected, read), {"type": "array", "items": kind.schema})


def mapping_of(kind: Kind, expected: str, names: Kind | None = None) -> Kind:
    """Return the kind of a table whose keys a person chooses, and whose values are of one kind. names: of the keys."""

    def read(value: Any) -> Mapping[str, Any]:
        table = {str(key): kind.read(item) for key, item in _require(isinstance(value, Mapping), value).items()}
        return {names.read(key) if names else key: item for key, item in table.items()}

    only = {"propertyNames": names.schema} if names else {}
    return Kind(expected, _in_words(expected, read), {"type": "object", **only, "additionalProperties": kind.schema})


def from_folder(written: str, folder: Path) -> str:
    """Return a path that was written in a file in `folder` as one that holds everywhere; a URL stays as it is."""
    if "://" in written or written.startswith(("~", "$")):
        return written
    return str(folder / written)


def _text(value: Any) -> str:
    return str(_require(_any_text(value) != "" and "\0" not in value, value))


def _any_text(value: Any) -> str:
    """Return a text of whole characters; half a surrogate pair is none, and could not be sent."""
    return str(_require(isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value), value))


def _path(value: Any) -> str:
    """Return a path, which may have bytes that are no UTF-8, as Python writes them (PEP 383)."""
    without = re.sub("[\udc80-\udcff]", "x", value) if isinstance(value, str) else value
    return _text(without) and value


def _storage_url(value: Any) -> str:
    try:
        location = Location.parse(_path(value))
    except ValueError:
        raise ValueError from None
    is_bucket = re.fullmatch(BUCKET_PATTERN, location.bucket) is not None
    return str(_require((location.is_file or is_bucket) and not location.member, value))


def _flag_source(value: Any) -> str:
    scheme, separator, _ = _path(value).partition("://")
    return str(_require(not separator or scheme in ("http", "https", "flagd", "file"), value))


def _flag(value: Any) -> bool:
    return bool(_require(isinstance(value, bool), value))


def _gateway(value: Any) -> str:
    match = re.fullmatch(_GATEWAY_PATTERN, value) if isinstance(value, str) else None
    return str(_require(match is not None and 0 < int(match[2]) < 65536, value))


def _duration(value: Any) -> Any:
    """Return a timedelta; the number 0 needs no unit."""
    try:
        return timedelta() if (type(value), value) == (int, 0) else duration(value)
    except ValueError:
        raise ValueError from None


def _positive_duration(value: Any) -> Any:
    length = _duration(value)
    return _require(length.total_seconds() > 0, length)


def _any_table(value: Any) -> Mapping[str, Any]:
    return dict(_require(isinstance(value, Mapping), value))


def _require(condition: bool, value: Any) -> Any:
    """Return `value` where the condition holds. Raises ValueError, whose words are then the kind's."""
    if not condition:
        raise ValueError
    return value


def _in_words(expected: str, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `read` with one message for whatever is wrong inside."""

    def reading(value: Any) -> Any:
        try:
            return read(value)
        except ValueError as exc:
            raise ValueError(str(exc) or expected) from exc

    return reading


def _leaves(table: Mapping[str, Any], known: Mapping[str, Option], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each option; tables that only group options are entered."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        is_group = key not in known and any(option.startswith(f"{key}.") for option in known)
        if isinstance(value, Mapping) and is_group:
            yield from _leaves(value, known, f"{key}.")
        else:
            yield key, value


def _advice(key: str, known: Mapping[str, Option]) -> str:
    meant = nearest(key, list(known))
    return f"write {', '.join(sorted(known))}" + (f"; did you mean {meant}?" if meant else "")


def _empty_table() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


_DURATION_SCHEMA = {"type": "string", "pattern": _DURATION_PATTERN}
TEXT = Kind("a text", _text, {"type": "string", "minLength": 1})
FLAG = Kind("true or false", _flag, {"type": "boolean"})
PATH = Kind("a path", _path, {"type": "string", "minLength": 1}, resolve=from_folder)
FLAG_SOURCE = Kind(
    "http(s)://<host>, flagd://<host>, file:///<path> or a path",
    _flag_source,
    {"type": "string", "minLength": 1},
    resolve=from_folder,
)
STORAGE_URL = Kind(
    "s3://<bucket>/<prefix>, file:///<path> or a path",
    _storage_url,
    {"type": "string", "minLength": 1},
    resolve=from_folder,
)
DURATION = Kind('a duration such as "90s", "1h30m" or "7d"', _duration, {"anyOf": [_DURATION_SCHEMA, {"const": 0}]})
POSITIVE_DURATION = Kind('a duration above 0 such as "90s", "1h30m" or "7d"', _positive_duration, _DURATION_SCHEMA)
GATEWAY = Kind('a StatsD gateway, "host:port"', _gateway, {"type": "string", "pattern": f"^{_GATEWAY_PATTERN}$"})
TABLE = Kind("a table", _any_table, {"type": "object"})
TEXTS = list_of(TEXT, "a list of texts")
TEXT_TABLE = mapping_of(Kind("a text", _any_text, {"type": "string"}), "a table of texts")
TABLES = list_of(TABLE, "a list of tables")
