"""A backend that breaks parity is caught: each way of breaking it, by the row that is about it and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn.parity._model import Parity, Verdict
from tests.containers import require_containers

PLUGIN = Path(__file__).parent / "plugin"
SECRET = "correct horse battery staple"
QUICK = ("environment", "process", "secrets", "hyperparameters", "inputs", "artifacts", "output", "exit 37", "retries")

WAYS: Mapping[str, tuple[str, set[str]]] = {
    "DropsAVariable": ("environment", {"environment PARITY_SPACES"}),
    "AddsAVariable": ("environment", {"environment PLATFORM_VERSION"}),
    "LeaksASecret": ("environment", {"environment GREETING"}),
    "OpensASecret": ("secrets", {"secrets warehouse WAREHOUSE_PASSWORD mode"}),
    "StringifiesANumber": ("hyperparameters", {"hyperparameters whole"}),
    "ChangesTheDirectory": ("process", {"process cwd"}),
    "ChangesTheUmask": ("process", {"process umask"}),
    "LosesEmptyDirectories": ("artifacts", {"artifacts model hollow/within"}),
    "LosesAMode": ("artifacts", {"artifacts model run.sh"}),
    "SwallowsExitCodes": ("exit 37", {"exit 37 exit_code"}),
    "LosesTheMessage": ("exit 37", {"exit 37 message"}),
    "CallsTimeoutsStops": ("timeout", {"timeout status"}),
    "ForgetsAttempts": ("retries", {"retries attempt"}),
    "LosesTheLastLine": ("output", {"output last", "output count"}),
    "DoublesALine": ("output", {"output tab", "output count"}),
    "CutsLines": ("output", {"output long 100000"}),
}

Compare = Callable[..., Parity]


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Hold a backend that is broken in one way against the local one, through the instrument that users run."""
    require_containers()
    monkeypatch.syspath_prepend(PLUGIN)
    for name in ("LYFTLEARN_BACKEND", "LYFTLEARN_HOME"):
        monkeypatch.delenv(name, raising=False)
    values = {"WAREHOUSE_PASSWORD": SECRET, "WAREHOUSE_USER": "eta"}
    for key, value in values.items():
        path = tmp_path / "secrets" / "warehouse" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    table = {"secrets": str(tmp_path / "secrets")}

    def run(way: str, only: tuple[str, ...] = (), **job: Any) -> Parity:
        config = {"home": str(tmp_path / "home"), "local": table, "broken": {**table, "way": way}}
        given: dict[str, Any] = {"secrets": ["warehouse"], **job}
        return ops.parity(["local", "broken"], only=only, client=Client(config=config), **given)

    return run


def wrong(parity: Parity) -> set[str]:
    return {row.path for row in parity.rows if row.worst in (Verdict.BROKEN, Verdict.UNKNOWN)}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_caught_by_its_row(compare: Compare, way: str) -> None:
    """A fault that is missed, or drowned in rows about other things, is found by users instead."""
    only, rows = WAYS[way]
    parity = compare(way, (only,))
    assert wrong(parity) == rows
    assert not parity.holds


def test_what_is_not_broken_is_clean(compare: Compare) -> None:
    """A false alarm costs the trust in every other one."""
    parity = compare("Whole", QUICK, command="echo hello; exit 3")
    assert wrong(parity) == set()
    assert len(parity.rows) > 150


@pytest.mark.slow
def test_the_whole_instrument_is_clean_on_what_is_not_broken(compare: Compare) -> None:
    """Every subject, stops and timeouts among them."""
    parity = compare("Whole", command="echo hello; echo model > $LYFTLEARN_MODEL_DIR/model.bin")
    assert wrong(parity) == set()
    assert {row.path for row in parity.rows} > {"stop asked status", "timeout status", "nodes 1 count"}


def test_a_backend_that_takes_no_job_is_one_row(compare: Compare) -> None:
    """Nine hundred absent facts say less than the one reason for them; and nothing observed is never fine."""
    parity = compare("RefusesEverything", ("environment", "exit 37"))
    assert wrong(parity) == {"jobs submission"}
    (row,) = (row for row in parity.rows if row.path == "jobs submission")
    assert "batch/jobs may not be created" in str(row.cells["broken"].value)


def test_no_value_of_a_secret_is_in_a_report(compare: Compare) -> None:
    """A report is mailed around; the command prints the secret, and a variable holds it."""
    command = "echo the password is $WAREHOUSE_PASSWORD.; echo $WAREHOUSE_PASSWORD >&2; exit 3"
    parity = compare("LeaksASecret", ("environment", "secrets", "command"), command=command)
    text = json.dumps([[row.path, row.reference, *(cell.value for cell in row.cells.values())] for row in parity.rows])
    assert "horse" not in text
    lines = {row.path: row.reference for row in parity.rows if row.path.startswith("command line ")}
    assert str(lines["command line 1"]).startswith('"the password is <28 characters #')
    assert wrong(parity) == {"environment GREETING"}
