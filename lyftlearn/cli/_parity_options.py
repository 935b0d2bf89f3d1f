"""The options of `parity run` and `parity show`."""

from __future__ import annotations

import argparse

from lyftlearn.cli import _job_options

_RUN_HELP = """\
Runs a probe on every backend, and your command beside it if you give one: twice
on the first backend, so that what changes by itself is known, and once on each
other. Exit code 13 if something would differ that should not, 1 if your command
does not succeed anywhere.

With --serve, models are served instead, and their self-tests asked: exit code 13
if the servers answer differently, 1 if all give the same wrong answer.
"""


def add(command: argparse.ArgumentParser) -> None:
    """Add both."""
    views = command.add_subparsers(dest="_function", metavar="VIEW", required=True)
    _run(_add_view(views, "run", "run jobs on several backends and say what would differ"))
    _show(_add_view(views, "show", "show what an earlier run printed with --json"))


def _add_view(
    views: argparse._SubParsersAction[argparse.ArgumentParser], name: str, title: str
) -> argparse.ArgumentParser:
    return views.add_parser(
        name,
        help=title,
        description=f"{title[0].upper()}{title[1:]}.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _run(command: argparse.ArgumentParser) -> None:
    command.epilog = _RUN_HELP + _job_options.COMMAND_HELP
    command.usage = f"{command.prog} --on OLD,NEW [options] [-- COMMAND [ARGUMENT ...]]"
    group = command.add_argument_group("what is compared")
    group.add_argument(
        "--on",
        metavar="OLD,NEW[,...]",
        type=_names,
        default=[],
        help="backends; the first is what others are held against",
    )
    group.add_argument(
        "--only", metavar="SUBJECT[,...]", type=_names, help="only these subjects, such as environment,exit"
    )
    group.add_argument("--parallel", metavar="COUNT", type=int, help="jobs at once on each backend (16)")
    group.add_argument("--patience", metavar="TIME", help="in which a job should have started (30m)")
    group.add_argument(
        "--serve",
        metavar="MODEL|ID[,...]",
        type=_names,
        help="serve these models on local-kubernetes and local-sagemaker, or on --on, and compare the answers",
    )
    group.add_argument("--python", metavar="NAME", help="Python 3.8 or newer in the image (python3)")
    _html(group)
    _job_options.code(command.add_argument_group("what runs"))
    _job_options.environment(command)
    _job_options.resources(command)
    policy = command.add_argument_group("how your command is run")
    policy.add_argument("--timeout", metavar="TIME", help="such as 90s, 4h or 2d, from the command's first start")
    policy.add_argument("--retries", metavar="COUNT", type=int, help="times to run it again after a non-zero exit (0)")
    _job_options.pairs(policy, "--label", "NAME=VALUE", "labels", "a label of every job; repeatable")
    _job_options.common(command)


def _show(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="what `parity run --json` printed")
    _html(command)
    _job_options.common(command)


def _html(group: argparse._ActionsContainer) -> None:
    group.add_argument("--html", metavar="FILE", help="write a page that needs no network")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
