"""What is never part of a source: what lyftlearn itself wrote, and what the repository's own rules leave out."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import Client
from lyftlearn._transfer import SourceRules, pack_source
from lyftlearn._transfer import marks as marking
from lyftlearn.config import load

Names = Callable[..., set[str]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a directory of code."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print(1)")
    return tmp_path / "code"


@pytest.fixture
def packed(source: Path, tmp_path: Path) -> Names:
    """Return the names that are packed from the source, or from a directory of it."""

    def names(below: str = "", rules: SourceRules | None = None) -> set[str]:
        packed = pack_source(source / below, tmp_path / "cache", rules or SourceRules())
        with tarfile.open(packed.path) as archive:
            return set(archive.getnames())

    return names


def write(root: Path, *names: str, text: str = "x") -> None:
    """Write files, with their directories."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture(params=["attributes", "files"])
def marks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mark directories as a file system with, and as one without, extended attributes does."""
    if request.param == "files":
        monkeypatch.setattr(os, "setxattr", _unsupported)
        monkeypatch.setattr(os, "getxattr", _unsupported)


def _unsupported(*_: object) -> bytes:
    raise OSError(95, "Operation not supported")


@pytest.fixture
def job(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> lyftlearn.Job:
    """Return a finished job with something to download; the working directory is the source."""
    monkeypatch.chdir(source)
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(tmp_path / "none"))
    client = Client(config={"home": str(tmp_path / "home"), "local": {"namespaces": "never"}})
    job = client.train("eta", command="echo 1 > $LYFTLEARN_MODEL_DIR/weights")
    job.wait("120s", progress=False)
    return job


@pytest.mark.usefixtures("marks")
def test_downloads_are_left_out(source: Path, job: lyftlearn.Job, packed: Names) -> None:
    """A notebook that trains, downloads and trains again must send the same code the second time."""
    before = packed()
    job.download("out")
    job.download("results/2026/november")
    job.download(".")
    assert (source / "out/model/weights").exists()
    assert packed() == before


@pytest.mark.usefixtures("marks")
def test_what_stands_beside_a_download_is_code(source: Path, job: lyftlearn.Job, packed: Names) -> None:
    """Only what lyftlearn wrote is left out, not the directory that it was written to."""
    write(source, "mine/notes.py")
    job.download("mine")
    job.download("out")
    write(source, "out/compare.py")
    assert packed() == {"train.py", "mine", "mine/notes.py", "out", "out/compare.py"}


def test_a_download_that_was_moved_is_left_out(source: Path, job: lyftlearn.Job, packed: Names) -> None:
    """Who keeps last week's model under another name has not made it code."""
    job.download("out")
    (source / "out").rename(source / "last-week")
    assert packed() == {"train.py"}


