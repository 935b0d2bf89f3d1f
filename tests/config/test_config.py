"""Configuration: where it is found, how it merges, and what is said about its faults."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.config import load
from lyftlearn.config.keys import MIGRATION
from lyftlearn.errors import InvalidJob
from lyftlearn.rollout import Stage


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment in which nothing is configured."""
    for name in ("LYFTLEARN_CONFIG", "LYFTLEARN_HOME", "LYFTLEARN_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("LYFTLEARN_PLATFORM_CONFIG", raising=False)
    monkeypatch.setattr("lyftlearn.config.layers.PLATFORM_FILE", str(tmp_path / "platform.toml"))
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


def test_a_named_platform_file_must_be_there(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet whose platform file is misspelt would run every job with the defaults."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(alone / "gone.toml"))
    with pytest.raises(InvalidJob, match=r"gone\.toml: cannot be read"):
        load()


def test_no_platform_file_is_asked_for_by_an_empty_one(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test or a container says that no platform counts."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", os.devnull)
    (alone / "platform.toml").write_text('backend = "kubernetes"\n')
    assert load().backend == "local"


@pytest.mark.parametrize(
    ("written", "name"),
    [('[migraton]\nto = "sagemaker"\n', "migration"), ("[kubernets]\n", "kubernetes"), ("[job]\n", "jobs")],
)
def test_a_misspelt_table_is_named_with_the_one_that_was_meant(alone: Path, written: str, name: str) -> None:
    """What a table that nobody reads should have changed is otherwise found weeks later."""
    (alone / "lyftlearn.toml").write_text(written)
    with pytest.raises(InvalidJob, match=rf"did you mean \[{name}\]"):
        load()


def test_a_table_of_a_backend_that_is_not_here_is_no_fault(alone: Path) -> None:
    """A platform configures plugins that not every environment has."""
    (alone / "lyftlearn.toml").write_text('[acme]\ntoken = "x"\n')
    assert load().table("acme") == {"token": "x"}


def test_paths_start_at_their_file(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository is used from its subdirectories, from cron and from notebooks alike."""
    (alone / "lyftlearn.toml").write_text(
        'home = "state"\n[storage]\nurl = "store"\n[jobs]\noutput = "out put"\n'
        '[migration]\nflags = "flags.json"\njournal = "sqlite:///journal.db"\n[local]\nsecrets = "s"\n'
    )
    below = alone / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    config = load()
    assert config.home == alone / "state"
    assert config.storage_url == (alone / "store").as_uri()
    assert config.output_url == (alone / "out put").as_uri()
    assert config.flag_source == str(alone / "flags.json")
    assert config.journal_url == f"sqlite:///{alone}/journal.db"
    assert config.folders("local") == {"secrets": alone}


@pytest.mark.parametrize("written", ["file:///x", "https://flags.example/", "flagd://host", "~/x", "$HOME/x"])
def test_what_is_no_relative_path_stays(alone: Path, written: str) -> None:
    """A URL, a home and a variable mean the same wherever the file lies."""
    (alone / "lyftlearn.toml").write_text(f'[migration]\nflags = "{written}"\n')
    assert load().flag_source == written


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("jobs.timeout", "0s"),
        ("jobs.timeout", False),
        ("jobs.grace", "1 hour"),
        ("migration.stage", "on"),
        ("migration.shadow.share", 1.5),
        ("migration.shadow.at_most", True),
        ("migration.shadow.models", "eta"),
        ("storage.url", 5),
        ("project", ""),
        ("project", "half a pair: \ud800"),
        ("storage.url", "\ud800"),
        ("storage.url", "file://host/x"),
        ("storage.url", "http://host/x"),
        ("storage.url", "s3:///x"),
        ("jobs.output", "s3://Upper/x"),
        ("jobs.output", "file://"),
        ("migration.flags", "flags\udfff.json"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_to_write(key: str, value: Any) -> None:
    """Every key is checked by its declaration, and the message is all that a person has."""
    tables: dict[str, Any] = {}
    *groups, name = key.split(".")
    table = tables
    for group in groups:
        table = table.setdefault(group, {})
    table[name] = value
    with pytest.raises(InvalidJob) as caught:
        load(tables)
    ((path, problem),) = caught.value.faults
    assert path == f"config: {key}"
    assert problem.count(repr(value)) == 1
    assert problem.count("write") == 1


def test_a_path_may_have_any_bytes(tmp_path: Path) -> None:
    """A directory whose name is no UTF-8 is a directory all the same, and its URI can be read back."""
    url = load({"home": str(tmp_path), "storage": {"url": f"{tmp_path}/\udcff"}}).storage_url
    assert url == f"{tmp_path.as_uri()}/%FF"


def test_a_byte_order_mark_is_no_part_of_a_file(alone: Path) -> None:
    """Some editors write one, and the parser's complaint about it tells nobody anything."""
    (alone / "lyftlearn.toml").write_bytes(b'\xef\xbb\xbfbackend = "local-sagemaker"\n')
    assert load().backend == "local-sagemaker"


def test_every_setting_says_where_it_comes_from(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wonders about a value needs the file that set it."""
    (alone / "platform.toml").write_text('backend = "kubernetes"\n[kubernetes]\nnamespace = "ml"\n')
    (alone / "lyftlearn.toml").write_text('[jobs]\ntimeout = "2h"\n')
    monkeypatch.setenv("LYFTLEARN_HOME", str(alone / "home"))
    settings = {setting.key: (setting.value, setting.origin) for setting in load().settings()}
    assert settings["backend"] == ("kubernetes", str(alone / "platform.toml"))
    assert settings["kubernetes.namespace"] == ("ml", str(alone / "platform.toml"))
    assert settings["jobs.timeout"] == ("2h", str(alone / "lyftlearn.toml"))
    assert settings["jobs.grace"] == ("30s", "default")
    assert settings["home"] == (str(alone / "home"), "LYFTLEARN_HOME")


def test_configuration_knows_the_stages() -> None:
    """Configuration stands below the rollout and names its stages as data; the two lists are one."""
    (stage,) = [option for option in MIGRATION if option.key == "stage"]
    assert stage.kind.schema["enum"] == list(Stage)


@pytest.mark.parametrize("name", ["../elsewhere", "", ".", "a/b", "x" * 64, "é", "a b"])
def test_an_instance_has_a_name_of_a_directory(name: str) -> None:
    """Its jobs are kept below it: another name would put them beside the home, or nowhere."""
    with pytest.raises(InvalidJob, match="by names of letters, digits"):
        load({"backends": {"instances": {name: "local"}}})


@pytest.mark.parametrize(
    "config", [{"\ud800": {}}, {"backends": {"instances": {"\udfff": "local"}}}, {"local": {"\ud800": 1}}]
)
def test_half_a_character_is_no_key(config: dict[str, Any]) -> None:
    """No file can have it, and nothing that is sent or kept."""
    with pytest.raises(InvalidJob, match="is no key: write a text"):
        load(config)
