"""What is packed, what is refused, and that the same content always has the same name."""

from __future__ import annotations

import os
import socket
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lyftlearn._storage import Storage, open_storage
from lyftlearn._transfer import (
    Packed,
    hash_input,
    input_faults,
    input_uri,
    pack_source,
    packing,
    source_faults,
    upload_input,
    upload_source,
)
from lyftlearn._transfer.tree import scan
from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from tests.doubles.bucket import Bucket


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    _write(directory, {"train.py": "print(1)", "package/__init__.py": "", "package/run.sh": "#!/bin/sh"})
    (directory / "package" / "run.sh").chmod(0o770)
    return directory


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _members(packed: Packed) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(packed.path) as archive:
        return {member.name: member for member in archive}


def test_a_directory_becomes_a_tar_without_traces_of_this_machine(source: Path, cache: Path) -> None:
    """Owner, times and odd permissions would give the same code another name on another machine."""
    members = _members(pack_source(source, cache))
    assert list(members) == ["package", "package/__init__.py", "package/run.sh", "train.py"]
    assert [member.mode for member in members.values()] == [0o755, 0o644, 0o755, 0o644]
    traces = {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members.values()}
    assert traces == {(0, 0, "", "", 315532800)}


def test_the_same_content_gives_the_same_bytes(source: Path, cache: Path, tmp_path: Path) -> None:
    """Made in another order, at another time, elsewhere: one name, so nothing is sent twice and digests agree."""
    other = tmp_path / "other"
    _write(other, {"package/run.sh": "#!/bin/sh", "train.py": "print(1)", "package/__init__.py": ""})
    (other / "package" / "run.sh").chmod(0o755)
    os.utime(other / "train.py", (1, 1))
    first, second = pack_source(source, cache), pack_source(other, tmp_path / "another cache")
    assert (first.sha256, first.content) == (second.sha256, second.content)
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize("change", ["content", "name", "mode", "empty directory"])
def test_other_content_gives_another_name(source: Path, cache: Path, change: str) -> None:
    """Everything that the job could see counts."""
    before = pack_source(source, cache)
    if change == "content":
        (source / "train.py").write_text("print(2)")
    elif change == "name":
        (source / "train.py").rename(source / "train2.py")
    elif change == "mode":
        (source / "train.py").chmod(0o755)
    else:
        (source / "new").mkdir()
    after = pack_source(source, cache)
    assert after.sha256 != before.sha256
    assert after.content != before.content


def test_what_never_belongs_to_code_is_left_out(source: Path, cache: Path) -> None:
    """History, caches and virtual environments stay here, wherever they are, and also behind a link."""
    _write(
        source,
        {
            ".git/config": "",
            "package/__pycache__/a.pyc": "",
            ".mypy_cache/x": "",
            "a/.ipynb_checkpoints/y": "",
            "env/pyvenv.cfg": "",
            "env/bin/python": "",
            "worktree/.git": "gitdir: /x",
        },
    )
    elsewhere = source.parent / "environment"
    _write(elsewhere, {"pyvenv.cfg": ""})
    (source / ".venv").symlink_to(elsewhere)
    names = set(_members(pack_source(source, cache)))
    assert names == {"a", "package", "package/__init__.py", "package/run.sh", "train.py", "worktree"}


def test_the_ignore_file_is_read_as_git_reads_its_own(source: Path, cache: Path) -> None:
    """Comments, directories, anchors, wildcards and exceptions mean what people know."""
    _write(
        source,
        {
            ".lyftlearnignore": "# data\n/data/\n*.csv\n!keep.csv\nbuild/\n",
            "data/x": "",
            "package/data/x": "",
            "a.csv": "",
            "keep.csv": "",
            "package/build/x": "",
            "build.py": "",
        },
    )
    names = {name for name in _members(pack_source(source, cache)) if "." in name or name.endswith("x")}
    assert names - {"train.py", "package/__init__.py", "package/run.sh"} == {
        ".lyftlearnignore", "package/data/x", "keep.csv", "build.py",
    }  # fmt: skip


def test_links_inside_are_kept_and_lead_to_the_same_place(source: Path, cache: Path) -> None:
    """An absolute link into the source would lead nowhere in the container, so it becomes relative."""
    (source / "absolute").symlink_to(source / "package" / "run.sh")
    (source / "package" / "back").symlink_to("../train.py")
    (source / "around").symlink_to(f"../{source.name}/train.py")
    (source / "directory").symlink_to("package")
    members = _members(pack_source(source, cache))
    links = {name: member.linkname for name, member in members.items() if member.issym()}
    assert links == {
        "absolute": "package/run.sh", "package/back": "../train.py", "around": "train.py", "directory": "package",
    }  # fmt: skip


