"""Configuration: where it is found, how it merges, and what is said about its faults."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from lyftlearn.config import load
from lyftlearn.errors import InvalidJob


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment in which nothing is configured."""
    for name in ("LYFTLEARN_CONFIG", "LYFTLEARN_HOME", "LYFTLEARN_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(tmp_path / "platform.toml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer needs no file."""
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load()
    assert (config.source, config.project, config.backend) == (None, "default", "local")
    assert config.storage_url == "file:///home/somebody/.lyftlearn/storage"
    assert config.output_url == "file:///home/somebody/.lyftlearn/storage/jobs"
    assert (config.timeout, config.grace) == (timedelta(hours=24), timedelta(seconds=30))


def test_the_repository_is_found_upwards(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script in a subdirectory belongs to its repository."""
    (alone / "lyftlearn.toml").write_text('backend = "local-sagemaker"\n')
    below = alone / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    config = load()
    assert config.backend == "local-sagemaker"
    assert config.project == alone.name


def test_the_repository_wins_key_by_key(alone: Path) -> None:
    """A repository changes one setting without repeating the platform's others."""
    (alone / "platform.toml").write_text('[jobs]\ntimeout = "2h"\ngrace = "5s"\n[storage]\nurl = "s3://platform/"\n')
    (alone / "lyftlearn.toml").write_text('[jobs]\ngrace = "9s"\n')
    config = load()
    assert (config.timeout, config.grace) == (timedelta(hours=2), timedelta(seconds=9))
    assert config.storage_url == "s3://platform"


def test_a_mapping_stands_for_the_files(alone: Path) -> None:
    """A test or a service configures a client without touching files."""
    (alone / "lyftlearn.toml").write_text('backend = "local-sagemaker"\n')
    assert load({"home": str(alone)}).backend == "local"


def test_all_faults_at_once(alone: Path) -> None:
    """Each fault names its file and key."""
    (alone / "platform.toml").write_text('[jobs]\ntimeout = "soon"\n')
    (alone / "lyftlearn.toml").write_text('bakend = "local"\nproject = 3\n[storage]\nurls = "s3://a"\n')
    with pytest.raises(InvalidJob) as caught:
        load()
    places = {path.rpartition("/")[2] for path, _ in caught.value.faults}
    assert places == {
        "platform.toml: jobs.timeout",
        "lyftlearn.toml: bakend",
        "lyftlearn.toml: project",
        "lyftlearn.toml: storage.urls",
    }


@pytest.mark.parametrize("content", [b"not = = toml", b"\xff\xfe"])
def test_a_file_that_is_no_toml(alone: Path, content: bytes) -> None:
    """The parser's own line and column reach the person who can mend it."""
    (alone / "lyftlearn.toml").write_bytes(content)
    with pytest.raises(InvalidJob, match="is not TOML"):
        load()


def test_a_named_file_must_be_there(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was named and is missing is a mistake, not an absence of configuration."""
    monkeypatch.setenv("LYFTLEARN_CONFIG", str(alone / "gone.toml"))
    with pytest.raises(InvalidJob, match="cannot be read"):
        load()
