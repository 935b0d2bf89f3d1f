"""What a mistake in a command line is answered with: what is wrong, and the line that was probably meant."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """Reads words as argparse does, and names the nearest known word for an unknown one."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"{value!r} is not known.{nearest(str(value), known)} Write one of: {', '.join(known)}"
            )

    def options(self) -> list[str]:
        """Return the long options that this parser and its commands know."""
        own = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        groups = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
        return own + [option for group in groups for child in group.choices.values() for option in child.options()]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the question whether a known word was meant; nothing if none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def refuse(parser: CommandParser, words: Sequence[str], unknown: Sequence[str], *, runs: bool) -> NoReturn:
    """Exit with 2, saying which words are not known. runs: whether the command takes a command of the user's."""
    first = unknown[0]
    if runs and not first.startswith("-"):
        at = _position(words, unknown)
        meant = shlex.join(["lyftlearn", *words[:at], "--", *words[at:]])
        parser.error(f"{first!r} is not known here. The job's command comes last, after `--`: {meant}")
    option = first.partition("=")[0]
    near = nearest(option, parser.options()) if option.startswith("-") else ""
    parser.error(f"{first!r} is not known here.{near}")


def _position(words: Sequence[str], unknown: Sequence[str]) -> int:
    """Return where the first unknown word stands, read from the end: the value of an option may be the same word."""
    at = len(words)
    for word in reversed(unknown):
        at = max(place for place in range(at) if words[place] == word)
    return at
