"""The options of a job: what runs, what it sees and needs. Their names are the API's parameter names."""

from __future__ import annotations

import argparse
from typing import Any

from lyftlearn.cli import _search_values, _values
from lyftlearn.types import JobKind

COMMAND_HELP = """\
The command comes last, after `--`, and is executed as it is; --command gives it
to a shell instead."""


def common(command: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    command.add_argument("--json", dest="_json", action="store_true", default=False, help="print JSON for programs")
    command.add_argument(
        "--config",
        metavar="FILE",
        dest="_config",
        default=None,
        help="configuration; by default the lyftlearn.toml found upwards from here",
    )


def what(command: argparse.ArgumentParser, kind: JobKind) -> None:
    """Add a job's name, and what it runs."""
    command.epilog = COMMAND_HELP
    subject = "name" if kind is JobKind.PROCESS else "model"
    command.usage = f"{command.prog} {subject.upper()} [options] -- COMMAND [ARGUMENT ...]"
    command.add_argument(
        subject, metavar=subject.upper(), help=f"name of the {'job' if subject == 'name' else 'model'}"
    )
    group = command.add_argument_group("what runs")
    code(group)
    if kind is JobKind.PREDICT:
        group.add_argument("--artifact", metavar="URI|ID", required=True, help="URI of a model, or id of a train job")
    if kind in (JobKind.PROCESS, JobKind.PREDICT):
        group.add_argument(
            "--output",
            metavar="NAME[=URI]",
            type=_values.output,
            action=_values.Collect,
            dest="outputs",
            help="an output that is kept, under the job's own location or at URI; repeatable",
        )


def search(command: argparse.ArgumentParser) -> None:
    """Add what is searched."""
    group = command.add_argument_group("what is searched")
    group.add_argument(
        "--space",
        metavar="NAME=DOMAIN",
        type=_search_values.domain,
        action=_values.Collect,
        required=True,
        help="what to search: uniform(0,1), log(1e-4,0.1), int(2,8), int-log(1,1024) or "
        'choice("a",3,null), whose values are JSON; repeatable',
    )
    goal = group.add_mutually_exclusive_group(required=True)
    goal.add_argument("--minimize", metavar="NAME", help="the objective, of which the least is the best")
    goal.add_argument("--maximize", metavar="NAME", help="the objective, of which the most is the best")
    group.add_argument(
        "--pattern", metavar="REGEX", help="its one group captures the objective in a line; by default NAME=NUMBER"
    )
    group.add_argument("--trials", metavar="COUNT", type=int, required=True, help="how many trials there are")
    group.add_argument("--parallel", metavar="COUNT", type=int, help="how many of them make a batch (1)")
    group.add_argument("--strategy", choices=["bayesian", "random", "grid"], help="how values are drawn (bayesian)")


def code(group: Any) -> None:
    """Add code, image, hyperparameters and inputs."""
    group.add_argument("--command", metavar="TEXT", help="a command for /bin/sh -c, instead of one after --")
    group.add_argument("--source", metavar="PATH", help="directory or archive of code: the working directory")
    group.add_argument("--image", metavar="IMAGE", help="container image; by default the platform's")
    group.add_argument(
        "-p",
        "--hyperparameter",
        metavar="NAME=TEXT|NAME:=JSON",
        type=_values.hyperparameter,
        action=_values.Collect,
        dest="_hyperparameter",
        help="one hyperparameter: = keeps the text, := reads JSON; wins over --hyperparameters; repeatable",
    )
    group.add_argument(
        "--hyperparameters",
        metavar="FILE",
        type=_values.document,
        dest="_hyperparameters",
        help="a JSON object of hyperparameters",
    )
    pairs(group, "--input", "NAME=URI", "inputs", "a channel of input, from s3://, file:// or a path; repeatable")


def environment(command: argparse.ArgumentParser) -> None:
    """Add variables and secrets."""
    group = command.add_argument_group("what it sees")
    pairs(group, "--env", "NAME=VALUE", "env", "an environment variable; repeatable")
    group.add_argument("--secret", metavar="NAME", action="append", dest="secrets", help="a secret; repeatable")


def resources(command: argparse.ArgumentParser) -> None:
    """Add what each node needs, and how many there are."""
    group = node(command)
    group.add_argument("--nodes", metavar="COUNT", type=int, help="containers that run the command together (1)")


def node(command: argparse.ArgumentParser) -> Any:
    """Add what each node needs, and return the group of these options."""
    group = command.add_argument_group("what each node needs")
    group.add_argument("--cpu", metavar="CORES", type=_values.number, dest="_cpu", help="cores (1)")
    group.add_argument("--memory", metavar="SIZE", dest="_memory", help="such as 512Mi or 64Gi (2Gi)")
    group.add_argument("--gpu", metavar="COUNT", type=int, dest="_gpu", help="GPUs (0)")
    group.add_argument("--gpu-type", metavar="TYPE", dest="_gpu_type", help="such as A10G or H100")
    group.add_argument("--disk", metavar="SIZE", dest="_disk", help="scratch space (30Gi)")
    group.add_argument("--shared-memory", metavar="SIZE", dest="_shared_memory", help="size of /dev/shm")
    return group


def policy(command: argparse.ArgumentParser) -> None:
    """Add how it is run."""
    group = command.add_argument_group("how it is run")
    group.add_argument("--timeout", metavar="TIME", help="such as 90s, 4h or 2d, from the command's first start")
    group.add_argument("--retries", metavar="COUNT", type=int, help="times to run it again after a non-zero exit (0)")
    pairs(group, "--label", "NAME=VALUE", "labels", "a label to find it by; repeatable")
    group.add_argument("--key", metavar="TEXT", help="the same key gives the same job, however often it is submitted")


def pairs(group: Any, option: str, metavar: str, dest: str, text: str) -> None:
    """Add an option that gathers names and values."""
    group.add_argument(option, metavar=metavar, type=_values.assignment, action=_values.Collect, dest=dest, help=text)


def subparser(commands: Any, name: str, title: str) -> argparse.ArgumentParser:
    """Return the parser of one command or view."""
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=title,
        description=f"{title[0].upper()}{title[1:]}.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made


def since(command: argparse.ArgumentParser, text: str, default: str = "") -> None:
    """Add `--since`. default: what is taken without it."""
    command.add_argument(
        "--since",
        metavar="TIME",
        type=_values.moment,
        help=f"{text}: 2h ago, or an ISO 8601 time, local without an offset{default and f'; {default}'}",
    )
