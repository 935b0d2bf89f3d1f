"""A whole comparison: checked, run on every backend, twice on the first one, and handed to whoever compares."""

from __future__ import annotations

import difflib
import inspect
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lyftlearn._client import Client
from lyftlearn._contract.fault import Fault
from lyftlearn._storage import open_storage
from lyftlearn._text.quantities import duration
from lyftlearn.config import Config
from lyftlearn.errors import InvalidJob
from lyftlearn.parity import _lines, _trials
from lyftlearn.parity._collectors import Facts, ProbeContext
from lyftlearn.parity._fixed_backend import fixed_backend_client
from lyftlearn.parity._missing import JOBS, SUBMISSION, Run, mark_missing
from lyftlearn.parity._model import Observation, Parity
from lyftlearn.parity._run import OBSERVED, BackendSlots, ComparisonProgress, Runner, TrialResult
from lyftlearn.parity._trials import SUBJECTS, TrialSelection
from lyftlearn.parity.redaction import SECRET_NAME, SECRET_VALUE, Redactor
from lyftlearn.types import Duration, JobKind


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
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
    on_update: Callable[[ComparisonProgress], None] | None = None

    @property
    def paths(self) -> frozenset[str]:
        """Beginnings of the paths that are asked for."""
        return frozenset(self.only or SUBJECTS)

    @property
    def is_whole(self) -> bool:
        """Whether every subject is compared; that of the user's command only where there is one."""
        return SUBJECTS.keys() - self.paths <= ({"command"} if self.command is None else set())


def run(comparison: ComparisonConfig, client: Client) -> Parity:
    """Run everything, and compare. Raises InvalidJob with every fault, before anything is sent."""
    from lyftlearn.parity._compare import compare  # noqa: PLC0415 - the other half

    check(comparison, client)
    started_at, clock = datetime.now(UTC), time.monotonic()
    runs = observe(comparison, client._config)  # noqa: SLF001 - the client's other half
    command = (
        comparison.command
        if comparison.command is None or isinstance(comparison.command, str)
        else " ".join(comparison.command)
    )
    compared = compare(
        [run.observation for run in runs[:2]],
        [run.observation for run in runs[2:]],
        command=command,
        started_at=started_at,
        seconds=time.monotonic() - clock,
    )
    return replace(mark_missing(compared, runs), unmatched=() if comparison.only else compared.unmatched)


def check(comparison: ComparisonConfig, client: Client) -> None:
    """Raise InvalidJob for what is wrong on every backend."""
    session = client._session  # noqa: SLF001 - the client's other half
    faults = [*_name_faults(comparison.on, session.registry.names()), *_option_faults(comparison)]
    call = inspect.signature(client.train).bind(
        "parity", command=["true"] if comparison.command is None else comparison.command, **comparison.job
    )
    call.apply_defaults()
    try:
        session.check(JobKind.TRAIN, call.arguments)
    except InvalidJob as exc:
        faults += starmap(Fault, exc.faults)
    if faults:
        raise InvalidJob(faults)


def _name_faults(on: Sequence[str], installed: Sequence[str]) -> list[Fault]:
    faults = []
    for name in on:
        if name not in installed:
            near = difflib.get_close_matches(name, installed, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            faults.append(Fault("on", f"no backend {name!r} is installed.{meant} Installed: {', '.join(installed)}."))
    twice = sorted({name for name in on if list(on).count(name) > 1})
    if twice:
        faults.append(Fault("on", f"names {', '.join(twice)} twice: the first backend is run twice anyway"))
    elif len(on) < 2:
        seen = f"names {on[0]} alone" if on else "names no backend"
        faults.append(Fault("on", f"{seen}: name the backend that you know first, and then those to hold against it"))
    return faults


def _option_faults(comparison: ComparisonConfig) -> list[Fault]:
    faults = [
        Fault("only", f"{subject!r} is not known: write one of {', '.join(SUBJECTS)}")
        for subject in comparison.only
        if subject.partition(" ")[0] not in SUBJECTS
    ]
    if comparison.command is None and "command" in comparison.only:
        faults.append(Fault("only", "asks for `command`, and there is none: write one after `--`"))
    if comparison.parallel < 1:
        faults.append(Fault("parallel", f"is {comparison.parallel}: write how many jobs may run at once, 1 or more"))
    try:
        duration(comparison.patience)
    except ValueError as exc:
        faults.append(Fault("patience", str(exc)))
    return faults


def observe(comparison: ComparisonConfig, config: Config) -> list[Run]:
    """Return what was observed: twice on the first backend, then once on each other."""
    key, run_id = secrets.token_hex(32), secrets.token_hex(4)
    names = [comparison.on[0], *comparison.on]
    slots = {
        name: BackendSlots(name, fixed_backend_client(config, name), comparison.parallel) for name in comparison.on
    }
    redact = Redactor(key.encode(), _private(comparison.job), {})
    with TemporaryDirectory(prefix="lyftlearn-parity-") as directory:
        _trials.lay_kit(Path(directory))
        job = {**comparison.job, "labels": {**comparison.job.get("labels", {}), "parity": run_id}}
        selection = TrialSelection(
            only=comparison.paths,
            job=job if comparison.command is None else {**job, "command": comparison.command},
            kit=Path(directory),
            trap=_trap(config),
            python=comparison.python,
            key=key,
        )
        context = ProbeContext(redact, config.grace.total_seconds(), comparison.counted)
        runner = Runner(context, duration(comparison.patience).total_seconds(), comparison.on_update)
        results = runner.run([slots[name] for name in names], _trials.trials(selection))
    facts = [_gather_facts(run) for run in results]
    _lines.lay_out(facts, redact)
    selected = [_select(found, {*comparison.paths, JOBS}) for found in facts]
    return [
        Run(Observation(backend=name, facts=found), run)
        for name, found, run in zip(names, selected, results, strict=True)
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


def _gather_facts(results: Mapping[str, TrialResult]) -> Facts:
    """Return all facts of one run, and of each job whether it told them."""
    ends = {one.end for one in results.values()}
    refused = len(ends) == 1 and OBSERVED not in ends
    found: Facts = {f"{JOBS} {SUBMISSION}": ends.pop() if refused else "accepted"}
    for name, one in results.items():
        found[f"{JOBS} {name}"] = one.end
        found |= one.facts
    return found


def _select(facts: Facts, only: Collection[str]) -> Facts:
    return {path: value for path, value in facts.items() if any(_trials.is_under(path, one) for one in only)}
