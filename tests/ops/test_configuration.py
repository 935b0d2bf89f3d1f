"""What is configured, and from where: without a credential in it."""

from __future__ import annotations

import json
from pathlib import Path

from lyftlearn import ops
from tests.cli.conftest import CommandLine
from tests.cli.conftest import lyftlearn as lyftlearn  # noqa: PLC0414 - a fixture

CANARY = "canary-7f3a"


def test_no_setting_shows_a_credential() -> None:
    """What is printed here is pasted into tickets."""
    config = {
        "storage": {"url": "s3://bucket/prefix"},
        "migration": {
            "from": "local",
            "to": "sagemaker",
            "flags": f"https://{CANARY}:{CANARY}@flags.example/x?token={CANARY}&a=1#{'f'}",
            "journal": f"postgresql://{CANARY}@db/x",
        },
        "local": {
            "token": CANARY,
            "api_key": CANARY,
            "nested": {"password": CANARY},
            "urls": [f"http://{CANARY}@h"],
        },
    }
    settings = ops.configuration(config)
    assert CANARY not in repr(settings)
    values = {setting.key: setting.value for setting in settings}
    assert values["migration.flags"] == "https://***@flags.example/x?token=***&a=***#f"
    assert values["storage.url"] == "s3://bucket/prefix"
    in_a_path = {"migration": {"to": "sagemaker", "flags": f"https://flags.example/{CANARY}-{CANARY}"}}
    assert CANARY not in repr(ops.configuration(in_a_path))


def test_each_setting_has_its_origin(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """Of three files and a variable, one says it; whoever changes another sees no change."""
    platform = tmp_path / "platform.toml"
    platform.write_text('team = "maps"\n[jobs]\ngrace = "40s"\n', encoding="utf-8-sig")
    own = lyftlearn.directory / "lyftlearn.toml"
    own.write_text('[jobs]\ngrace = "50s"\n')
    ran = lyftlearn("config", "--json", LYFTLEARN_PLATFORM_CONFIG=str(platform))
    found = {setting["key"]: setting for setting in json.loads(ran.out)}
    assert (found["team"]["value"], found["team"]["origin"]) == ("maps", str(platform))
    assert found["jobs.grace"]["value"] == "50s"
    assert found["jobs.grace"]["origin"] == str(own)
    assert found["home"]["origin"] == "LYFTLEARN_HOME"
    table = lyftlearn("config", LYFTLEARN_PLATFORM_CONFIG=str(platform)).out
    assert "jobs.grace" in table
