"""What operators ask: what a job would become, where it would go and why, what is installed, what is broken.

Not part of the frozen API: names and answers here may change between versions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._jobs.arguments import point_in_time
from lyftlearn._text.whole_file import write_whole_file
from lyftlearn.backend import Capability
from lyftlearn.config import migrations
from lyftlearn.errors import InvalidJob, LyftLearnError
from lyftlearn.ops.autopilot import migration_autopilot
from lyftlearn.ops.clean import Removed, clean
from lyftlearn.ops.collect import collect
from lyftlearn.ops.configuration import configuration
from lyftlearn.ops.cost import CostReport, Estimate, JobCost, cost, estimate, job_cost
from lyftlearn.ops.doctor import doctor
from lyftlearn.ops.history import no_collections, open_history
from lyftlearn.ops.images import image_checks, with_image_notes
from lyftlearn.ops.logs import logs
from lyftlearn.ops.placement import Placement, placement
from lyftlearn.ops.plan_files import apply_plan, plan_document, write_plan
from lyftlearn.ops.served_parity import served_parity
from lyftlearn.ops.serving import plan_server, serve
from lyftlearn.ops.switch import migration_switch
from lyftlearn.ops.timings import timings
from lyftlearn.rollout import Decision, Stage
from lyftlearn.types import Duration, JobKind

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn._migration.results import Guard, MigrationStatus, ReadinessReport
    from lyftlearn._session import Session
    from lyftlearn._submission.preparation import Submission
    from lyftlearn.config import Config
    from lyftlearn.parity import _run as parity_run
    from lyftlearn.parity._model import Parity

__all__ = [
    "CostReport",
    "Estimate",
    "Installed",
    "JobCost",
    "Placement",
    "Removed",
    "apply_plan",
    "backends",
    "clean",
    "collect",
    "configuration",
    "cost",
    "doctor",
    "estimate",
    "explain",
    "image_checks",
    "job_cost",
    "last_parity",
    "logs",
    "migration_autopilot",
    "migration_guard",
    "migration_report",
    "migration_status",
    "migration_switch",
    "parity",
    "placement",
    "plan",
    "plan_document",
    "plan_server",
    "serve",
    "served_parity",
    "timings",
    "with_image_notes",
    "write_plan",
]

_MONTH = "30d"
# What a flag is not told of must be valid all the same; it is never sent.
_LEAST: Mapping[str, Mapping[str, Any]] = {
    "train": {"command": ("true",)},
    "process": {"command": ("true",)},
    "predict": {"command": ("true",), "artifact": "s3://bucket/model.tar.gz", "inputs": {"input": "s3://bucket/input"}},
}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A backend that is installed.

    problem: why it cannot be used, or None. lacks: for each capability that the backend lacks, the reason.
    """

    name: str
    problem: str | None
    offers: tuple[Capability, ...] = ()
    lacks: Mapping[Capability, str]


def plan(function: str, /, *, client: Client | None = None, backend: str | None = None, **arguments: Any) -> Submission:
    """Return what `function` ("train", ...) would send for `arguments`, with every fault in `.plan.faults`.

    It sends and uploads nothing. backend: the backend to plan for; by default the one that the flag chooses now. Raises
    InvalidJob for arguments that no backend takes, and LyftLearnError if the backend is not installed.
    """
    asker = client or Client()
    given = _complete(asker, function, arguments)
    return asker._prepare(function, backend, **given)  # noqa: SLF001 - the client's other half


def explain(
    function: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    client: Client | None = None,
    **others: Any,
) -> Decision:
    """Return where a job of `function` with this `name` would run now, and why.

    It sends nothing, and it answers also if that backend is broken. It plans a job of the stage `live`. If the plan has
    faults, it returns the decision to which the job would fall back, with the faults as the reason. others: the other
    arguments of the call. Raises InvalidJob for arguments that no backend takes.
    """
    asker = client or Client()
    subject = "name" if function == "process" else "model"
    given = _complete(asker, function, {subject: name, "labels": labels, **_LEAST[function], **others})
    session = asker._session  # noqa: SLF001 - the client's other half
    arguments = session.check(JobKind(function), given)
    decision = session.decide(arguments)
    return _after_plans(session, arguments, decision) if decision.stage is Stage.LIVE else decision


def _after_plans(session: Session, arguments: Arguments, decision: Decision) -> Decision:
    """Return where a live job goes once it is planned, with the plans among the sources."""
    content = session.builder.read(arguments)
    chosen: Decision | None = decision
    while chosen is not None:
        decision = chosen
        try:
            faults = session.builder.build(content, decision).plan.faults
            said = "\n".join(["", *map(": ".join, faults)]) if faults else "nothing stands against the job"
        except InvalidJob as exc:
            faults, said = tuple(exc.faults), str(exc)
        except LyftLearnError as exc:
            faults, said = (), f"cannot be made: {exc}"
        decision = replace(decision, sources=(*decision.sources, (f"plan for {decision.backend}", said)))
        chosen = decision.after_refusal(InvalidJob(faults)) if faults else None
    return decision


_LEAST_LEVEL = 1e-300  # of parts of smaller ones there is no logarithm


