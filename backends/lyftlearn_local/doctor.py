"""What `lyftlearn doctor` shows of this machine."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from lyftlearn.backend import Check, Verdict
from lyftlearn_local import cgroups
from lyftlearn_local.containers.engine import Engine
from lyftlearn_local.planning import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lyftlearn_local.options import Options
    from lyftlearn_local.planning.planner import Machine
    from lyftlearn_local.store.jobs import Jobs

SCARCE_BYTES = 1 << 30


def checks(jobs: Jobs, options: Options, machine: Machine) -> Iterator[Check]:
    """Yield a check for each thing that jobs here depend on."""
    for field, problem in options.faults:
        yield Check("configuration", Verdict.FAILED, f"{field}: {problem}")
    yield _namespaces(options, machine)
    yield _containers(options, machine)
    yield _memory(machine)
    yield _disk(jobs.store.root)
    yield _python(machine)
    for problem in jobs.broken():
        yield Check("jobs", Verdict.WARNING, f"{problem}: remove its directory, if nobody needs it")


def _namespaces(options: Options, machine: Machine) -> Check:
    if machine.no_namespaces is None:
        return Check("namespaces", Verdict.OK, f"{machine.namespaces} works: /lyftlearn is real inside jobs")
    needed = options.namespaces == "always"
    verdict = Verdict.FAILED if needed else Verdict.WARNING
    return Check(
        "namespaces", verdict, f"only the LYFTLEARN_* variables lead to a job's paths: {machine.no_namespaces}"
    )


def _containers(options: Options, machine: Machine) -> Check:
    engine = machine.engine
    if isinstance(engine, Engine):
        return Check("containers", Verdict.OK, f"{engine.program} runs jobs in the images that they name")
    verdict = Verdict.FAILED if options.image_required else Verdict.OK
    return Check("containers", verdict, f"images of jobs are not used: {engine}")


def _memory(machine: Machine) -> Check:
    if machine.limits_memory:
        return Check("memory limit", Verdict.OK, f"control groups can be made under {cgroups.parent()}")
    return Check("memory limit", Verdict.WARNING, f"resources.memory is not enforced: {cgroups.REMEDY}")


def _disk(root: Path) -> Check:
    directory = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(directory, os.W_OK | os.X_OK):
        return Check("disk", Verdict.FAILED, f"{directory} cannot be written to: make it yours, or set another home")
    free = shutil.disk_usage(directory).free
    detail = f"{free / (1 << 30):.1f} GiB free at {directory}"
    return Check("disk", Verdict.OK if free > SCARCE_BYTES else Verdict.WARNING, detail)


def _python(machine: Machine) -> Check:
    if machine.has_python:
        return Check("python", Verdict.OK, f"jobs find {machine.python} first on PATH")
    detail = f"{machine.python!r} is no Python that jobs can run: {interpreter.REMEDY}"
    return Check("python", Verdict.FAILED, detail)
