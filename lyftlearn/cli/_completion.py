"""Completion scripts, made from the parser, and the words that they ask for."""

from __future__ import annotations

import argparse
import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import shtab

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn.backend import JobQuery
from lyftlearn.cli import _parser
from lyftlearn.history.recall import list_records

_IDS, _BACKENDS = "ids", "backends"
_SECONDS = 3.0  # a person waits at a prompt
_MOST_IDS = 50


def _function(name: str) -> dict[str, str]:
    """Return what completes a word in each shell: a function of the preamble, or a command."""
    return {"bash": f"_lyftlearn_{name}", "zsh": f"_lyftlearn_{name}", "tcsh": f"`lyftlearn completion {name}`"}


_COMPLETED: Mapping[str, Any] = {
    "source": shtab.DIRECTORY,
    "dest": shtab.DIRECTORY,
    "_hyperparameters": shtab.FILE,
    "_config": shtab.FILE,
    "file": shtab.FILE,
    "html": shtab.FILE,
    "id": _function(_IDS),
    "ids": _function(_IDS),
    "artifact": _function(_IDS),
    "_backend": _function(_BACKENDS),
    "on": _function(_BACKENDS),
}
_PREAMBLE: Any = {
    "bash": "\n".join(
        f'_lyftlearn_{name}() {{ compgen -W "$(lyftlearn completion {name} 2> /dev/null)" -- "$1"; }}'
        for name in (_IDS, _BACKENDS)
    ),
    "zsh": "\n".join(
        f'_lyftlearn_{name}() {{ compadd -- ${{(f)"$(lyftlearn completion {name} 2> /dev/null)"}} }}'
        for name in (_IDS, _BACKENDS)
    ),
}


def script(shell: str) -> str:
    """Return the script that teaches `shell` to complete `lyftlearn`."""
    parser = _parser.parser()
    for action in _actions(parser):
        if action.help is argparse.SUPPRESS:  # the commands: the help lists them in its own way
            action.help = None
        if action.dest in _COMPLETED:
            action.complete = _COMPLETED[action.dest]  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell, preamble=_PREAMBLE))


def words(kind: str, config: str | None) -> list[str]:
    """Return the words of a kind that a shell offers: what is found in a few seconds, and nothing where all fails."""
    found: list[str] = []
    thread = threading.Thread(target=_gather, args=(_SOURCES[kind], config, found), daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return list(found)


def _gather(source: Callable[[str | None], Iterator[str]], config: str | None, found: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # a prompt is no place for errors
            found.extend(source(config))


def _ids(config: str | None) -> Iterator[str]:
    session = Client(config=config)._session  # noqa: SLF001 - what a prompt has no time for is left out
    found = list_records(session.registry, None, session.in_use(), JobQuery())
    return (record.id for record, _ in islice(found, _MOST_IDS))


def _backends(config: str | None) -> Iterator[str]:
    return (installed.name for installed in ops.backends(Client(config=config)))


_SOURCES = {_IDS: _ids, _BACKENDS: _backends}
WORDS = tuple(_SOURCES)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse names its actions nowhere else
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from _actions(child)
