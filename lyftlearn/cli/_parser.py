"""The command line: commands, options and help. Option names are the API's parameter names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from lyftlearn.cli import (
    _examples,
    _job_options,
    _migration_options,
    _operator_options,
    _parity_options,
    _values,
)
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.cli._usage import CommandParser
from lyftlearn.types import JobKind, JobStatus

_DESCRIPTION = "Submit machine-learning jobs, find them from anywhere, and fetch what they made."
_EXAMPLES = """\
examples:
  Train a model from the code in this directory, and see its output:
    lyftlearn train eta --source . -p origin=EWR -p depth:=8 --follow -- python train.py

  The same on bigger machines, in the background, safe to repeat:
    lyftlearn train eta --source . --cpu 8 --memory 64Gi --gpu 1 --gpu-type A10G \\
        --input rides=s3://bucket/rides --timeout 4h --key 2025-01-31 -- python train.py

  Come back to it from any machine:
    lyftlearn jobs --name eta --since 2d
    lyftlearn logs --follow ID
    lyftlearn wait ID && lyftlearn download ID results/

  See what would be sent, and why there:
    lyftlearn plan train eta --source . -- python train.py
"""
_GROUPS = {
    "run jobs": ("train", "process", "predict", "tune", "notebook", "serve"),
    "find and follow jobs": ("jobs", "top", "status", "logs", "wait", "stop", "download", "trials"),
    "for operators": ("plan", "apply", "explain", "cost", "migration", "parity", "dashboard"),
    "to keep it going": ("collect", "backends", "config", "doctor", "clean", "completion"),
}
_SUBPARSER: dict[str, Any] = {"argument_default": argparse.SUPPRESS, "allow_abbrev": False}
Adder = Callable[[argparse.ArgumentParser], None]


def parser(only: str | None = None) -> CommandParser:
    """Return the parser. `only`: the command whose options are needed, which spares the time for the others."""
    top = CommandParser(
        prog="lyftlearn",
        usage="lyftlearn COMMAND [options]",
        description=_DESCRIPTION,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action=_Version, help="print the version and exit")
    commands = top.add_subparsers(
        dest="_command", metavar="COMMAND", prog="lyftlearn", required=True, help=argparse.SUPPRESS
    )
    for name, (title, add) in _COMMANDS.items():
        command = _job_options.subparser(commands, name, title)
        if only in (None, name):
            add(command)
            command.epilog = "\n\n".join(filter(None, (command.epilog, _examples.text(name))))
    return top


_MODEL = """\
The model is what the command leaves in the directory LYFTLEARN_MODEL_DIR, and nothing else:
  joblib.dump(model, os.path.join(os.environ["LYFTLEARN_MODEL_DIR"], "model.joblib"))"""


_SERVER_HELP = """\
The command answers `POST /invocations` and `GET /ping` on the port in PORT. It is
the one after `--`, or else `[serve] command` of the configuration. It finds the
model in LYFTLEARN_MODEL_DIR, and the train job's code, variables and secrets."""


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before the first `--`, and the command behind it."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


