"""A whole comparison: checked, run on every backend, twice on the first one, and handed to whoever compares."""

from __future__ import annotations

import difflib
import inspect
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lyftlearn._client import Client
from lyftlearn._quantities import duration
from lyftlearn._storage import open_storage
from lyftlearn.config import Config
from lyftlearn.errors import InvalidJob
from lyftlearn.parity import _lines, _trials
from lyftlearn.parity._facts import Facts, Look
from lyftlearn.parity._model import Observation, Parity
from lyftlearn.parity._pinned import PinnedClient
from lyftlearn.parity._run import OBSERVED, Place, Progress, Runner, Told
from lyftlearn.parity._told import JOBS, SUBMISSION, Run, told_apart
from lyftlearn.parity._trials import SUBJECTS, Asked
from lyftlearn.parity.probe import SECRET_NAME, SECRET_VALUE, Redactor
from lyftlearn.types import Duration, JobKind


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is compared, and how.

    on: backends, the reference first. command and job: the user's own, arguments of `Client.train`. only: subjects, or
    beginnings of paths such as `exit 37`. parallel: jobs at once on each backend. patience: in which a job should have
    started. python: what starts Python 3.8 or newer in the image. counted: says how often a StatsD counter has come to
    the gateway. on_update: told of every job that ended.
    """

    on: Sequence[str]
    command: str | Sequence[str] | None = None
    job: Mapping[str, Any] = field(default_factory=dict)
    only: Collection[str] = ()
    parallel: int = 16
    patience: Duration = "30m"
    python: str = "python3"
    counted: Callable[[str], int] | None = None
    on_update: Callable[[Progress], None] | None = None

    @property
    def wanted(self) -> frozenset[str]:
        """Beginnings of the paths that are asked for."""
        return frozenset(self.only or SUBJECTS)


def run(order: Order, client: Client) -> Parity:
    """Run everything, and compare. Raises InvalidJob with every fault, before anything is sent."""
    from lyftlearn.parity._compare import compare  # noqa: PLC0415 - the other half

    check(order, client)
    started_at, clock = datetime.now(UTC), time.monotonic()
    runs = observe(order, client._config)  # noqa: SLF001 - the client's other half
    command = order.command if order.command is None or isinstance(order.command, str) else " ".join(order.command)
    compared = compare(
        [run.observation for run in runs[:2]],
        [run.observation for run in runs[2:]],
        command=command,
        started_at=started_at,
        seconds=time.monotonic() - clock,
    )
    return replace(told_apart(compared, runs), unmatched=() if order.only else compared.unmatched)


def check(order: Order, client: Client) -> None:
    """Raise InvalidJob for what is wrong on every backend."""
    world = client._opened()  # noqa: SLF001 - the client's other half
    faults = [*_name_faults(order.on, world.registry.names()), *_option_faults(order)]
    call = inspect.signature(client.train).bind(
        "parity", command=["true"] if order.command is None else order.command, **order.job
    )
    call.apply_defaults()
    try:
        world.check(JobKind.TRAIN, call.arguments)
    except InvalidJob as exc:
        faults += exc.faults
    if faults:
        raise InvalidJob(faults)


def _name_faults(on: Sequence[str], installed: Sequence[str]) -> list[tuple[str, str]]:
    faults = []
    for name in on:
        if name not in installed:
            near = difflib.get_close_matches(name, installed, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            faults.append(("on", f"no backend {name!r} is installed.{meant} Installed: {', '.join(installed)}."))
    twice = sorted({name for name in on if list(on).count(name) > 1})
    if twice:
        faults.append(("on", f"names {', '.join(twice)} twice: the first backend is run twice anyway"))
    elif len(on) < 2:
        seen = f"names {on[0]} alone" if on else "names no backend"
        faults.append(("on", f"{seen}: name the backend that you know first, and then those to hold against it"))
    return faults


def _option_faults(order: Order) -> list[tuple[str, str]]:
    faults = [
        ("only", f"{subject!r} is not known: write one of {', '.join(SUBJECTS)}")
        for subject in order.only
        if subject.partition(" ")[0] not in SUBJECTS
    ]
    if order.command is None and "command" in order.only:
        faults.append(("only", "asks for `command`, and there is none: write one after `--`"))
    if order.parallel < 1:
        faults.append(("parallel", f"is {order.parallel}: write how many jobs may run at once, 1 or more"))
    try:
        duration(order.patience)
    except ValueError as exc:
        faults.append(("patience", str(exc)))
    return faults


def observe(order: Order, config: Config) -> list[Run]:
    """Return what was observed: twice on the first backend, then once on each other."""
    key, run_id = secrets.token_hex(32), secrets.token_hex(4)
    names = [order.on[0], *order.on]
    places = {name: Place(name, PinnedClient(config, name), order.parallel) for name in order.on}
    redact = Redactor(key.encode(), _private(order.job), {})
    with TemporaryDirectory(prefix="lyftlearn-parity-") as directory:
        _trials.lay_kit(Path(directory))
        job = {**order.job, "labels": {**order.job.get("labels", {}), "parity": run_id}}
        asked = Asked(
            only=order.wanted,
            job=job if order.command is None else {**job, "command": order.command},
            kit=Path(directory),
            trap=_trap(config),
            python=order.python,
            key=key,
        )
        look = Look(redact, config.grace.total_seconds(), order.counted)
        runner = Runner(look, duration(order.patience).total_seconds(), order.on_update)
        told = runner.run([places[name] for name in names], _trials.trials(asked))
    facts = [_gathered(run) for run in told]
    _lines.lay_out(facts, redact)
    wanted = [_wanted(found, {*order.wanted, JOBS}) for found in facts]
    return [
        Run(Observation(backend=name, facts=found), run) for name, found, run in zip(names, wanted, told, strict=True)
    ]


def _private(job: Mapping[str, Any]) -> list[bytes]:
    """Return the values of variables that the user gives and that could be credentials."""
    env: Mapping[str, str] = job.get("env") or {}
    return [value.encode() for name, value in env.items() if SECRET_NAME.search(name) or SECRET_VALUE.search(value)]


def _trap(config: Config) -> str:
    """Lay out an input beside another whose name begins alike, and return its URI. It is the same in every run."""
    storage = open_storage(config.storage_url)
    for name, data in _trials.TRAP_FILES.items():
        storage.create(f"{_trials.TRAP_KEY}/{name}", data)
    return storage.uri(f"{_trials.TRAP_KEY}/train")


def _gathered(told: Mapping[str, Told]) -> Facts:
    """Return all facts of one run, and of each job whether it told them."""
    ends = {one.end for one in told.values()}
    refused = len(ends) == 1 and OBSERVED not in ends
    found: Facts = {f"{JOBS} {SUBMISSION}": ends.pop() if refused else "accepted"}
    for name, one in told.items():
        found[f"{JOBS} {name}"] = one.end
        found |= one.facts
    return found


def _wanted(facts: Facts, only: Collection[str]) -> Facts:
    return {path: value for path, value in facts.items() if any(_trials.is_under(path, one) for one in only)}
