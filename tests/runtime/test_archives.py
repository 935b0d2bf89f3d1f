"""The packer and the unpacker agree, and no archive writes outside of its destination, under any Python."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import archives, compression, packing, storage
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.tree import WholeFile

from .test_zipapp import PYTHONS

DEEP = "/".join(["d" * 247] * 16)
Members = list[tuple[str, str | None]]


def chain(*links: tuple[str, str]) -> Members:
    return [(name, target) for name, target in links]


HOSTILE: dict[str, Members] = {
    "up": [("../escaped", None)],
    "absolute": [("/tmp/escaped", None)],
    "up after down": [("a/b/../../../escaped", None)],
    "through a link": [("link", ".."), ("link/escaped", None)],
    "through an absolute link": [("link", "/tmp"), ("link/escaped", None)],
    "two links": [("a", "b"), ("b", ".."), ("a/escaped", None)],
    "a link in a directory": [("a/b/up", "../../.."), ("a/b/up/escaped", None)],
    "lexically inside, really outside": [
        ("a/b/c/here", "../../.."),
        ("out", "a/b/c/here/../.."),
        ("out/escaped", None),
    ],
    "a link that replaces a directory": [("d/x", None), ("d", ".."), ("d/escaped", None)],
    "a directory that replaces a link": [("d", ".."), ("d/", "DIR"), ("d/../escaped", None)],
    "longer than a path may be": [
        (DEEP + "/", "DIR"),
        *chain(*((f"{'/'.join(['d' * 247] * n)}/l" if n else "l", "d" * 247) for n in range(1))),
        ("long", "/".join(["l"] * 200 + [".."] * 300)),
        ("long/escaped", None),
    ],
    "a hard link to a link": [("l", "../escaped-target"), ("h", "HARD l"), ("h", None)],
    "a hard link out": [("h", "HARD ../../../../etc/passwd")],
    "a hard link to itself": [("h", "HARD h")],
    "a fifo": [("escaped", "FIFO")],
    "a device": [("escaped", "DEVICE")],
}
TYPES = {"FIFO": tarfile.FIFOTYPE, "DEVICE": tarfile.CHRTYPE, "DIR": tarfile.DIRTYPE}
UNPACK = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from lyftlearn_runtime.archives import unpack
from lyftlearn_runtime.faults import RuntimeFailure

def attempt(top):
    messages, links, inside = [], [], os.path.join(top, "in", "side")
    try:
        unpack(os.path.join(top, "bad.tar.gz"), inside, warn=messages.append)
    except RuntimeFailure as failure:
        messages.append("refused: " + str(failure))
    for folder, folders, files in os.walk(inside):
        for path in (os.path.join(folder, name) for name in folders + files):
            if os.path.islink(path) and not os.path.realpath(path).startswith(os.path.realpath(inside)):
                links.append(path)
    return [messages, links]

print(json.dumps([attempt(top) for top in sys.argv[2:]]))
"""


def make_archive(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, link in members:
            member = tarfile.TarInfo(name)
            if link and link.startswith("HARD "):
                member.type, member.linkname = tarfile.LNKTYPE, link[5:]
            elif link:
                member.type = TYPES.get(link, tarfile.SYMTYPE)
                member.linkname = "" if link in TYPES else link
            archive.addfile(member)
    return path


@pytest.mark.contract("C-ARCHIVE-3")
@pytest.mark.parametrize("python", PYTHONS.values(), ids=list(PYTHONS))
def test_nothing_is_written_outside_under_any_python(python: Path, archive: Path, tmp_path: Path) -> None:
    """Filters of `tarfile` differ between versions, and several have holes: ours is the only one that counts."""
    tops = {name: tmp_path / str(index) for index, name in enumerate(HOSTILE)}
    for name, members in HOSTILE.items():
        tops[name].mkdir()
        make_archive(tops[name] / "bad.tar.gz", members)
    command = [str(word) for word in (python, "-I", "-S", "-c", UNPACK, archive, *tops.values())]
    answers = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=600).stdout)
    for (name, top), (messages, links_out) in zip(tops.items(), answers, strict=True):
        assert messages, name
        assert links_out == [], name
        assert sorted(path.name for path in top.iterdir()) == ["bad.tar.gz", "in"], name
        assert [path.name for path in (top / "in").iterdir()] == ["side"], name
    assert not Path("/tmp/escaped").exists()