class _Version(argparse.Action):
    """Prints the installed version."""

    def __init__(self, option_strings: list[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it and exit."""
        from importlib.metadata import version  # noqa: PLC0415 - 20 ms that only this option pays

        sys.stdout.write(f"lyftlearn {version('lyftlearn')}\n")
        parser.exit()


def _epilog() -> str:
    lines = ["commands:"]
    for group, names in _GROUPS.items():
        lines += [f"  {group}", *(f"    {name:<12}{_COMMANDS[name][0]}" for name in names)]
    codes = [f"  {code.value:>3}  {code.meaning}" for code in ExitCode]
    return "\n".join([*lines, "", _EXAMPLES, "exit codes:", *codes])


def _submission(kind: JobKind, *, act: bool = True) -> Adder:
    """Return what adds the options of one function of the API; `act`: with those for what happens afterwards."""

    def add(command: argparse.ArgumentParser) -> None:
        if kind is JobKind.TRAIN:
            command.description = f"{command.description}\n\n{_MODEL}"
        _job_options.what(command, kind)
        if kind is JobKind.TUNE:
            _job_options.search(command)
        _job_options.environment(command)
        _job_options.resources(command)
        _job_options.policy(command)
        if act:
            _afterwards(command)
        _job_options.common(command)

    return add


def _afterwards(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("afterwards").add_mutually_exclusive_group()
    group.add_argument("--wait", action="store_true", default=False, dest="_wait", help="wait; exit 1 if the job fails")
    group.add_argument(
        "--follow", action="store_true", default=False, dest="_follow", help="as --wait, and print the job's output"
    )


def _trials(command: argparse.ArgumentParser) -> None:
    _id(command)
    _job_options.common(command)


def _notebook(command: argparse.ArgumentParser) -> None:
    command.usage = f"{command.prog} [open|start|stop] NAME [options]"
    command.add_argument(
        "words", metavar="NAME", nargs="+", help="its name, after open, start or stop; by default open"
    )
    group = command.add_argument_group("what it runs in, where none is open")
    group.add_argument("--image", metavar="IMAGE", help="container image with JupyterLab; by default the platform's")
    group.add_argument(
        "--idle-timeout", metavar="TIME", type=_values.duration_or_never, help="such as 90m, or never (4h)"
    )
    _job_options.pairs(group, "--label", "NAME=VALUE", "labels", "a label to find it by; repeatable")
    _job_options.environment(command)
    _job_options.node(command)
    command.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    _job_options.common(command)


def _serve(command: argparse.ArgumentParser) -> None:
    _server_options(command)
    command.add_argument("--local", action="store_true", help="on this machine, until Ctrl-C")
    _job_options.common(command)


def _server_options(command: argparse.ArgumentParser) -> None:
    """Add which model is served, and by what."""
    command.usage = f"{command.prog} MODEL|ID [options] [-- COMMAND [ARGUMENT ...]]"
    command.epilog = _SERVER_HELP
    command.add_argument(
        "model", metavar="MODEL|ID", help="id of a train job; or a model, whose newest train job is meant"
    )
    group = command.add_argument_group("what serves it")
    group.add_argument("--command", metavar="TEXT", help="a command for /bin/sh -c, instead of one after --")
    group.add_argument("--image", metavar="IMAGE", help="container image; by default the train job's")
    group.add_argument("--port", metavar="PORT", type=int, help="where it answers /invocations and /ping (8080)")
    _job_options.node(command)


def _plan_serve(command: argparse.ArgumentParser) -> None:
    _server_options(command)
    group = command.add_argument_group("where")
    group.add_argument(
        "--backend", metavar="NAME", dest="_backend", help="serve it there; by default where it was trained"
    )
    group.add_argument("--layout", choices=["deployment", "kserve", "seldon"], help="on Kubernetes (deployment)")
    _job_options.common(command)


def _jobs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--name", metavar="NAME", help="of this name")
    command.add_argument("--kind", choices=[str(kind) for kind in JobKind], help="of this kind")
    command.add_argument("--status", choices=[str(status) for status in JobStatus], help="in this status")
    _job_options.pairs(command, "--label", "NAME=VALUE", "labels", "with this label; repeatable")
    _job_options.since(command, "created since")
    command.add_argument("--limit", metavar="COUNT", type=int, help="at most so many (100)")
    _job_options.common(command)


def _status(command: argparse.ArgumentParser) -> None:
    _id(command)
    command.add_argument("--timings", action="store_true", help="tell how long it waited, started, ran and uploaded")
    _job_options.common(command)


def _logs(command: argparse.ArgumentParser) -> None:
    _id(command)
    command.add_argument("-f", "--follow", action="store_true", help="go on until the job has finished")
    command.add_argument("-n", "--tail", metavar="COUNT", type=int, help="only the last lines of each node")
    _job_options.since(command, "only lines since")
    command.add_argument("--node", metavar="RANK", type=int, help="only those of one node")
    command.add_argument("--timestamps", action="store_true", help="begin each line with its time")
    _job_options.common(command)


def _wait(command: argparse.ArgumentParser) -> None:
    _ids(command)
    command.add_argument("--timeout", metavar="TIME", help="how long to wait, such as 90s or 4h; the job goes on")
    command.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a live status line; by default if a terminal is there",
    )
    _job_options.common(command)


def _stop(command: argparse.ArgumentParser) -> None:
    _ids(command)
    command.add_argument("--wait", action="store_true", help="return once they have stopped")
    _job_options.common(command)


def _download(command: argparse.ArgumentParser) -> None:
    _id(command)
    command.add_argument("dest", metavar="DIRECTORY", help="where each output gets a directory of its name")
    command.add_argument("--output", metavar="NAME", help="only this output; by default all")
    command.add_argument("--overwrite", action="store_true", help="replace what the destination holds")
    _job_options.common(command)


def _plan(command: argparse.ArgumentParser) -> None:
    functions = _functions(command, _plan_options)
    _plan_serve(functions.add_parser("serve", help="a server of a model", **_SUBPARSER))


def _plan_options(kind: JobKind) -> Adder:
    def add(command: argparse.ArgumentParser) -> None:
        _submission(kind, act=False)(command)
        command.add_argument(
            "--backend", metavar="NAME", dest="_backend", help="plan for this backend, whatever the flag says"
        )
        group = command.add_argument_group("keep it")
        group.add_argument("--out", metavar="FILE", dest="plan_out", help="write it, for `lyftlearn apply FILE`")
        group.add_argument(
            "--expires", metavar="TIME", dest="plan_expires", help="for how long it may be applied (24h)"
        )
        group.add_argument(
            "--for", metavar="OWNER", action="append", dest="plan_owners", help="who may apply it; repeatable"
        )

    return add


def _apply(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="what `lyftlearn plan ... --out FILE` wrote")
    _afterwards(command)
    _job_options.common(command)


def _explain(command: argparse.ArgumentParser) -> None:
    _functions(command, _explain_options)


def _explain_options(kind: JobKind) -> Adder:
    """Return what adds the options of the call, none of which an explanation needs."""

    def add(command: argparse.ArgumentParser) -> None:
        _submission(kind, act=False)(command)
        for action in command._actions:  # noqa: SLF001 - argparse names its actions nowhere else
            action.required = action.required and not action.option_strings

    return add


def _functions(command: argparse.ArgumentParser, adder: Callable[[JobKind], Adder]) -> Any:
    functions = command.add_subparsers(dest="_function", metavar="FUNCTION", required=True)
    for kind in (JobKind.TRAIN, JobKind.PROCESS, JobKind.PREDICT):
        adder(kind)(functions.add_parser(str(kind), help=f"a {kind} job", **_SUBPARSER))
    return functions


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "shell", choices=["bash", "zsh", "tcsh", "ids", "backends"], help="whose script to print, or which words"
    )


def _id(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help="id of a job")


def _ids(command: argparse.ArgumentParser) -> None:
    command.add_argument("ids", metavar="ID", nargs="+", help="ids of jobs")


_COMMANDS: dict[str, tuple[str, Adder]] = {
    "train": ("train a model", _submission(JobKind.TRAIN)),
    "process": ("run a data-processing job", _submission(JobKind.PROCESS)),
    "predict": ("run batch prediction with a model", _submission(JobKind.PREDICT)),
    "tune": ("search the best hyperparameters of a model", _submission(JobKind.TUNE)),
    "notebook": ("open a notebook in the browser, start it or stop it", _notebook),
    "serve": ("serve a model on this machine", _serve),
    "jobs": ("list jobs of every backend, newest first", _jobs),
    "top": ("watch that list on a terminal until Ctrl-C", _jobs),
    "status": ("show one job: state and outputs", _status),
    "logs": ("print the output of a job, line by line", _logs),
    "wait": ("wait until jobs have finished", _wait),
    "stop": ("ask jobs to stop", _stop),
    "download": ("fetch the outputs of a job", _download),
    "trials": ("list the trials of a search", _trials),
    "plan": ("show what would be sent for a job, and what stands against it", _plan),
    "apply": ("send exactly what a plan says, or nothing", _apply),
    "explain": ("say where a job would run, and why", _explain),
    "cost": ("say what jobs have cost, by team, model or backend", _operator_options.cost),
    "collect": ("follow open jobs and write their ends into the history", _operator_options.collect),
    "migration": ("see how a migration to another backend goes", _migration_options.add),
    "parity": ("measure what would differ on another backend", _parity_options.add),
    "dashboard": ("look at jobs, models, cost and the migration in a browser", _operator_options.dashboard),
    "backends": ("list the installed backends and what they can do", _job_options.common),
    "config": ("show every setting that counts, and where it comes from", _job_options.common),
    "doctor": ("check configuration, storage and backends, or an image", _operator_options.doctor),
    "clean": ("remove old jobs and caches of this machine", _operator_options.clean),
    "completion": ("print a completion script for a shell", _completion),
}
COMMANDS = tuple(_COMMANDS)
