"""Several migrations at once: which one counts, what they share, and what nobody could tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn.config import load
from lyftlearn.errors import InvalidJob
from lyftlearn.rollout import Rollout, Stage

TABLES: dict[str, Any] = {
    "sagemaker": {"from": "kubernetes", "to": "sagemaker", "stage": "live"},
    "layouts": {"from": "local-kubernetes", "to": "local-sagemaker", "flag": "layouts", "stage": "rehearse"},
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LYFTLEARN_MIGRATION", "LYFTLEARN_FLAGS", "LYFTLEARN_BACKEND", "LYFTLEARN_HOME"):
        monkeypatch.delenv(name, raising=False)


def configured(backend: str, **migration: Any) -> dict[str, Any]:
    return {"backend": backend, "migration": migration, "migrations": TABLES}


@pytest.mark.parametrize(
    ("backend", "pair", "flag", "stage"),
    [
        ("kubernetes", ("kubernetes", "sagemaker"), "lyftlearn-migration-sagemaker", "live"),
        ("local-kubernetes", ("local-kubernetes", "local-sagemaker"), "layouts", "rehearse"),
    ],
)
def test_the_one_of_this_backend_counts(backend: str, pair: tuple[str, str], flag: str, stage: str) -> None:
    """One file serves a whole platform: each repository is in the migration of its own backend."""
    config = load(configured(backend, ceiling="live"))
    assert (config.migration_from, config.migration_to) == pair
    assert (config.migration_flag, config.migration_stage, config.migration_ceiling) == (flag, stage, "live")
    decision = Rollout(config, lambda: pair).decide({"model": "eta"})
    assert (decision.stage, decision.backend) == (Stage(stage), pair[1] if stage == "live" else pair[0])


def test_a_repository_in_none_of_them() -> None:
    """Its jobs go where they went, and whoever asks about a migration is told which there are."""
    client = Client(config=configured("local"))
    assert ops.explain("train", "eta", client=client).backend == "local"
    with pytest.raises(InvalidJob, match="sagemaker, layouts: choose one by --migration"):
        ops.migration_report(client=client)


def test_a_migration_of_its_own_wins() -> None:
    """What `[migration]` alone said before still holds."""
    config = load(configured("kubernetes", to="local"))
    assert (config.migration, config.migration_to, config.migration_flag) == (None, "local", "lyftlearn-migration")


def test_another_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator looks at any of them from anywhere; a typing error is told with the names that exist."""
    monkeypatch.setenv("LYFTLEARN_MIGRATION", "layouts")
    assert load(configured("kubernetes")).migration_to == "local-sagemaker"
    monkeypatch.setenv("LYFTLEARN_MIGRATION", "layout")
    with pytest.raises(InvalidJob, match=r"is no table of \[migrations\]: write sagemaker, layouts"):
        load(configured("kubernetes"))


def test_every_fault_is_told() -> None:
    """Two with one old backend, one without a new one, one that leads nowhere, and a value that is no stage."""
    tables = {"a": {"to": "x"}, "b": {"to": "y"}, "c": {"from": "z"}, "d": {"from": "w", "to": "w"}}
    with pytest.raises(InvalidJob) as refusal:
        load({"backend": "kubernetes", "migrations": tables})
    assert [path for path, _ in refusal.value.faults] == ["migrations.b.from", "migrations.c.to", "migrations.d.to"]
    with pytest.raises(InvalidJob, match=r"migrations\.a\.stage"):
        load({"migrations": {"a": {"to": "x", "stage": "lvie"}}})
    with pytest.raises(InvalidJob, match="write the table"):
        load({"migrations": {"a": "sagemaker"}})


def test_paths_start_at_the_file_that_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags of each are found from any directory, and `config` says where each setting stands."""
    file = tmp_path / "lyftlearn.toml"
    file.write_text('backend = "local"\n[migrations.a]\nto = "local-sagemaker"\nflags = "a.json"\n')
    config = load(file)
    assert config.flag_source == str(tmp_path / "a.json")
    assert config.origin("migration.to") == str(file)


def test_doctor_looks_at_each(tmp_path: Path) -> None:
    """Which one counts here, the flag file of each, and every backend of either."""
    flags = {name: str(tmp_path / f"{name}.json") for name in TABLES}
    tables = {name: {**table, "flags": flags[name]} for name, table in TABLES.items()}
    config = {"home": str(tmp_path), "backend": "local-kubernetes", "migrations": tables}
    checks = {check.name: check.detail for check in ops.doctor(config)}
    assert checks["migration layouts"].endswith("counts here")
    assert checks["migration sagemaker"].endswith("counts where `backend` is kubernetes")
    assert {"backend kubernetes", "backend local-kubernetes", "backend local-sagemaker"} <= checks.keys()