def test_every_fault_of_a_directory_is_named_at_once(source: Path, cache: Path) -> None:
    """Links out of the source, sockets and pipes cannot travel; the message says which and what to do."""
    (source / "out").symlink_to("/etc/passwd")
    (source / "package" / "up").symlink_to("../../sibling")
    os.mkfifo(source / "pipe")
    faults = source_faults(source)
    assert len(faults) == 3
    assert "out is a symlink out of the source, to /etc/passwd" in faults[0]
    assert "package/up is a symlink" in faults[1]
    assert "pipe is neither" in faults[2]
    assert all(".lyftlearnignore" in fault for fault in faults)
    with pytest.raises(LyftLearnError, match="pipe is neither"):
        pack_source(source, cache)


def test_what_is_ignored_is_no_fault(source: Path) -> None:
    """The remedy that the message gives works."""
    (source / "out").symlink_to("/etc/passwd")
    (source / ".lyftlearnignore").write_text("out\n")
    assert source_faults(source) == []


def test_many_faults_are_counted(source: Path) -> None:
    """A thousand links out of the source do not make a message of a thousand lines."""
    for number in range(30):
        (source / f"link{number}").symlink_to("/etc")
    assert len(source_faults(source)) == 11
    assert "20 more" in source_faults(source)[-1]


def test_missing_and_plain_files_are_faults(tmp_path: Path) -> None:
    """Each says what was seen, and what a source can be."""
    (tmp_path / "train.py").write_text("")
    assert source_faults(tmp_path / "none") == [f"{tmp_path / 'none'} does not exist"]
    assert "is a file: give the directory" in source_faults(tmp_path / "train.py")[0]
    with pytest.raises(LyftLearnError, match="does not exist"):
        pack_source(tmp_path / "none", tmp_path / "cache")


@pytest.mark.parametrize(("size", "refused"), [((2 << 30) - 100_000, False), (2 << 30, True)])
def test_the_limit_names_what_weighs_most(source: Path, size: int, refused: bool) -> None:
    """A source that is too large is mostly one forgotten file, so the message names the largest."""
    _write(source, {"data/weights/big.bin": ""})
    os.truncate(source / "data" / "weights" / "big.bin", size)
    faults = source_faults(source)
    assert bool(faults) is refused
    if refused:
        assert "holds 2.00 GiB" in faults[0]
        assert "data/weights (2.00 GiB)" in faults[0]
        assert ".lyftlearnignore" in faults[0]