def test_a_link_out_costs_the_link_and_not_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Platforms pack links as they find them; one that leads nowhere here must not cost everything beside it."""
    members: Members = [("latest", "/opt/ml/model/ckpt-500"), ("ckpt-500/w", None), ("best", "ckpt-500")]
    count = archives.unpack(str(make_archive(tmp_path / "m.tar.gz", members)), str(tmp_path / "out"))
    assert count == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["best", "ckpt-500"]
    assert "latest" in capsys.readouterr().err


def test_what_tar_itself_packs_is_taken(tmp_path: Path) -> None:
    """`./` before every name, hard links, modes, a link before what it names: as SageMaker leaves them."""
    model = tmp_path / "model"
    (model / "d").mkdir(parents=True)
    (model / "d/w").write_text("weights")
    (model / "d/w").chmod(0o640)
    os.link(model / "d/w", model / "same")
    (model / "a-link").symlink_to("d/w")
    subprocess.run(["tar", "-C", model, "-czf", tmp_path / "m.tar.gz", "."], check=True)
    archives.unpack(str(tmp_path / "m.tar.gz"), str(tmp_path / "out"), keep_modes=True)
    assert (tmp_path / "out/same").read_text() == (tmp_path / "out/a-link").read_text() == "weights"
    assert (tmp_path / "out/d/w").stat().st_mode & 0o777 == 0o640
    archives.unpack(str(tmp_path / "m.tar.gz"), str(tmp_path / "out"))
    assert (tmp_path / "out/d/w").stat().st_mode & 0o777 == 0o644


def test_an_empty_output_is_there(tmp_path: Path) -> None:
    """A job that wrote nothing into an output has an empty one; one that has no such output has none."""
    (tmp_path / "outputs/empty").mkdir(parents=True)
    packed = pack(tmp_path / "outputs", tmp_path / "o.tar.gz")
    assert archives.unpack(str(packed), str(tmp_path / "in"), only="empty") == 1
    assert archives.unpack(str(packed), str(tmp_path / "in"), only="other") == 0


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage", b"\xfd7zXZ\0garbage"])
def test_what_is_no_archive_is_said_so(tmp_path: Path, content: bytes) -> None:
    """A wrong URI, half an upload, a page of a proxy: the user's to mend, in words."""
    (tmp_path / "m.tar.gz").write_bytes(content)
    with pytest.raises(RuntimeFailure, match="is not a tar archive that can be read") as caught:
        archives.unpack(str(tmp_path / "m.tar.gz"), str(tmp_path / "out"))
    assert caught.value.reason == "configuration"
    assert str(caught.value).endswith(
        "bytes are no tar, nor one packed with gzip, bzip2 or xz" if content else "is empty"
    )
    assert "\n" not in str(caught.value)