def _complete(client: Client, function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    call = inspect.signature(getattr(client, function)).bind(**arguments)
    call.apply_defaults()
    return call.arguments


def migration_report(since: Duration | datetime | None = _MONTH, *, client: Client | None = None) -> ReadinessReport:
    """Return which jobs would have run on the new backend, and what keeps the others from it.

    Raises InvalidJob if `[migration] to` is not set, and BackendUnavailable if the history cannot be read.
    """
    from lyftlearn._migration import analysis  # noqa: PLC0415 - brings SQLAlchemy

    start, session = _migration_scope(since, client)
    with open_history(session) as journal:
        return analysis.report(journal, session.config, start)


def migration_status(since: Duration | datetime | None = _MONTH, *, client: Client | None = None) -> MigrationStatus:
    """Return how far the migration is, how jobs fare on either side, and what is missing before models may go on.

    It asks the backends how jobs ended, for half a minute at most. Raises what `migration_report` raises.
    """
    with no_collections():
        from lyftlearn._migration import outlook, reconcile, rung_store  # noqa: PLC0415 - brings SQLAlchemy
        from lyftlearn.history import costing  # noqa: PLC0415 - as above

    start, session = _migration_scope(since, client)
    with open_history(session) as journal:
        unsettled = reconcile.reconcile(journal, session.registry, session.config)
        with suppress(LyftLearnError):  # prices that cannot be read: costs are not known, and all else is
            costing.count_costs(journal, costing.PriceBook(session.config, session.registry), start, seconds=10)
        store, problem = rung_store.open_for_reading(session.config)
        with no_collections():
            return replace(outlook.status(journal, session.config, store, start, unsettled), problem=problem)


def migration_guard(
    since: Duration | datetime | None = _MONTH,
    *,
    level: float = 0.02,
    ignore: Collection[str] = (),
    client: Client | None = None,
) -> Guard:
    """Return whether jobs do worse on the new side: more fail, or take longer, or cost more, or shadows differ.

    It asks the backends how jobs ended, for half a minute at most. level: how probable it may be, between 0 and 1, that
    the guard ever calls the new side worse although both are alike, however often it is asked about what was submitted
    since one moment. ignore: measures that are not judged, such as "start-up time". Raises what `migration_report`
    raises.
    """
    with no_collections():
        from lyftlearn._migration import guard, reconcile  # noqa: PLC0415 - brings SQLAlchemy
    problem = f"is {level}: write a probability between 0 and 1, such as 0.02"
    faults = [] if _LEAST_LEVEL <= level < 1 else [("level", problem)]
    unknown = sorted(set(ignore) - guard.SHARES.keys())
    faults += [("ignore", f"{name!r} is no measure: write one of {', '.join(guard.SHARES)}") for name in unknown]
    if faults:
        raise InvalidJob(faults)
    start, session = _migration_scope(since, client)
    with open_history(session) as journal:
        reconcile.reconcile(journal, session.registry, session.config)
        with no_collections():
            return guard.judge(journal, session.config, start, level, ignore)


def _migration_scope(since: Duration | datetime | None, client: Client | None) -> tuple[datetime | None, Session]:
    session = (client or Client())._session  # noqa: SLF001 - the client's other half
    if session.config.migration_to is None:
        raise InvalidJob([migrations.missing(session.config.tables)])
    return point_in_time("since", since), session


def parity(
    on: Sequence[str],
    *,
    command: str | Sequence[str] | None = None,
    only: Collection[str] = (),
    parallel: int = 16,
    patience: Duration = "30m",
    python: str = "python3",
    counted: Callable[[str], int] | None = None,
    on_update: Callable[[parity_run.ComparisonProgress], None] | None = None,
    client: Client | None = None,
    **job: Any,
) -> Parity:
    """Run jobs on every backend in `on`, twice on the first, and return what differs, with a verdict on each fact.

    command, job: the user's own command, and further arguments of `train`. Without a command, only the facts of the
    probe are compared. only: the subjects to compare, by default all. parallel: how many jobs run at once on each
    backend. patience: how long a job may take to start. python: the command that starts Python 3.8 or newer in the
    image. counted: a function that returns how often a StatsD counter has come to the gateway. on_update: is called for
    every job that ended.

    A backend that refuses a job, or fails, is part of the answer. Raises InvalidJob with every fault before anything is
    sent. A KeyboardInterrupt stops every job that was started.
    """
    from lyftlearn.ops import parity_evidence  # noqa: PLC0415 - only for those who compare
    from lyftlearn.parity import _observe  # noqa: PLC0415 - as above

    order = _observe.ComparisonConfig(
        on=on,
        command=command,
        job=job,
        only=only,
        parallel=parallel,
        patience=patience,
        python=python,
        counted=counted,
        on_update=on_update,
    )
    client = client or Client()
    made_with = parity_evidence.made_with(client, order)
    measured = _observe.run(order, client)
    _keep_parity(measured, client)
    parity_evidence.keep(measured, client, order, made_with)
    return measured


def last_parity(config: Config) -> Path:
    """Return where the newest measure of this user is kept, as `parity run --json` prints it."""
    return config.home / "parity.json"


def _keep_parity(measured: Parity, client: Client) -> None:
    from lyftlearn.parity import _json  # noqa: PLC0415 - as above

    path = last_parity(client._config)  # noqa: SLF001 - the client's other half
    with suppress(OSError):  # the dashboard then shows an older one
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole_file(path, _json.dump(measured))


def backends(client: Client | None = None) -> list[Installed]:
    """Return every installed backend, sorted by name; one that cannot be loaded with its problem."""
    registry = (client or Client())._registry  # noqa: SLF001
    return [_installation(registry, name) for name in registry.names()]


def _installation(registry: Any, name: str) -> Installed:
    try:
        capabilities = registry.get(name).capabilities()
    except LyftLearnError as exc:
        return Installed(name=name, problem=str(exc), lacks={})
    why = {capability: capabilities.why_not(capability) for capability in Capability}
    return Installed(
        name=name,
        problem=None,
        offers=tuple(capability for capability, reason in why.items() if reason is None),
        lacks={capability: reason for capability, reason in why.items() if reason is not None},
    )