def test_a_whole_machine_is_no_source(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk through all there is takes minutes, and ends with whatever it could not read."""
    assert source_faults(Path("/")) == ["/ is this whole machine: write the directory that holds the code"]
    assert source_faults(Path("/tmp/..")) != []
    monkeypatch.setattr("lyftlearn._transfer.tree.MOST_ENTRIES", 20)
    _write(source, {f"data/{number}": "" for number in range(40)})
    (fault,) = source_faults(source)
    assert "holds more than 20 files and directories" in fault
    assert "data (1" in fault
    (source / ".lyftlearnignore").write_text("data\n")
    assert source_faults(source) == []


def test_names_that_are_not_text_are_packed(source: Path, cache: Path) -> None:
    """Old file names are bytes; they travel as they are."""
    name = os.fsdecode(b"caf\xe9.py")
    (source / name).write_text("")
    assert name in _members(pack_source(source, cache))


def test_an_unchanged_directory_is_not_packed_again(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second job of a large source starts at once; a change is noticed, and so is a lost or damaged archive."""
    monkeypatch.setattr(packing, "_FRESH_NS", -(10**18))
    packed = pack_source(source, cache)
    (packed.path).chmod(0o600)
    inode = packed.path.stat().st_ino
    assert pack_source(source, cache) == packed
    assert packed.path.stat().st_ino == inode
    os.truncate(packed.path, 3)
    assert pack_source(source, cache) == packed
    assert packed.path.stat().st_ino != inode
    whole = packed.path.read_bytes()
    packed.path.write_bytes(bytes(byte ^ 1 for byte in whole))
    assert pack_source(source, cache).path.read_bytes() == whole
    packed.path.unlink()
    assert pack_source(source, cache).path.exists()
    (source / "train.py").write_text("print(2)")
    assert pack_source(source, cache).sha256 != packed.sha256


def test_a_file_that_was_just_written_is_read_again(source: Path, cache: Path) -> None:
    """Two writes within one tick of the file system's clock look alike, so what is fresh is not trusted."""
    first = pack_source(source, cache)
    seen = (source / "train.py").stat()
    (source / "train.py").write_text("print(7)")
    os.utime(source / "train.py", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert pack_source(source, cache).sha256 != first.sha256


@pytest.mark.parametrize("change", ["shorter", "longer", "gone"])
def test_a_source_that_changes_while_it_is_packed_is_told(source: Path, cache: Path, change: str) -> None:
    """Half of one version and half of another is no source; nothing is left in the cache."""
    tree = scan(source)
    path = source / "train.py"
    if change == "gone":
        path.unlink()
    else:
        path.write_text("p" if change == "shorter" else "print(1)#")
    with pytest.raises(LyftLearnError, match=r"train\.py changed while"):
        packing._pack(source, tree, cache)
    assert list(cache.iterdir()) == []


def test_old_archives_leave_the_cache(source: Path, cache: Path) -> None:
    """A cache that only grows fills a disk."""
    old = pack_source(source, cache).path
    _write(cache, {"tmpdead/half": ""})
    for path in (old, cache / "tmpdead"):
        os.utime(path, (1, 1))
    (source / "train.py").write_text("other")
    new = pack_source(source, cache)
    assert list(cache.iterdir()) == [new.path]


def _archive(source: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for found in sorted(source.rglob("*")):
                zipped.write(found, found.relative_to(source))
    else:
        with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
            archive.add(source, ".")
    return path


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "zip"])
def test_an_archive_is_the_same_source_as_its_directory(source: Path, cache: Path, tmp_path: Path, ending: str) -> None:
    """How the code was wrapped does not count, and what never belongs to code is left out of archives too."""
    _write(source, {"__pycache__/a.pyc": ""})
    archive = _archive(source, tmp_path / f"code.{ending}")
    assert source_faults(archive) == []
    assert pack_source(archive, cache) == pack_source(source, cache)
    assert {path.suffix for path in cache.iterdir()} <= {".gz", ".json"}


def _hostile(path: Path, member: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, BytesIO(b""))
    return path


@pytest.mark.parametrize(
    ("name", "kind", "target", "fault"),
    [
        ("../evil", tarfile.REGTYPE, "", "outside the source"),
        ("/etc/evil", tarfile.REGTYPE, "", "absolute name"),
        ("a", tarfile.SYMTYPE, "/etc/passwd", "link out of the archive, to /etc/passwd"),
        ("a", tarfile.SYMTYPE, "../../b", "link out of the archive"),
        ("a", tarfile.LNKTYPE, "../b", "link out of the archive"),
        ("a", tarfile.CHRTYPE, "", "neither a file"),
    ],
)
def test_archives_that_would_leave_their_place_are_refused(
    tmp_path: Path, name: str, kind: bytes, target: str, fault: str
) -> None:
    """A source comes from somewhere, and unpacking it must not write anywhere else."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    archive = _hostile(tmp_path / "evil.tar.gz", member)
    assert fault in source_faults(archive)[0]
    with pytest.raises(LyftLearnError, match=fault):
        pack_source(archive, tmp_path / "cache")
    assert not (tmp_path / "evil").exists()


def test_zip_files_that_would_leave_their_place_are_refused(tmp_path: Path) -> None:
    """The same of the other format, with its links, which unpacking would turn into text."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil", "")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    faults = source_faults(tmp_path / "evil.zip")
    assert "outside the source" in faults[0]
    assert "symlink" in faults[1]


@pytest.mark.parametrize("name", ["broken.tar.gz", "broken.zip"])
def test_broken_archives_are_faults(tmp_path: Path, name: str) -> None:
    """A download that ended early is told before a job is sent."""
    (tmp_path / name).write_bytes(b"PK\x03\x04 or not")
    [fault] = source_faults(tmp_path / name)
    assert "cannot be read as an archive" in fault
    assert "\n" not in fault


def test_archives_that_python_cannot_unpack_are_told(tmp_path: Path, cache: Path) -> None:
    """Its modules raise what they like, and a person gets one sentence."""
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("m", "")
        archive.infolist()[0].compress_type = 99  # as the directory at the end says it
    with pytest.raises(LyftLearnError, match=r"odd.zip cannot be unpacked: .*compression method"):
        pack_source(tmp_path / "odd.zip", cache)


def test_a_source_without_an_end_is_a_fault(tmp_path: Path) -> None:
    """A directory that a program made within itself a thousand times is no code."""
    deep = tmp_path / "source" / "/".join(["d"] * 300)
    deep.mkdir(parents=True)
    assert source_faults(tmp_path / "source") == [
        "d/" * 50 + "... goes on for 256 directories: name it in .lyftlearnignore"
    ]
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr("d/" * 300 + "f", "")
    assert "lies below 256 directories" in source_faults(tmp_path / "deep.zip")[0]


