"""One command line, read: what goes to the API, and what is the command line's own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lyftlearn.cli import _parser
from lyftlearn.cli._usage import refuse
from lyftlearn.types import Resources

_RUNS_A_COMMAND = frozenset(("train", "process", "predict", "tune", "serve", ("parity", "run")))
_ABOUT_A_JOB = ("plan", "explain")
_RESOURCES = tuple(Resources.__dataclass_fields__)


@dataclass(frozen=True)
class Invocation:
    """A command with its options. `arguments`: those of the API function, only those that were given."""

    command: str
    function: str | None
    backend: str | None
    json: bool
    config: str | None
    wait: bool
    follow: bool
    arguments: dict[str, Any]


def read(argv: Sequence[str]) -> Invocation:
    """Read a command line. Exits with 2 after saying what is wrong with it; with 0 after --help and --version."""
    words, command = _parser.split(_as_options(list(argv)))
    named = next((word for word in words if not word.startswith("-")), None)
    parser = _parser.parser(named if named in _parser.COMMANDS else None)
    if words and words[0].startswith("-") and not {*words} & {"-h", "--help", "--version"}:
        parser.error(f"the command comes first, and then its options: lyftlearn COMMAND {words[0]} ...")
    namespace, unknown = parser.parse_known_args(words)
    options = vars(namespace)
    if unknown:
        path = [options[name] for name in ("_command", "_function") if name in options]
        refuse(_parser.parser(), path, words, unknown, runs=not command and _runs_a_command(options))
    if command:
        _attach_command(parser, options, command)
    return _invocation(options)


def _as_options(argv: list[str]) -> list[str]:
    """Return what was typed, with `help` and nothing at all as the option that they mean."""
    return [*argv[1:], "--help"] if argv[:1] in ([], ["help"]) else argv


def _runs_a_command(options: Mapping[str, Any]) -> bool:
    name, function = options["_command"], options.get("_function")
    return name in _RUNS_A_COMMAND or (name, function) in _RUNS_A_COMMAND or (name in _ABOUT_A_JOB and bool(function))


def _attach_command(parser: argparse.ArgumentParser, options: dict[str, Any], command: list[str]) -> None:
    if not _runs_a_command(options):
        parser.error(f"`{options['_command']}` runs nothing: leave out what follows `--`")
    if "command" in options:
        parser.error("two commands: write one after `--`, or one in --command")
    options["command"] = command


def _invocation(options: dict[str, Any]) -> Invocation:
    own = {name.removeprefix("_"): value for name, value in options.items() if name.startswith("_")}
    arguments = {name: value for name, value in options.items() if not name.startswith("_")}
    resources = {name: own[name] for name in _RESOURCES if name in own}
    if resources:
        arguments["resources"] = Resources(**resources)
    if "hyperparameters" in own or "hyperparameter" in own:
        arguments["hyperparameters"] = {**own.get("hyperparameters", {}), **own.get("hyperparameter", {})}
    return Invocation(
        command=own["command"],
        function=own.get("function"),
        backend=own.get("backend"),
        json=own.get("json", False),
        config=own.get("config"),
        wait=own.get("wait", False) or own.get("follow", False),
        follow=own.get("follow", False),
        arguments=arguments,
    )
