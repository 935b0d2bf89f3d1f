"""What a mistake in a command line is answered with: what is wrong, and the line that was probably meant."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

_SHOWN = 4


class CommandParser(argparse.ArgumentParser):
    """Reads words as argparse does, and names the nearest known word for an unknown one."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"{value!r} is not known.{nearest(str(value), known)} Write one of: {', '.join(known)}"
            )

    def options(self) -> list[str]:
        """Return the long options of this very command."""
        return [option for action in self._actions for option in action.option_strings if option.startswith("--")]

    def children(self) -> dict[str, CommandParser]:
        """Return the commands, views or functions below this one, by their names."""
        groups = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
        return {name: child for group in groups for name, child in group.choices.items()}

    def chosen(self, names: Iterable[str]) -> CommandParser:
        """Return the parser of the command that these names lead to."""
        name = next(iter(names), None)
        return self if name is None else self.children()[name].chosen(list(names)[1:])

    def knowing(self, option: str) -> list[str]:
        """Return the names of the commands at or below this one that know the option."""
        own = [self.prog] if option in self.options() else []
        return own + [name for child in self.children().values() for name in child.knowing(option)]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the question whether a known word was meant; nothing if none is near."""
    letters = {one.lstrip("-"): one for one in known if one != word}
    near = get_close_matches(word.lstrip("-"), letters, n=1)
    return f" Did you mean {letters[near[0]]!r}?" if near else ""


def refuse(
    parser: CommandParser, path: Sequence[str], words: Sequence[str], unknown: Sequence[str], *, runs: bool
) -> NoReturn:
    """Exit with 2, saying which words are not known.

    parser: one that knows every command's options. path: the names of the command that was typed. runs: whether that
    takes a command of the user's.
    """
    first = unknown[0]
    if runs and not first.startswith("-"):
        at = _position(words, unknown)
        meant = shlex.join(["lyftlearn", *words[:at], "--", *words[at:]])
        parser.error(f"{first!r} is not known here. The job's command comes last, after `--`: {meant}")
    option = first.partition("=")[0]
    hint = _hint(parser, path, option) if option.startswith("-") else ""
    parser.error(f"{first!r} is not known here.{hint}")


def _hint(parser: CommandParser, path: Sequence[str], option: str) -> str:
    """Say which other commands know the option, those beside this one first; or else what was probably meant."""
    beside, near = f"{parser.prog} {path[0]} ", nearest(option, parser.chosen(path).options())
    names = sorted(parser.knowing(option), key=lambda name: not name.startswith(beside))
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" It is an option of: {', '.join(names[:_SHOWN])}{more}." if names else near


def _position(words: Sequence[str], unknown: Sequence[str]) -> int:
    """Return where the first unknown word stands, read from the end: the value of an option may be the same word."""
    at = len(words)
    for word in reversed(unknown):
        at = max(place for place in range(at) if words[place] == word)
    return at
