"""Costs of jobs on Kubernetes as OpenCost counts them, and what is told where it cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn.backend import Verdict
from lyftlearn.history import costing
from lyftlearn.history.rows import OutcomeRow, SubmissionRow
from lyftlearn.history.store import History
from lyftlearn.ops.cost import cost
from lyftlearn_kubernetes import opencost
from tests.doubles.opencost import OpenCost, Pod, serving_opencost

END = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
START = END - timedelta(hours=1)
GIB = 1 << 30


@pytest.fixture
def known() -> Iterator[OpenCost]:
    with serving_opencost() as server:
        yield server


def client_of(home: Path, known: OpenCost, **table: Any) -> lyftlearn.Client:
    kubernetes = {"opencost": known.url, "kubeconfig": str(home / "none"), **table}
    return lyftlearn.Client(config={"home": str(home), "backend": "kubernetes", "kubernetes": kubernetes})


def ran(client: lyftlearn.Client, job_id: str, start: datetime = START, end: datetime = END) -> None:
    requested = {"cpu": 2.0, "memory": 4 * GIB, "gpu": 0, "gpu_type": None}
    history: History = client._session.history.open()
    history.record(
        SubmissionRow(
            job_id=job_id, at=start, model="eta", kind="train", backend="kubernetes", nodes=2, resources=requested
        ),
        OutcomeRow(
            job_id=job_id,
            status="succeeded",
            reason=None,
            exit_code=0,
            created_at=start,
            started_at=start,
            finished_at=end,
        ),
    )


def counted(client: lyftlearn.Client, job_id: str) -> Any:
    """Return what `lyftlearn cost` has written down of a job."""
    cost(since=None, client=client)
    return costing.find(client._session.history.open(), job_id)


def pods_of(job_id: str, *costs: float) -> list[Pod]:
    labels = {"lyftlearn/job": job_id, "app.kubernetes.io/managed-by": "lyftlearn"}
    return [Pod(labels, START, END, amount) for amount in costs]


@pytest.mark.parametrize("old", [False, True])
def test_what_all_pods_of_a_job_have_cost(tmp_path: Path, known: OpenCost, old: bool) -> None:
    """Of this job alone, whatever else ran then; the bill is kept, and nobody is asked for it again."""
    known.old = old
    known.pods = [*pods_of("eta-tk1", 0.25, 0.5), *pods_of("eta-tk10", 7.0), Pod({"app": "other"}, START, END, 9.0)]
    client = client_of(tmp_path, known, prices={"currency": "EUR"})
    ran(client, "eta-tk1")
    row = counted(client, "eta-tk1")
    assert (row["cost"], row["currency"], row["basis"]) == (pytest.approx(0.75, rel=0.01), "EUR", "counted by OpenCost")
    assert counted(client, "eta-tk1")["cost"] == row["cost"]
    assert len(known.requests) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 500}, "OpenCost answered with status 500"),
        ({"status": 302}, "OpenCost answered with status 302"),
        ({"body": b"<html>log in</html>"}, "OpenCost's answer is no JSON"),
        ({"body": b"[" * 100_000}, "OpenCost's answer is no JSON"),
        ({"body": b'{"data": null}'}, "OpenCost's answer is none of its allocation API"),
        ({"body": b'{"data": [{"eta-tk1": {"name": "x"}}]}'}, "OpenCost's answer is none of its allocation API"),
        (
            {"body": b'{"data": [{"eta-tk1": {"totalCost": %s}}]}' % (b"9" * 400)},
            "OpenCost's answer is none of its allocation API",
        ),
        ({"body": b'{"data": [{"eta-tk1": {"totalCost": -1}}]}'}, "OpenCost's answer has a cost that is none"),
        ({"body": b'{"data": [{"eta-tk1": {"totalCost": NaN}}]}'}, "OpenCost's answer has a cost that is none"),
        ({"body": b'{"data": [null]}'}, "OpenCost knows no pod of this job"),
        ({"drip": 0.05, "body": b" " * 1000}, "OpenCost does not answer: the answer takes too long"),
    ],
)
def test_prices_count_where_it_has_no_word(
    tmp_path: Path, known: OpenCost, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], why: str
) -> None:
    """Absent, late or wrong: the job is priced by what it requested, and it is said why."""
    monkeypatch.setattr(opencost, "SECONDS", 0.5)
    vars(known).update(answer)
    client = client_of(tmp_path, known, prices={"cpu_hour": 0.03, "memory_hour": 0.01})
    ran(client, "eta-tk1")
    row = counted(client, "eta-tk1")
    assert row["cost"] == pytest.approx(2 * (2 * 0.03 + 4 * 0.01))
    assert row["basis"] == f"what it requested, [kubernetes.prices]; {why}"


def test_one_that_is_away_is_asked_once(tmp_path: Path, known: OpenCost) -> None:
    """A thousand jobs do not wait for it a thousand times; without prices the cost is unknown, and not zero."""
    known.status = 503
    client = client_of(tmp_path, known)
    for number in range(20):
        ran(client, f"eta-tk{number}")
    report = cost(since=None, client=client)
    assert len(known.requests) == 1
    [(why, jobs)] = report.unknown
    assert jobs == 20
    assert "[kubernetes.prices] has no cpu_hour, memory_hour; OpenCost answered with status 503" in why
    assert report.rows[0].cost is None


def test_a_job_that_has_just_ended_is_not_counted_yet(tmp_path: Path, known: OpenCost) -> None:
    """Half of its bill would be kept for ever."""
    now = datetime.now(UTC)
    client = client_of(tmp_path, known, prices={"cpu_hour": 1.0, "memory_hour": 1.0})
    ran(client, "eta-tk1", now - timedelta(hours=1), now)
    assert counted(client, "eta-tk1")["cost"] is None
    assert known.requests == []


def test_nobody_listens_there(tmp_path: Path, known: OpenCost) -> None:
    """A wrong port is told in words."""
    client = client_of(tmp_path, replace(known, url="http://127.0.0.1:9"), prices={"cpu_hour": 0, "memory_hour": 0})
    ran(client, "eta-tk1")
    assert "OpenCost does not answer: " in counted(client, "eta-tk1")["basis"]


def test_doctor_asks_it(known: OpenCost) -> None:
    """An operator learns of a wrong address before the bills of a month are counted otherwise."""
    assert opencost.check(known.url).verdict is Verdict.OK
    known.body = b"<html>"
    found = opencost.check(known.url)
    assert found.verdict is Verdict.WARNING
    assert found.detail.startswith(f"OpenCost's answer is no JSON ({known.url}): ")


def test_an_address_that_is_none(tmp_path: Path) -> None:
    """It is a fault of the configuration."""
    with pytest.raises(lyftlearn.InvalidJob, match=r"kubernetes\.opencost"):
        client_of(tmp_path, OpenCost(url="opencost:9003")).train("eta", command="true", image="eta:1")
