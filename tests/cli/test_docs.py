"""The page about the command line, and the help."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyftlearn.cli import _parser

from .conftest import CommandLine

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from actions(child)


def test_the_page_names_every_command_and_option() -> None:
    """An option that is added without a word about it is found by nobody."""
    options = {option for action in actions(_parser.parser()) for option in action.option_strings if len(option) > 2}
    undocumented = {option for option in options if option not in PAGE} - {"--help", "--version"}
    assert not undocumented
    assert all(f"`{command}" in PAGE for command in _parser.COMMANDS)


def test_every_option_has_a_help_text() -> None:
    """`--help` is the manual most people read."""
    assert not [action for action in actions(_parser.parser()) if not action.help and action.dest != "_function"]


@pytest.mark.parametrize("command", [(), *((command,) for command in _parser.COMMANDS)])
def test_help_fits_a_terminal(lyftlearn: CommandLine, command: tuple[str, ...]) -> None:
    """Help is printed for every command, with success, and no line of it wraps in a usual window."""
    ran = lyftlearn(*command, "--help", COLUMNS="100")
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 100


def test_version_is_printed(lyftlearn: CommandLine) -> None:
    """The first question in every report of a fault."""
    ran = lyftlearn("--version")
    assert ran.code == 0
    assert ran.out.startswith("lyftlearn ")