def test_every_cut_of_an_archive_is_said_so(tmp_path: Path) -> None:
    """Downloads end anywhere, and each decompressor has errors of its own."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/w").write_bytes(os.urandom(3000))
    whole = pack(tmp_path / "m", tmp_path / "m.tar.gz").read_bytes()
    for cut in range(0, len(whole) - 8, 97):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(RuntimeFailure, match=r"cannot|can be read"):
            archives.unpack(str(tmp_path / "cut"), str(tmp_path / f"out{cut}"))


def pack(directory: Path, path: Path, **options: Any) -> Path:
    sink = storage.store_for("/x").sink(str(path))
    packing.pack(str(directory), sink, **options)
    sink.commit()
    return path


def links(top: Path, outside: Path) -> None:
    """Every kind of link that programs leave in a model."""
    (top / "ckpt-500").mkdir(parents=True)
    (top / "ckpt-500/w").write_text("weights")
    (outside / "deep").mkdir(parents=True)
    (outside / "w").write_text("outside")
    (outside / "deep/again").symlink_to(outside)
    (outside / "back").symlink_to(top)
    (top / "absolute").symlink_to(top / "ckpt-500")
    (top / "absolute-file").symlink_to(top / "ckpt-500/w")
    (top / "relative").symlink_to("ckpt-500")
    (top / "chain").symlink_to("absolute")
    (top / "dangling").symlink_to("ckpt-400")
    (top / "dangling-absolute").symlink_to("/no/such/file")
    (top / "loop").symlink_to("loop")
    (top / "self").symlink_to(".")
    (top / "ckpt-500/up").symlink_to("../..")
    (top / "out").symlink_to(outside)
    (top / "out-file").symlink_to(outside / "w")
    os.mkfifo(top / "fifo")


EXPECTED = {
    "ckpt-500": None,
    "ckpt-500/w": "weights",
    "absolute": "-> ckpt-500",
    "absolute-file": "-> ckpt-500/w",
    "relative": "-> ckpt-500",
    "chain": "-> ckpt-500",
    "out": None,
    "out/deep": None,
    "out/w": "outside",
    "out-file": "outside",
}


def shown(top: Path) -> dict[str, str | None]:
    return dict(entries(top, top))


def entries(top: Path, directory: Path) -> Iterator[tuple[str, str | None]]:
    for path in sorted(directory.iterdir()):
        name = str(path.relative_to(top))
        if path.is_symlink():
            yield name, f"-> {path.readlink()}"
        elif path.is_dir():
            yield name, None
            yield from entries(top, path)
        else:
            yield name, path.read_text()


@pytest.mark.contract("C-ARCHIVE-2")
def test_what_lies_too_deep_is_left_out(tmp_path: Path) -> None:
    """No Python walks through a thousand directories within each other; the rest of a model is worth keeping."""
    (tmp_path / "model" / "/".join(["d"] * 300)).mkdir(parents=True)
    (tmp_path / "model/weights").touch()
    warnings: list[str] = []
    packed = pack(tmp_path / "model", tmp_path / "m.tar.gz", warn=warnings.append)
    archives.unpack(str(packed), str(tmp_path / "ours"))
    assert (tmp_path / "ours/weights").is_file()
    assert [warning.endswith("d is not kept: it lies below 255 directories") for warning in warnings] == [True]


@pytest.mark.contract("C-ARCHIVE-2")
def test_every_link_is_packed_so_that_both_unpackers_take_it(tmp_path: Path) -> None:
    """What was a whole model on the disk is one after the archive, under our unpacker and under Python's strictest."""
    links(tmp_path / "model", tmp_path / "elsewhere")
    warnings: list[str] = []
    packed = pack(tmp_path / "model", tmp_path / "m.tar.gz", warn=warnings.append)
    archives.unpack(str(packed), str(tmp_path / "ours"))
    assert shown(tmp_path / "ours") == EXPECTED
    for name in ("dangling", "dangling-absolute", "loop", "self", "ckpt-500/up", "fifo", "out/back", "out/deep/again"):
        assert any(f"model/{name} is not kept" in warning for warning in warnings), (name, warnings)
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
        with tarfile.open(packed) as archive:
            archive.extractall(tmp_path / "theirs", filter="data")
        assert shown(tmp_path / "theirs") == EXPECTED


@pytest.mark.parametrize("damage", [b"\xff" * 512, b"model/b" + b"\0" * 505, b"\xff" * 100])
def test_a_damaged_header_is_not_the_end(tmp_path: Path, damage: bytes) -> None:
    """For `tarfile` it is, which would make a model of what came before it, and say nothing."""
    path = tmp_path / "m.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 512
            archive.addfile(member, io.BytesIO(b"x" * 512))
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + damage + (whole[1536:] if len(damage) == 512 else b""))
    with pytest.raises(archives.BadArchive, match="a header of the archive is damaged"):
        archives.unpack(str(path), str(tmp_path / "out"))


