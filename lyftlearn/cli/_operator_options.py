"""The options of commands that operators use."""

from __future__ import annotations

import argparse

from lyftlearn.cli import _job_options


def cost(command: argparse.ArgumentParser) -> None:
    """Add the options of `cost`."""
    command.add_argument("--by", metavar="WHAT", help="team, model, backend, repository, owner, kind or day (model)")
    command.add_argument("--csv", action="store_true", help="print comma-separated values")
    _job_options.since(command, "only jobs submitted since", "by default 30d")
    _job_options.common(command)


def collect(command: argparse.ArgumentParser) -> None:
    """Add the options of `collect`."""
    command.add_argument("--listen", metavar="ADDRESS", help="where /healthz and /metrics answer (127.0.0.1:8040)")
    command.add_argument("--once", action="store_true", help="look once, and end")
    _job_options.common(command)


def doctor(command: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    command.add_argument("--image", metavar="IMAGE", help="look at this image alone: what a job would find in it")
    _job_options.common(command)


def dashboard(command: argparse.ArgumentParser) -> None:
    """Add the options of `dashboard`."""
    command.add_argument("--port", metavar="PORT", type=int, help="where it listens; 0 takes a free one (8780)")
    command.add_argument("--host", metavar="ADDRESS", help="the address it listens at (127.0.0.1)")
    command.add_argument(
        "--user-header", metavar="NAME", help="the header in which a proxy in front of it names the user"
    )
    command.add_argument("--allow-stop", action="store_true", help="let those who look stop jobs")
    _job_options.common(command)


def clean(command: argparse.ArgumentParser) -> None:
    """Add the options of `clean`."""
    command.add_argument("--older-than", metavar="TIME", help="that ended or were used longer ago: 2h, 7d (30d)")
    command.add_argument("--outputs", action="store_true", help="also what these jobs left in a storage here")
    command.add_argument("--dry-run", action="store_true", help="remove nothing, and say what would be removed")
    _job_options.common(command)