def test_a_source_is_kept_under_its_hash(storage: Storage, url: str, source: Path, cache: Path) -> None:
    """The name of the code in storage follows from the code."""
    packed = pack_source(source, cache)
    assert upload_source(storage, packed) == f"{url}/sources/{packed.sha256}.tar.gz"


def test_inputs_are_named_by_names_and_bytes(tmp_path: Path) -> None:
    """Equal inputs have equal digests wherever they are; a file and a directory with it differ, as the job sees."""
    _write(tmp_path, {"a/x": "1", "a/d/y": "2", "b/d/y": "2", "b/x": "1", "c/x": "1", "c/y": "2", "d/x": "1"})
    (tmp_path / "b" / "empty").mkdir()
    assert hash_input(tmp_path / "a") == hash_input(tmp_path / "b")
    digests = [hash_input(tmp_path / name) for name in ("a", "c", "d", "d/x", "a/d/y")]
    assert len(set(digests)) == len(digests)
    (tmp_path / "link").symlink_to("a")
    assert hash_input(tmp_path / "link") == digests[0]


def test_a_directory_is_uploaded_whole_and_its_uri_says_so(storage: Storage, url: str, tmp_path: Path) -> None:
    """The trailing `/` tells a directory from a file; links arrive as what they point to."""
    _write(tmp_path, {"in/x": "1", "in/d/ä b.csv": "2", "z": "3"})
    (tmp_path / "in" / "z").symlink_to("../z")
    uri = upload_input(storage, tmp_path / "in")
    digest = hash_input(tmp_path / "in")
    assert uri == f"{url}/inputs/{digest}/" == input_uri(storage, tmp_path / "in", digest)
    for name, data in (("x", b"1"), ("d/ä b.csv", b"2"), ("z", b"3")):
        stored = storage.read(f"inputs/{digest}/{name}")
        assert stored is not None
        assert stored.data == data


def test_a_single_file_keeps_its_name(storage: Storage, url: str, tmp_path: Path) -> None:
    """The command looks for `flights.csv`, not for a hash."""
    (tmp_path / "flights.csv").write_text("1")
    uri = upload_input(storage, tmp_path / "flights.csv")
    assert uri == f"{url}/inputs/{hash_input(tmp_path / 'flights.csv')}/flights.csv"


def test_inputs_are_sent_once(bucket: Bucket, tmp_path: Path) -> None:
    """A second job on the same data transfers nothing."""
    _write(tmp_path, {f"in/{number}": str(number) for number in range(20)})
    for _ in range(2):
        upload_input(open_storage("s3://bucket"), tmp_path / "in")
    assert bucket.count("PUT") - bucket.count("PUT", "/bucket") == 20


def test_an_input_that_changed_since_it_was_named_is_told(storage: Storage, tmp_path: Path) -> None:
    """A job must not be pointed at a place where nothing, or something else, is."""
    _write(tmp_path, {"in/x": "1"})
    digest = hash_input(tmp_path / "in")
    _write(tmp_path, {"in/x": "2"})
    with pytest.raises(LyftLearnError, match="changed while"):
        upload_input(storage, tmp_path / "in", digest)


def test_every_fault_of_an_input_is_named_at_once(tmp_path: Path) -> None:
    """Loops, dangling links, sockets and names that S3 cannot keep; nothing and emptiness."""
    directory = tmp_path / "in"
    _write(directory, {"x": ""})
    (directory / "gone").symlink_to("nowhere")
    (directory / "loop").symlink_to(directory)
    (directory / os.fsdecode(b"caf\xe9")).write_text("")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
    faults = " ".join(input_faults(directory))
    for fault in ("gone is a symlink to nothing", "loop is a symlink to a directory", "not UTF-8", "s is neither"):
        assert fault in faults
    with pytest.raises(LyftLearnError, match="loop is"):
        hash_input(directory)
    (tmp_path / "empty").mkdir()
    assert "holds no file" in input_faults(tmp_path / "empty")[0]
    assert "does not exist" in input_faults(tmp_path / "none")[0]


def test_many_pack_into_one_cache_at_once(source: Path, cache: Path) -> None:
    """Forty jobs from one loop share the cache, and each other's half-made files come and go under their eyes."""
    with ThreadPoolExecutor(8) as pool:
        packed = set(pool.map(lambda _: pack_source(source, cache), range(40)))
    assert len(packed) == 1
    assert {path.suffix for path in cache.iterdir()} <= {".gz", ".json"}
