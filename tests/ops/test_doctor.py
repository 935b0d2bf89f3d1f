"""What doctor looks at, and how long it takes where nobody answers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import ops
from lyftlearn.backend import Check, Verdict

STAGES = {name: name for name in ("unset", "off", "rehearse", "shadow", "live", "complete")}


def checks(config: dict[str, Any], **others: Any) -> dict[str, Check]:
    return {check.name: check for check in ops.doctor(config, **others)}


@pytest.fixture
def silence() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_network_that_swallows_everything_is_waited_for_once(
    tmp_path: Path, silence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is offline must not look at a silent terminal for minutes, once for each thing that is asked."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", silence)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    waited: list[str] = []
    config = {
        "home": str(tmp_path),
        "storage": {"url": "s3://bucket/prefix"},
        "migration": {"from": "local", "to": "sagemaker"},
        "local": {"containers": "never", "namespaces": "never"},  # a busy machine takes long to start either
        "sagemaker": {"region": "us-east-1", "role": "arn:aws:iam::123456789012:role/jobs"},
    }
    before = time.monotonic()
    found = checks(config, seconds=20, on_wait=waited.append)
    assert time.monotonic() - before < 60
    assert waited == ["storage", "flag", "history", "backend local", "backend sagemaker"]
    for name in ("storage", "backend sagemaker"):
        assert found[name].verdict is Verdict.FAILED
        assert "no answer within 20 s" in found[name].detail
    assert found["backend local"].verdict is Verdict.OK


def test_the_journal_is_looked_at(tmp_path: Path) -> None:
    """A journal that cannot be written records nothing of a migration, and nobody else would say so."""
    migration = {"from": "local-kubernetes", "to": "local-sagemaker"}
    config: dict[str, Any] = {"home": str(tmp_path), "migration": migration}
    assert checks(config)["history"] == Check("history", Verdict.OK, "0 jobs in it")


@pytest.mark.parametrize(
    "url",
    ["sqlite:////no/such/directory/journal.sqlite", "postgresql+nodriver://host/db", "nonsense", "sqlite://host:bad/x"],
)
def test_a_journal_that_cannot_be_used_is_a_failure(tmp_path: Path, url: str) -> None:
    """A missing driver, a bad port and a missing directory are one line each, and no traceback."""
    migration = {"from": "local-kubernetes", "to": "local-sagemaker", "journal": url}
    check = checks({"home": str(tmp_path), "migration": migration})["history"]
    assert check.verdict is Verdict.FAILED
    assert "nothing of jobs and migrations is recorded" in check.detail
    assert "\n" not in check.detail


def flag_file(path: Path, flag: Any) -> dict[str, Any]:
    path.write_text(json.dumps({"flags": {"lyftlearn-migration": flag}}), encoding="utf-8-sig")
    home = str(path.parent / "home")
    return {"home": home, "migration": {"from": "local-kubernetes", "to": "local-sagemaker", "flags": str(path)}}


GOOD = {
    "state": "ENABLED",
    "variants": STAGES,
    "defaultVariant": "unset",
    "targeting": {"if": [{"in": [{"var": "team"}, ["maps"]]}, {"fractional": [["live", 30], ["off", 70]]}, "rehearse"]},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variants": {**STAGES, "live": "lvie"}}, "variant 'live' is 'lvie', which is no stage"),
        ({"variants": {**STAGES, "on": True}}, "variant 'on' is True, which is no stage"),
        ({"variants": {}}, "has no variants"),
        ({"variants": None}, "has no variants"),
        ({"state": "DISABLED"}, "is disabled"),
        ({"defaultVariant": "none"}, "gives variant 'none', which it does not have"),
        ({"targeting": {"if": [True, "canary"]}}, "gives variant 'canary'"),
        ({"targeting": {"fractional": [["live", 30], ["of", 70]]}}, "gives variant 'of'"),
        ({"targeting": {"if": [True, {"fractional": [["live", 30], ["off", 60]]}]}}, "add up to 90"),
    ],
)
def test_a_flag_whose_answers_nobody_obeys_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """A stage that is misspelt in a variant is evaluated without complaint, and decides nothing."""
    check = checks(flag_file(tmp_path / "flags.json", {**GOOD, **change}))["flag file"]
    assert check.verdict is Verdict.WARNING
    assert said in check.detail


def test_a_good_flag_is_good_though_its_file_begins_with_a_mark(tmp_path: Path) -> None:
    """The other half: nothing is said where nothing is wrong."""
    assert checks(flag_file(tmp_path / "flags.json", GOOD))["flag file"].verdict is Verdict.OK


def test_the_platform_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the configuration comes from it, and its absence explains much."""
    path = tmp_path / "platform.toml"
    path.write_text('project = "rides"\n')
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(path))
    assert str(path) in checks({"home": str(tmp_path)})["configuration"].detail