def test_a_directory_in_the_place_of_a_download_is_code(source: Path, job: lyftlearn.Job, packed: Names) -> None:
    """Who removes a download and makes a directory of that name has made a new one."""
    job.download("out")
    for path in sorted((source / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (source / "out").rmdir()
    write(source, "out/model/layers.py")
    assert packed() == {"train.py", "out", "out/model", "out/model/layers.py"}


def test_a_download_can_be_a_source(source: Path, job: lyftlearn.Job, packed: Names) -> None:
    """Who names a download itself means it."""
    job.download("out")
    assert packed("out/model") == {"weights"}


@pytest.mark.parametrize("table", ["home", "storage", "outputs"])
@pytest.mark.parametrize("where", [".lyftlearn", "deep/down"])
def test_homes_and_storage_are_left_out(source: Path, packed: Names, tmp_path: Path, table: str, where: str) -> None:
    """In a container HOME is the working directory: each submission would carry all those before it."""
    write(source, f"{where}/jobs/1/data", "deep/code.py")
    place = str(source / where)
    homes: dict[str, Any] = {"home": {"home": place}, "storage": {"home": str(tmp_path), "storage": {"url": place}}}
    homes["outputs"] = {"home": str(tmp_path / "home"), "jobs": {"output": place}}
    rules = SourceRules.of(load(homes[table]))
    assert packed(rules=rules) == {"train.py", "deep", "deep/code.py"}


@pytest.mark.parametrize("config", [{"home": "."}, {"home": "h", "storage": {"url": "."}}])
def test_a_home_is_no_source(source: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """`export LYFTLEARN_HOME=.` beside the code: the second run would send the jobs of the first."""
    monkeypatch.chdir(source)
    with pytest.raises(lyftlearn.InvalidJob, match=r"is where lyftlearn itself writes: put the code into a directory"):
        Client(config=config).train("eta", command="true", source=".")


def test_flags_and_databases_are_left_out(source: Path, packed: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is repeated with its key after a flip is the same call, wherever the file of the flags lies."""
    written = ("flags.json", "off", "other.json", "mine.json", "history.sqlite", "history.sqlite-wal", "old.db")
    write(source, *written, "flags/code.py", "off.py")
    one = f'flags = "flags.json"\nkill_switch = "file://{source}/off"\njournal = "sqlite:///old.db"\n'
    other = '[migrations.other]\nfrom = "local-kubernetes"\nto = "local-sagemaker"\nflags = "$HERE/other.json"\n'
    configuration = source / "lyftlearn.toml"
    configuration.write_text(
        f'[history]\nurl = "sqlite:///history.sqlite"\n[migrations.one]\nto = "kubernetes"\n{one}{other}'
    )
    monkeypatch.setenv("HERE", str(source))
    kept = {"train.py", "lyftlearn.toml", "flags", "flags/code.py", "off.py"}
    assert packed(rules=SourceRules.of(load(configuration))) == kept | {"mine.json"}
    monkeypatch.setenv("LYFTLEARN_FLAGS", str(source / "mine.json"))
    assert "mine.json" not in packed(rules=SourceRules.of(load(configuration)))


def test_submissions_from_a_home_do_not_grow(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, through the API: the third submission sends what the first did."""
    monkeypatch.chdir(source)
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(tmp_path / "none"))
    client = Client(config={"home": str(source / ".lyftlearn"), "local": {"namespaces": "never"}})
    jobs = [client.train("eta", command="ls -a; true", source=".", key="same") for _ in range(3)]
    assert len({job.id for job in jobs}) == 1
    jobs[0].wait("120s", progress=False)
    assert "train.py" in "\n".join(jobs[0].logs())
    assert ".lyftlearn" not in list(jobs[0].logs())


def test_gitignore_counts(source: Path, packed: Names) -> None:
    """What nobody would commit is no code: data, checkpoints, environments under any name."""
    write(source, "data/rides.csv", "model.pkl", "lib/keep.pkl", "lib/core.py", "lib/gen/x.py", "run.log", "keep.log")
    write(source, ".gitignore", text="data/\n*.pkl\n*.log\n!keep.log\n")
    write(source, "lib/.gitignore", text="gen\n!keep.pkl\n")
    expected = {"train.py", ".gitignore", "lib", "lib/.gitignore", "lib/core.py", "lib/keep.pkl", "keep.log"}
    assert packed() == expected
    assert "data/rides.csv" in packed(rules=SourceRules(by_git=False))


def test_our_own_ignore_file_has_the_last_word(source: Path, packed: Names) -> None:
    """A job may need what git leaves out."""
    write(source, "data/rides.csv", "data/old.csv", "notes.md")
    write(source, ".gitignore", text="data/\n")
    write(source, ".lyftlearnignore", text="!data/\ndata/old.csv\nnotes.md\n")
    assert packed() == {"train.py", ".gitignore", ".lyftlearnignore", "data", "data/rides.csv"}


def test_rules_of_the_repository_count_in_its_directories(source: Path, packed: Names) -> None:
    """A source is often one directory of a repository, whose rules stand at the top."""
    (source / ".git").mkdir()
    write(source, ".gitignore", text="*.pkl\n/models/eta/data\n")
    write(source.parent, ".gitignore", text="*.py\n")  # above the repository
    write(source, "models/eta/fit.py", "models/eta/a.pkl", "models/eta/data/x", "models/eta/sub/data/y")
    assert packed("models/eta") == {"fit.py", "sub", "sub/data", "sub/data/y"}


def test_git_agrees(source: Path, packed: Names) -> None:
    """Git itself is asked about the same files."""
    subprocess.run(["git", "init", "-q"], cwd=source, check=True)
    write(source, ".gitignore", text="build/\n/top\n*.tmp\n!important.tmp\ndocs/**/gen\na?c\n[xy]z\n\\#odd\n")
    write(source, "sub/.gitignore", text="!*.tmp\nlocal\n")
    names = [
        *("build/x", "sub/build/x", "top", "sub/top", "a.tmp", "important.tmp", "sub/a.tmp", "sub/local", "local"),
        *("docs/a/gen/x", "docs/gen", "abc", "sub/abc", "ac", "xz", "#odd", "sub/deep/local", "é.tmp"),
    ]
    write(source, *names)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout
    assert {name for name in packed() if (source / name).is_file()} == set(listed.split("\0")) - {""}


def test_what_git_tracks_is_code(source: Path, packed: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules of a `.gitignore` are for files that git does not track: `git add -f` is how people make exceptions."""
    _git(source, "init", "-q")
    write(source, ".gitignore", text="data/\n*.pkl\n")
    write(source, "data/zones/nyc.csv", "data/rides.csv", "model.pkl", "other.pkl", "models/é ü/eta.pkl")
    _git(source, "add", "-f", "data/zones/nyc.csv", "model.pkl", "models/é ü/eta.pkl")
    tracked = {"data", "data/zones", "data/zones/nyc.csv", "model.pkl", "models", "models/é ü", "models/é ü/eta.pkl"}
    assert packed() == {"train.py", ".gitignore", *tracked}
    assert packed("models") == {"é ü", "é ü/eta.pkl"}
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as a hook of another repository has it
    assert "model.pkl" in packed()
    write(source, ".lyftlearnignore", text="*.pkl\n")
    assert "model.pkl" not in packed()


def _git(directory: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=directory, check=True)


@pytest.mark.parametrize("program", ["", "#!/bin/sh\nexit 128\n"])
def test_without_git_its_rules_count(
    source: Path, packed: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """A container often has the code and no git, or one that refuses the repository."""
    _git(source, "init", "-q")
    write(source, "model.pkl")
    write(source, ".gitignore", text="*.pkl\n")
    _git(source, "add", "-f", "model.pkl")
    if program:
        write(tmp_path, "bin/git", text=program)
        (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert packed() == {"train.py", ".gitignore"}


@pytest.mark.parametrize("name", [".gitignore", ".lyftlearnignore"])
def test_an_ignore_file_that_is_a_pipe_is_a_fault(source: Path, packed: Names, name: str) -> None:
    """To read it, a submission would wait for whoever writes into it."""
    os.mkfifo(source / name)
    with pytest.raises(lyftlearn.LyftLearnError, match=f"{name} is neither a file nor a directory"):
        packed()


def test_an_ignore_file_that_is_no_text_is_a_fault(source: Path, tmp_path: Path) -> None:
    """It is named; nothing is guessed."""
    (source / "sub").mkdir()
    (source / "sub/.gitignore").write_bytes(b"\xff\xfe")
    with pytest.raises(lyftlearn.LyftLearnError, match=r"sub/\.gitignore cannot be read"):
        pack_source(source, tmp_path / "cache")


def test_a_byte_order_mark_is_no_part_of_a_pattern(source: Path, packed: Names) -> None:
    """Git skips it, and the first pattern of a file is not to be lost."""
    (source / ".gitignore").write_bytes(b"\xef\xbb\xbfgenerated.py\n")
    write(source, "generated.py")
    assert "generated.py" not in packed()


def test_configuration_can_do_without_git(source: Path, packed: Names) -> None:
    """A repository whose code is generated and ignored sends it all the same."""
    write(source, "generated.py")
    write(source, ".gitignore", text="generated.py\n")
    assert "generated.py" in packed(rules=SourceRules.of(load({"jobs": {"gitignore": False}})))
    assert "generated.py" not in packed(rules=SourceRules.of(load({})))


def test_a_mark_is_no_content(tmp_path: Path) -> None:
    """Nobody who lists a directory sees its mark, where the file system can keep one."""
    marking.mark(tmp_path, marking.CONTENT)
    assert list(tmp_path.iterdir()) == []
    assert marking.is_marked(str(tmp_path), marking.CONTENT)
    assert not marking.is_marked(str(tmp_path), marking.CONTAINER)
