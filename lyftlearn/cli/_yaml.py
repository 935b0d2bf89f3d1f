"""Plain data as YAML that every parser reads alike, of YAML 1.1 and 1.2. Loads PyYAML."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from lyftlearn.cli import _output

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]+")  # else quoted: to some parsers `1e3` is a number, and `y` is true
_LONG, _SHOWN = 200, 100


class _Whole(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True  # what stands twice is written twice


class _Short(_Whole):
    """Cuts long texts."""


def _whole_text(dumper: yaml.SafeDumper, text: str) -> Any:
    quotes = "'" if text.isprintable() else '"'  # only the latter keep every kind of line break
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _WORD.fullmatch(text) else quotes)


def _short_text(dumper: yaml.SafeDumper, text: str) -> Any:
    return _whole_text(dumper, text if len(text) <= _LONG else f"{text[:_SHOWN]}... ({len(text)} characters)")


_Whole.add_representer(str, _whole_text)
_Short.add_representer(str, _short_text)


def document(value: Any, *, short: bool = False) -> str:
    """Return one document, its keys in their order and each text on one line. short: long texts are cut, for eyes."""
    plain = json.loads(json.dumps(value, default=_output.to_plain))
    dumper = _Short if short else _Whole
    text: str = yaml.dump(plain, Dumper=dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text
