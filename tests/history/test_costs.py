"""What jobs cost: worked bills, prices that nobody knows, and reports."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lyftlearn
from lyftlearn import ops
from lyftlearn._contract.costs import price_of
from lyftlearn._contract.prices import Prices
from lyftlearn.errors import InvalidJob
from lyftlearn.history.rows import OutcomeRow, SubmissionRow, UsageRow
from lyftlearn.history.store import History
from lyftlearn.ops.cost import known_costs
from lyftlearn_sagemaker.pricing import usage

NOW = datetime.now(UTC)
GIB = 1 << 30
PODS = Prices(cpu=0.031611, memory=0.004237, gpu={"T4": 0.35, "any": 2.48}, source="a table")
INSTANCES = Prices(
    instances={"ml.m4.4xlarge": 1.12, "ml.m5.xlarge": 0.23, "ml.p3.2xlarge": 3.825, "ml.g5.12xlarge": 7.09},
    source="a list",
)


def requested(cpu: float, memory: float, gpu: int = 0, gpu_type: str | None = None) -> dict[str, Any]:
    return {"cpu": cpu, "memory": int(memory * GIB), "gpu": gpu, "gpu_type": gpu_type}


def training_job(machine: str, billable: int, nodes: int = 1, **others: Any) -> dict[str, Any]:
    resources = {"InstanceType": machine, "InstanceCount": nodes}
    return {"ResourceConfig": resources, "BillableTimeInSeconds": billable, "TrainingTimeInSeconds": billable} | others


# Each with its bill, worked by hand: the time in hours, times the nodes, times the price of an hour.
POD_BILLS = {
    "an hour of a core and 2 GiB": (requested(1, 2), 3600, 1, 0.031611 + 2 * 0.004237),
    "ten minutes of half a core": (requested(0.5, 0.5), 600, 1, (0.0158055 + 0.0021185) / 6),
    "two nodes of 8 cores and 32 GiB for 90 minutes": (requested(8, 32), 5400, 2, 2 * 1.5 * (0.252888 + 0.135584)),
    "a T4 for a day": (requested(4, 16, 1, "T4"), 86_400, 1, 24 * (0.126444 + 0.067792 + 0.35)),
    "eight GPUs of any type for an hour": (requested(96, 1000, 8), 3600, 1, 3.034656 + 4.237 + 19.84),
}
TRAINING_BILLS = {
    # 30 minutes at 1.12 dollars an hour: https://aws.amazon.com/sagemaker/pricing/, in its examples.
    "half an hour": (training_job("ml.m4.4xlarge", 1800), 0.56),
    "four instances for two hours": (training_job("ml.m5.xlarge", 7200, 4), 1.84),
    # Spot: trained for an hour, billed for 1080 s, as the service says "Managed Spot Training savings: 70.0%".
    "spot": (
        training_job("ml.p3.2xlarge", 1080, EnableManagedSpotTraining=True, TrainingTimeInSeconds=3600),
        0.3 * 3.825,
    ),
    "a warm pool that was kept for 10 minutes": (
        training_job("ml.g5.12xlarge", 3000, WarmPoolStatus={"ResourceRetainedBillableTimeInSeconds": 600}),
        7.09,
    ),
    "never started": (training_job("ml.g5.12xlarge", 0), 0.0),
}


@pytest.mark.parametrize("bill", POD_BILLS)
def test_bills_of_pods(bill: str) -> None:
    """Within one percent of a bill that a person worked out."""
    resources, seconds, nodes, amount = POD_BILLS[bill]
    assert price_of(None, resources, PODS, "kubernetes").of(seconds, nodes) == pytest.approx(amount, rel=0.01)


@pytest.mark.parametrize("bill", TRAINING_BILLS)
def test_bills_of_training_jobs(bill: str) -> None:
    """What spot instances spare is in the billed time, and warm ones are paid for while they wait."""
    described, amount = TRAINING_BILLS[bill]
    used = usage(described)
    assert price_of(used.machine, None, INSTANCES, "sagemaker").of(used.seconds, used.nodes) == pytest.approx(
        amount, rel=0.01
    )


@pytest.mark.parametrize(
    ("machine", "resources", "prices", "why"),
    [
        ("ml.new.large", None, INSTANCES, "no price of ml.new.large is known"),
        (None, requested(1, 1), Prices(), "no price is known for kubernetes"),
        (None, requested(1, 1), Prices(cpu=0.1), "has no memory_hour"),
        (None, requested(1, 1, 1, "A10G"), Prices(cpu=0.1, memory=0.1), "has no gpu_hour of A10G"),
        (None, None, PODS, "the resources that were asked for are not known"),
    ],
)
def test_a_price_that_nobody_knows(machine: Any, resources: Any, prices: Prices, why: str) -> None:
    """It is never zero, and it is said what is missing."""
    price = price_of(machine, resources, prices, "kubernetes")
    assert price.amount is None
    assert price.of(3600, 1) is None
    assert why in price.basis


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lyftlearn.Client:
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.toml").write_text('[local]\ncpu_hour = 36\nmemory_hour = 0\ncurrency = "EUR"\n')
    (tmp_path / "lyftlearn.toml").write_text(f'home = "{tmp_path}"\nteam = "maps"\n[cost]\nprices = "prices.toml"\n')
    return lyftlearn.Client()


def ran(history: History, number: int, *, backend: str = "local", seconds: float = 100.0, **others: Any) -> None:
    told: dict[str, Any] = {"model": "eta", "team": "maps", "status": "succeeded", "at": NOW} | others
    job_id = f"{told['model']}-{backend}-{number}"
    end = None if told["status"] is None else told["status"]
    rows: list[Any] = [
        SubmissionRow(
            job_id=job_id, at=told["at"], model=told["model"], kind="train", backend=backend, team=told["team"],
            nodes=1, resources=requested(1, 2),
        )
    ]  # fmt: skip
    if end is not None:
        rows.append(
            OutcomeRow(
                job_id=job_id, status=end, reason=None, exit_code=0, created_at=NOW, started_at=NOW,
                finished_at=NOW + timedelta(seconds=seconds),
            )
        )  # fmt: skip
    history.record(*rows)


def test_a_real_job_is_counted(client: lyftlearn.Client, tmp_path: Path) -> None:
    """From the submission to the bill: by what the job asked for, and the time that it ran."""
    job = client.train("eta", command="sleep 1", resources=lyftlearn.Resources(cpu=2))
    state = job.wait(progress=False)
    assert state.started_at is not None
    assert state.finished_at is not None
    seconds = (state.finished_at - state.started_at).total_seconds()
    found = ops.job_cost(job, client=client)
    assert found is not None
    assert found.amount == pytest.approx(2 * 36 * seconds / 3600)
    (row,) = ops.cost("team", client=client).rows
    assert (row.group, row.jobs, row.priced, row.currency) == ("maps", 1, 1, "EUR")
    assert row.cost == pytest.approx(found.amount)


def test_a_cost_stays_when_prices_change(client: lyftlearn.Client, tmp_path: Path) -> None:
    """A bill of last month is what was paid."""
    ran(client._session.history.open(), 1)
    assert ops.cost(client=client).rows[0].cost == pytest.approx(1.0)
    (tmp_path / "prices.toml").write_text("[local]\ncpu_hour = 72\nmemory_hour = 0\n")
    assert ops.cost(client=lyftlearn.Client()).rows[0].cost == pytest.approx(1.0)


def test_groups_and_what_is_not_known(client: lyftlearn.Client) -> None:
    """Sums are of jobs with a price; the others are counted beside them, with the reason."""
    history = client._session.history.open()
    for number in range(3):
        ran(history, number)
    ran(history, 9, model="pricing", team="rides", seconds=1000)
    ran(history, 1, backend="kubernetes")
    ran(history, 2, status=None)
    found = ops.cost("model", client=client)
    assert [(row.group, row.jobs, row.priced, row.unpriced) for row in found.rows] == [
        ("pricing", 1, 1, 0),
        ("eta", 4, 3, 1),
    ]
    assert [row.cost for row in found.rows] == pytest.approx([10.0, 3.0])
    assert found.unknown == (("no price is known for kubernetes: see [kubernetes.prices]", 1),)
    by_backend = {row.group: row.cost for row in ops.cost("backend", client=client).rows}
    assert by_backend["kubernetes"] is None


def test_currencies_are_never_added_up(client: lyftlearn.Client) -> None:
    """A dollar and a euro are no two of anything."""
    history = client._session.history.open()
    for number, currency in enumerate(("EUR", "USD")):
        ran(history, number)
        history.record(UsageRow(job_id=f"eta-local-{number}", cost=1.5, currency=currency))
    assert {(row.cost, row.currency) for row in ops.cost(client=client).rows} == {(1.5, "EUR"), (1.5, "USD")}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lyftlearn.cli", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)


def test_the_command_line(client: lyftlearn.Client) -> None:
    """A person reads a table, a program JSON, a spreadsheet CSV; a plan says what a job would cost."""
    history = client._session.history.open()
    ran(history, 1)
    ran(history, 2, backend="kubernetes")
    table = command("cost", "--by", "backend")
    assert "1.00 EUR" in table.stdout
    assert "not known" in table.stdout
    assert "1 job is not in the cost: no price is known for kubernetes" in table.stdout
    rows = list(csv.DictReader(io.StringIO(command("cost", "--by", "backend", "--csv").stdout)))
    assert [(row["backend"], row["currency"], row["priced"]) for row in rows] == [
        ("local", "EUR", "1"),
        ("kubernetes", "", "0"),
    ]
    assert json.loads(command("cost", "--json").stdout)["rows"][0]["cost"] == pytest.approx(1.0)
    wrong = command("cost", "--by", "teams")
    assert (wrong.returncode, "did you mean 'team'?" in wrong.stderr) == (2, True)
    plan = command("plan", "train", "eta", "--cpu", "2", "--timeout", "30m", "--", "true")
    assert "cost: 72.00 EUR an hour" in plan.stdout
    assert "usually 2.00 EUR, by 1 earlier job, at most 36.00 EUR until its timeout" in plan.stdout


def test_a_broken_price_file_is_named(client: lyftlearn.Client, tmp_path: Path) -> None:
    """Every fault at once, with the table and the key."""
    (tmp_path / "prices.toml").write_text('[local]\ncpu_hour = "much"\ncpu_our = 1\n')
    with pytest.raises(InvalidJob) as caught:
        ops.cost(client=client)
    assert len(caught.value.faults) == 2
    assert "cpu_hour" in str(caught.value)
    (tmp_path / "prices.toml").unlink()
    with pytest.raises(InvalidJob, match="cannot be read"):
        ops.cost(client=client)


def test_costs_of_listed_jobs_are_those_that_are_known(tmp_path: Path) -> None:
    """A list asks no price list: what nobody has counted has no cost there."""
    client = lyftlearn.Client(config={"home": str(tmp_path), "backend": "local"})
    history = client._session.history.history()
    for number in range(3):
        history.record(SubmissionRow(job_id=f"job-{number}", at=NOW, model="m", kind="train", backend="local"))
    history.record(
        UsageRow(job_id="job-1", cost=0.0, currency="USD"), UsageRow(job_id="job-2", cost=1.5, currency="EUR")
    )
    listed: Any = [SimpleNamespace(id=f"job-{number}") for number in range(4)]
    found = known_costs(listed, client=client)
    assert {job_id: (cost.amount, cost.currency) for job_id, cost in found.items()} == {
        "job-1": (0.0, "USD"),
        "job-2": (1.5, "EUR"),
    }
    assert known_costs([], client=client) == {}


@pytest.mark.parametrize("prices", [False, True])
def test_the_status_of_a_job_needs_no_database_library(tmp_path: Path, prices: bool) -> None:
    """It is asked for over and over: a cost that is known is read out of the file, and without prices there is none."""
    table = {"local": {"prices": {"cpu_hour": 1.0, "memory_hour": 0.0}}} if prices else {}
    config = {"home": str(tmp_path), "backend": "local", **table}
    client = lyftlearn.Client(config=config)
    job = client.train("eta", command="true")
    job.wait(progress=False)
    ran = ops.job_cost(job, client=client)  # counts it, where there are prices
    ask = "import json, sys; from lyftlearn import Client, ops; client = Client(config=json.loads(sys.argv[1])); "
    ask += "print(ops.job_cost(client.job(sys.argv[2]), client=client), 'sqlalchemy' in sys.modules)"
    command = [sys.executable, "-c", ask, json.dumps(config), job.id]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    assert told == f"{ran} False\n"
    assert (ran is not None and ran.amount is not None) == prices