def test_sagemaker_packs_the_same_links(tmp_path: Path) -> None:
    """The platform knows no rules for links: they are settled before it packs."""
    from lyftlearn.runtime.sagemaker_paths import settle_links

    links(tmp_path / "model", tmp_path / "elsewhere")
    settle_links(str(tmp_path / "model"))
    assert shown(tmp_path / "model") == EXPECTED


def test_outputs_are_complete_one_by_one(tmp_path: Path) -> None:
    """Another job takes one output of the archive: a link to its neighbour would lead nowhere there."""
    (tmp_path / "outputs/a").mkdir(parents=True)
    (tmp_path / "outputs/b").mkdir()
    (tmp_path / "outputs/b/f").write_text("shared")
    (tmp_path / "outputs/a/f").symlink_to("../b/f")
    packed = pack(tmp_path / "outputs", tmp_path / "o.tar.gz", apart=True, without=["b"])
    archives.unpack(str(packed), str(tmp_path / "in"), only="a")
    assert shown(tmp_path / "in") == {"f": "shared"}


def test_many_directories_that_link_to_each_other(tmp_path: Path) -> None:
    """Followed without end, or once for each way through them, a few links fill any disk."""
    names = [f"d{index}" for index in range(12)]
    for name in names:
        (tmp_path / "model" / name).mkdir(parents=True)
        (tmp_path / "model" / name / "file").write_text(name)
        for other in names:
            (tmp_path / "model" / name / f"to-{other}").symlink_to(f"../{other}")
    found = storage.store_for("/x").find(str(tmp_path / "model"))
    assert len(found) < 12 * 12 * 12
    assert {entry.relative for entry in found} >= {"d0/file", "d0/to-d1/file", "d11/to-d10/file"}
    sink = io.BytesIO()
    sink.commit = sink.abort = lambda: None  # type: ignore[attr-defined]
    packing.pack(str(tmp_path / "model"), sink)  # type: ignore[arg-type]


def test_a_directory_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages have thousands of files, and a look at each name above each of them is most of the time."""
    deep = tmp_path / "from" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for number in range(50):
        (deep / f"{number}.py").write_text("x")
    packing.pack_to((tmp_path / "whole.tar.gz").as_uri(), str(tmp_path / "from"))
    looks: list[str] = []

    def counted(real: Callable[[Any], bool]) -> Callable[[Any], bool]:
        def look(path: Any) -> bool:
            looks.append(str(path))
            return real(path)

        return look

    for name in ("islink", "isdir", "lexists"):
        monkeypatch.setattr(os.path, name, counted(getattr(os.path, name)))
    archives.unpack(str(tmp_path / "whole.tar.gz"), str(tmp_path / "to"))
    assert len(list((tmp_path / "to/a/b/c").iterdir())) == 50
    assert len([path for path in looks if path.startswith(str(tmp_path / "to"))]) < 30


def test_what_stands_in_the_way_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    """A file of an earlier attempt goes; a link is no place to write to; a directory is refused."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.txt").write_text("new")
    packing.pack_to((tmp_path / "whole.tar.gz").as_uri(), str(tmp_path / "from"))
    outside = tmp_path / "outside.txt"
    outside.write_text("kept")
    for link in (False, True):
        target = tmp_path / "to"
        target.mkdir(exist_ok=True)
        (target / "a.txt").unlink(missing_ok=True)
        (target / "a.txt").symlink_to(outside) if link else (target / "a.txt").write_text("old, and longer")
        archives.unpack(str(tmp_path / "whole.tar.gz"), str(target))
        assert (target / "a.txt").read_text() == "new"
        assert not (target / "a.txt").is_symlink()
    assert outside.read_text() == "kept"
    (tmp_path / "to" / "a.txt").unlink()
    (tmp_path / "to" / "a.txt").mkdir()
    with pytest.raises(archives.BadArchive, match="has the name of a directory"):
        archives.unpack(str(tmp_path / "whole.tar.gz"), str(tmp_path / "to"))


