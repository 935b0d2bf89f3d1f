"""A Conflict over a key names the files that differ, so that nobody has to guess which it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn import Client


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a client whose jobs are sent and never looked at again."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(tmp_path / "none"))
    return Client(config={"project": "p", "home": str(tmp_path / "home"), "local": {"namespaces": "never"}})


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return a source."""
    code = tmp_path / "code"
    (code / "lib").mkdir(parents=True)
    for name in ("train.py", "lib/core.py", "old.py", "tool.sh"):
        (code / name).write_text(name)
    return code


def refusal(client: Client, source: Path | None, **others: object) -> str:
    """Return the message of the Conflict that a second call meets."""
    with pytest.raises(lyftlearn.Conflict) as caught:
        client.train("eta", command="true", source=source, key="nightly", **others)  # type: ignore[arg-type]
    return str(caught.value)


def test_files_that_differ_are_named(client: Client, code: Path) -> None:
    """One of thirty files was edited, and whoever sees the Conflict wants to know which."""
    client.train("eta", command="true", source=code, key="nightly")
    (code / "train.py").write_text("edited")
    (code / "old.py").unlink()
    (code / "lib/new.py").touch()
    (code / "tool.sh").chmod(0o755)
    expected = "lib/new.py is new, old.py is gone, tool.sh has changed, train.py has changed"
    assert refusal(client, code).endswith(f". In the source, {expected}")


def test_an_edited_configuration_is_named_with_the_way_out(client: Client, code: Path) -> None:
    """Who moves models in the repository's file changes the source, and a cron job must not stop for that."""
    (code / "lyftlearn.toml").write_text("[migration]\nstage = 'off'\n")
    client.train("eta", command="true", source=code, key="nightly")
    (code / "lyftlearn.toml").write_text("[migration]\nstage = 'live'\n")
    advice = "lyftlearn.toml has changed (if the job does not read lyftlearn.toml, name it in .lyftlearnignore)"
    assert refusal(client, code).endswith(advice)


def test_what_is_left_out_moves_no_key(client: Client, code: Path) -> None:
    """The advice of the Conflict, followed."""
    (code / ".lyftlearnignore").write_text("lyftlearn.toml\n")
    (code / "lyftlearn.toml").write_text("[migration]\nstage = 'off'\n")
    job = client.train("eta", command="true", source=code, key="nightly")
    (code / "lyftlearn.toml").write_text("[migration]\nstage = 'live'\n")
    assert client.train("eta", command="true", source=code, key="nightly").id == job.id


def test_many_files_are_counted(client: Client, code: Path) -> None:
    """A message is read by people."""
    client.train("eta", command="true", source=code, key="nightly")
    for number in range(15):
        (code / f"{number:02}.py").touch()
    assert refusal(client, code).endswith("09.py is new, and 5 more")


def test_an_equal_source_is_said_to_be_equal(client: Client, code: Path) -> None:
    """Then it was an argument, and nobody need look at files."""
    client.train("eta", command="true", source=code, key="nightly")
    assert refusal(client, code, env={"A": "1"}).endswith(". The source is the same")


@pytest.mark.parametrize("before", ["gone", "damaged", "unknown", "none"])
def test_what_is_not_known_is_not_said(client: Client, code: Path, before: str, tmp_path: Path) -> None:
    """The Conflict itself is never in doubt, whatever has become of the first caller's source or claim."""
    client.train("eta", command="true", source=None if before == "none" else code, key="nightly")
    (kept,) = (tmp_path / "home/storage").glob("sources/*" if before != "none" else "claims/*/*")
    if before == "gone":
        kept.unlink()
    if before == "damaged":
        kept.write_bytes(b"\x1f\x8b\x08")
    if before == "unknown":
        (claim,) = (tmp_path / "home/storage").glob("claims/*/*.json")
        document = json.loads(claim.read_text())
        del document["source"]
        claim.write_text(json.dumps(document))
    (code / "train.py").write_text("edited")
    assert refusal(client, code).endswith("write what that job had")
