"""What the templates of the dashboard are given: texts of what the history knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lyftlearn._jobs.views import COLOURS, PHASE_COLOURS, time_text
from lyftlearn._text.display import telling_line
from lyftlearn.dashboard.jobs import OPEN, Known
from lyftlearn.dashboard.models import Figures
from lyftlearn.ops.cost import CostRow
from lyftlearn.rollout import Decision
from lyftlearn.types import JobStatus

_UNKNOWN_COLOUR = COLOURS[JobStatus.PENDING]
NO_PRICE = "no price known"


def colour(status: str) -> str:
    """Return the colour of a status, also of one that only the history has."""
    return COLOURS.get(JobStatus(status), _UNKNOWN_COLOUR) if status in list(JobStatus) else _UNKNOWN_COLOUR


def job_row(job: Mapping[str, Any]) -> Mapping[str, str]:
    """Return what a table of jobs shows of one."""
    status = job["status"] or OPEN
    return {
        "id": job["job_id"],
        "model": job["model"],
        "kind": job["kind"],
        "backend": job["backend"],
        "team": job["team"] or "",
        "status": status,
        "colour": colour(status),
        "at": f"{job['at']:%Y-%m-%d %H:%M}",
        "duration": seconds_text(job["duration"]),
        "cost": money(job["cost"], job["currency"]),
        "message": ": ".join(filter(None, (job["reason"], telling_line(job["message"] or "")))),
    }


def job_facts(known: Known) -> Mapping[str, str]:
    """Return what a page tells of a job, without what is not known."""
    job = known.job
    decision = Decision.from_json(job["decision"] or "")
    facts = {
        "backend": job["backend"],
        "submitted": moment(job["at"]),
        "started": moment(job["started_at"]),
        "finished": moment(job["finished_at"]),
        "start-up": seconds_text(job["start_up"]),
        "duration": seconds_text(job["duration"]),
        "reason": job["reason"] or "",
        "exit code": "" if job["exit_code"] is None else str(job["exit_code"]),
        "attempt": str(job["attempt"]) if (job["attempt"] or 1) > 1 else "",
        "cost": "" if job["status"] is None else money(job["cost"], job["currency"]) or NO_PRICE,
        "counted by": job["basis"] or "",
        "machine": job["machine"] or "",
        "nodes": str(job["nodes"] or ""),
        "resources": ", ".join(_resource(*one) for one in (job["resources"] or {}).items() if one[1]),
        "image": job["image"] or "",
        "repository": job["repository"] or "",
        "team": job["team"] or "",
        "owner": job["owner"] or "",
        "labels": ", ".join(f"{name}={value}" for name, value in (job["labels"] or {}).items()),
        "stage": job["stage"] or "",
        "decided by": f"{decision.source}: {decision.reason}" if decision else "",
        "doubles": job["shadow_of"] or "",
    }
    return {name: value for name, value in facts.items() if value}


def job_sources(known: Known) -> Mapping[str, str]:
    """Return what was asked where a job runs, in order, and each answer, as `lyftlearn explain` tells them."""
    decision = Decision.from_json(known.job["decision"] or "")
    return dict(decision.sources) if decision else {}


def _resource(name: str, value: Any) -> str:
    in_bytes = name in ("memory", "disk", "shared_memory")
    return f"{name.replace('_', ' ')} {f'{value / 2**30:g} GiB' if in_bytes else value}"


def phases(timings: Mapping[str, float] | None) -> Sequence[Mapping[str, str]]:
    """Return the phases of a job, as a bar and its key are drawn from them."""
    return [
        {"name": name, "length": f"{length:.3f}", "text": time_text(length), "colour": PHASE_COLOURS.get(name, "gray")}
        for name, length in (timings or {}).items()
    ]


def call(job: Mapping[str, Any]) -> str:
    """Return a call that submits such a job again, as far as the history has its arguments."""
    given: dict[str, Any] = {"command": job["command"], "image": job["image"], "nodes": job["nodes"]}
    given |= {"labels": job["labels"]}
    words = [json.dumps(job["model"], ensure_ascii=False)]
    words += [f"{name}={value!r}" for name, value in given.items() if value and (name, value) != ("nodes", 1)]
    return f"lyftlearn.{job['kind']}({', '.join(words)})"


def figures_row(one: Figures) -> Mapping[str, str]:
    """Return what a table of models shows of one on one backend."""
    return {
        "repository": one.repository or "",
        "model": one.model,
        "backend": one.backend,
        "day": one.day or "",
        "jobs": f"{one.jobs:,}",
        "success": "-" if one.success is None else f"{one.success:.1%}",
        "start_up": seconds_text(one.start_up) or "-",
        "duration": seconds_text(one.duration) or "-",
        "cost": money(one.cost, one.currency) or "-",
    }


def cost_row(one: CostRow) -> Mapping[str, str]:
    """Return what a table of costs shows of one group."""
    return {
        "group": one.group or "not known",
        "jobs": f"{one.jobs:,}",
        "hours": f"{one.hours:,.1f}",
        "cost": money(one.cost, one.currency) or NO_PRICE,
        "unpriced": f"{one.unpriced:,}",
        "open": f"{one.open:,}",
    }


def seconds_text(seconds: float | None) -> str:
    """Return a length of time in words, nothing where it is not known."""
    return "" if seconds is None else time_text(seconds)


def money(cost: float | None, currency: str | None) -> str:
    """Return an amount with its currency; nothing where no price is known, which is not zero."""
    if cost is None:
        return ""
    return (
        f"{cost:,.2f} {currency or ''}".rstrip()
        if cost >= 0.01 or cost == 0
        else f"{cost:.4f} {currency or ''}".rstrip()
    )


def moment(at: datetime | None) -> str:
    """Return a time in UTC, nothing where it is not known."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