def test_a_large_archive_is_one_stream_whoever_compresses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tarfile` reads a pipe only to the end of the first gzip member, and equal models are to be equal bytes."""
    content = os.urandom(compression.BLOCK * 5 // 2) + bytes(compression.BLOCK)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(content)
    packed = set()
    for processors in (1, 2, 64):
        monkeypatch.setattr(os, "cpu_count", lambda count=processors: count)
        packed.add(pack(tmp_path / "model", tmp_path / f"{processors}.tar.gz").read_bytes())
    assert len(packed) == 1
    with tarfile.open(fileobj=io.BytesIO(*packed), mode="r|gz") as archive:
        members = {member.name: _bytes_of(archive, member) for member in archive}
    assert members == {"weights": content}


def _bytes_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def test_what_is_packed_never_waits_in_memory(tmp_path: Path) -> None:
    """A model may be larger than the memory of its job: at most a few blocks wait to be written."""
    sizes: list[int] = []

    class Sink:
        def write(self, data: bytes) -> None:
            sizes.append(len(data))

    stream = compression.Gzip(Sink())  # type: ignore[arg-type]
    for number in range(40):
        stream.write(os.urandom(compression.BLOCK))
        assert number + 1 - (len(sizes) - 1) <= compression.MOST_THREADS
    stream.finish()
    assert len(sizes) == 1 + 40 + 1


def test_a_stream_of_gzip_is_read_in_any_order(tmp_path: Path) -> None:
    """Several members behind each other, blocks of all sizes, zeros at the end: the same bytes as by `gzip`."""
    parts = [os.urandom(compression.READ * 5 // 2), b"x", bytes(compression.BLOCK * 5 // 2)]
    path, whole = tmp_path / "parts.gz", b"".join(parts)
    path.write_bytes(b"".join(map(gzip.compress, parts)) + bytes(700))
    places = [0, 5, len(parts[0]), compression.READ, len(whole) - 3, 1, compression.BLOCK * 2, len(whole) + 9]
    with path.open("rb") as file, closing(compression.Gunzip(file)) as stream:
        for place in places:
            assert stream.seek(place) == stream.tell() == min(place, len(whole))
            for size in (1, 512, compression.BLOCK + 1):
                start = stream.tell()
                assert stream.read(size) == whole[start : start + size]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_are_read_as_tarfile_reads_them(tmp_path: Path, form: int) -> None:
    """Most are read in a shorter way, which is to see the same names, kinds, sizes and places."""
    path = tmp_path / "m.tar"
    names = ["a", "d/", "d/" + "long" * 30 + "/" + "name" * 20, "d/é", "d/\udc80", "d/e//"]
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for size, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size, member.mode = 0 if member.isdir() else size * 300, 0o750
            archive.addfile(member, io.BytesIO(b"x" * member.size))

    def seen(archive: tarfile.TarFile, members: Iterable[tarfile.TarInfo]) -> list[Any]:
        return [(one.name, one.type, one.size, one.mode, one.offset_data, archive.offset) for one in members]

    with tarfile.open(path) as theirs, tarfile.open(path) as ours:
        assert seen(ours, archives.members_of(ours)) == seen(theirs, theirs)


def test_holes_and_hard_links_far_behind(tmp_path: Path) -> None:
    """`tar -S` leaves out the zeros of a sparse file, and a second name is met when its content has long gone by."""
    model, content = tmp_path / "model", os.urandom(3 * compression.BLOCK)
    model.mkdir()
    (model / "a").write_bytes(b"first")
    (model / "b").write_bytes(content)
    os.link(model / "a", model / "c")
    with (model / "holes").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    subprocess.run(["tar", "-C", model, "--sort=name", "-Sczf", tmp_path / "m.tar.gz", "."], check=True)
    archives.unpack(str(tmp_path / "m.tar.gz"), str(tmp_path / "out"))
    assert (tmp_path / "out/c").read_bytes() == b"first"
    assert (tmp_path / "out/b").read_bytes() == content
    assert (tmp_path / "out/holes").read_bytes() == bytes(1 << 20) + b"end"


@pytest.mark.parametrize(("name", "link"), [("./a", "a"), ("a", "./a"), ("d/a", "./d//a")])
def test_a_hard_link_names_its_member_in_other_words(tmp_path: Path, name: str, link: str) -> None:
    """Packers differ in that; the whole archive was refused for it."""
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        first, second = tarfile.TarInfo(name), tarfile.TarInfo("h")
        first.size, second.type, second.linkname = 1, tarfile.LNKTYPE, link
        archive.addfile(first, io.BytesIO(b"1"))
        archive.addfile(second)
    archives.unpack(str(tmp_path / "x.tar.gz"), str(tmp_path / "out"))
    assert (tmp_path / "out" / "h").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["n" * 256, "\u00e9" * 128, f"d/{'n' * 256}/f"])
def test_a_name_that_no_file_can_have_is_the_archives_fault(tmp_path: Path, name: str) -> None:
    """No platform can mend it, so none is to be blamed."""
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(archives.BadArchive, match="255 bytes"):
        archives.unpack(str(tmp_path / "x.tar.gz"), str(tmp_path / "out"))


def test_what_changes_while_it_is_kept_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may leave a program running that turns its log over, or removes what is old."""
    for name in ("cut", "gone", "stays"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes(b"x" * 100_000)
    add, warnings = packing.Archive.add, list[str]()

    def change(archive: packing.Archive, entry: Any, warn: Callable[[str], None]) -> None:
        if entry.name == "gone":
            (tmp_path / "model" / "gone").unlink()
        add(archive, entry, warn)

    real = WholeFile.read

    def cut(self: Any, size: int) -> bytes:
        if "cut" in self._path:
            os.truncate(tmp_path / "model" / "cut", 10)
        return real(self, size)

    monkeypatch.setattr(WholeFile, "read", cut)
    monkeypatch.setattr(packing.Archive, "add", change)
    packed = pack(tmp_path / "model", tmp_path / "m.tar.gz", warn=warnings.append)
    archives.unpack(str(packed), str(tmp_path / "out"))
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert kept == {"cut": (b"x" * 10).ljust(100_000, b"\0"), "stays": b"x" * 100_000}
    assert [warning.rpartition("/")[2] for warning in warnings] == [
        "cut was cut while it was kept: it ends in zeros",
        "gone is not kept: it is gone",
    ]


NAMES = ["w", "a" * 100, "a" * 101, "b" * 99 + "/c", "é", "d/" + "x" * 60 + "/" + "y" * 60, "space and\nline"]


def test_the_bytes_are_those_of_tarfile(tmp_path: Path) -> None:
    """Archives that were kept before have the same bytes, whichever headers are written without `tarfile`."""
    model, expected = tmp_path / "model", io.BytesIO()
    for number, name in enumerate(NAMES):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(os.urandom(number * 300))
    (model / os.fsdecode(b"\xff")).mkdir(mode=0o700)
    (model / ("e" * 99)).mkdir()
    (model / ("f" * 100)).mkdir()
    (model / "large").write_bytes(os.urandom(3 * compression.BLOCK))
    (model / "link").symlink_to("w")
    (model / "long link").symlink_to("a" * 101)
    with tarfile.open(fileobj=expected, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(model.rglob("*"), key=lambda path: os.fsdecode(path.relative_to(model)).split("/")):
            member = archive.gettarinfo(path, str(path.relative_to(model)))
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            member.mode = 0o644 if member.issym() else member.mode
            archive.addfile(member, io.BytesIO(path.read_bytes()) if member.isreg() else None)
    assert gzip.decompress(pack(model, tmp_path / "m.tar.gz").read_bytes()) == expected.getvalue()
