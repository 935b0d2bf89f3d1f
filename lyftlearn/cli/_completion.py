"""Completion scripts, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import shtab

from lyftlearn.cli import _parser

_COMPLETED: dict[str, Any] = {
    "source": shtab.DIRECTORY,
    "dest": shtab.DIRECTORY,
    "_hyperparameters": shtab.FILE,
    "_config": shtab.FILE,
    "file": shtab.FILE,
    "html": shtab.FILE,
}


def script(shell: str) -> str:
    """Return the script that teaches `shell` to complete `lyftlearn`."""
    parser = _parser.parser()
    for action in _actions(parser):
        if action.help is argparse.SUPPRESS:  # the commands: the help lists them in its own way
            action.help = None
        if action.dest in _COMPLETED:
            action.complete = _COMPLETED[action.dest]  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse names its actions nowhere else
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from _actions(child)
