"""What a flag is told: the repository's name from any checkout, and nothing that is secret; and settings of shadows."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.config import Config, load
from lyftlearn.errors import InvalidJob
from lyftlearn.rollout.flag_cache import PersistentFlagCache
from lyftlearn.rollout.flags import Flags
from lyftlearn.rollout.stage import Stage
from lyftlearn.rollout.targeting import repository_name

FLAGS = Path(__file__).parents[2] / "docs" / "how-to" / "migration" / "flags.json"


def checkout(folder: Path, url: str) -> Config:
    subprocess.run(["git", "init", "-q", folder], check=True, timeout=600)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", url], check=True, timeout=600)
    return Config(folder / "lyftlearn.toml", {})


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:rides/pricing.git", "rides/pricing"),
        ("https://github.com/rides/pricing", "rides/pricing"),
        ("https://user:hunter2@github.com/rides/pricing.git", "rides/pricing"),
        ("ssh://git@host:22/rides/pricing.git/", "rides/pricing"),
        ("https://hunter2@host/pricing", "work"),
    ],
)
def test_the_repositorys_name(tmp_path: Path, url: str, name: str) -> None:
    """Targeting by repository works in every checkout, and what may be a password is never told to a flag."""
    assert repository_name(checkout(tmp_path / "work", url)) == name


def test_a_worktree_and_a_subdirectory_have_the_name_of_their_repository(tmp_path: Path) -> None:
    """CI systems check out in worktrees; people start in subdirectories."""
    checkout(tmp_path / "work", "git@github.com:rides/pricing.git")
    git: list[str | Path] = ["git", "-C", tmp_path / "work", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True, timeout=600)
    subprocess.run([*git, "worktree", "add", "-q", tmp_path / "tree"], check=True, timeout=600)
    (tmp_path / "tree" / "deep").mkdir()
    assert repository_name(Config(tmp_path / "tree" / "deep" / "lyftlearn.toml", {})) == "rides/pricing"


@pytest.mark.parametrize("broken", ["gitdir: /nowhere/at/all", "\xff\xfe", "[remote", "[core]\n\tbare\n"])
def test_a_broken_checkout_costs_no_submission(tmp_path: Path, broken: str) -> None:
    """A name that cannot be read is no name, and no error."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".git").write_bytes(broken.encode("latin-1"))
    assert repository_name(Config(tmp_path / "work" / "lyftlearn.toml", {})) in (None, "work")


def test_many_threads_ask_a_file_for_the_first_time(tmp_path: Path) -> None:
    """A server's threads begin together: none may find the file half read and take its flag for away."""
    attributes = {"model": "eta", "repository": "rides/pricing", "team": None}
    for _ in range(20):
        flags = Flags(load({"home": str(tmp_path), "migration": {"to": "new", "flags": str(FLAGS), "cache": "0s"}}))
        gate = threading.Barrier(8)
        stages: list[Stage | None] = []

        def ask(flags: Flags = flags, gate: threading.Barrier = gate, stages: list[Stage | None] = stages) -> None:
            gate.wait()
            stages.append(flags.ask(attributes).stage)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stages == [Stage.COMPLETE] * 8
        for kept in (tmp_path / "flags").iterdir():
            kept.unlink()


def test_last_known_answers_do_not_pile_up(tmp_path: Path) -> None:
    """Labels change with every run: what nobody has asked for in a month is removed."""
    import os

    old = PersistentFlagCache(tmp_path)
    for number in range(5):
        old.keep("flag", {"model": "eta", "labels": {"run": str(number)}}, Stage.LIVE)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    PersistentFlagCache(tmp_path).keep("flag", {"model": "eta"}, Stage.LIVE)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("shadow", "where"),
    [
        ("eta", "migration.shadow"),
        ({"model": ["eta"]}, "migration.shadow.model"),
        ({"models": "eta"}, "migration.shadow.models"),
        ({"labels": ["safe"]}, "migration.shadow.labels"),
        ({"share": 50}, "migration.shadow.share"),
        ({"at_most": 1.5}, "migration.shadow.at_most"),
        ({"at_most": -1}, "migration.shadow.at_most"),
    ],
)
def test_settings_of_shadows_are_checked_when_they_are_read(shadow: Any, where: str) -> None:
    """`models = "eta"` would mean three models of one letter each; 50 is no share."""
    with pytest.raises(InvalidJob) as caught:
        load({"migration": {"to": "new", "shadow": shadow}})
    assert [path for path, _ in caught.value.faults] == [f"config: {where}"]
