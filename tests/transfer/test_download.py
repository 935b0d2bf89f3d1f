"""Outputs arrive whole, unpacked, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from lyftlearn._storage import Storage, open_storage
from lyftlearn._storage._s3 import S3Storage
from lyftlearn._transfer.download import fetch_output
from lyftlearn._transfer.marks import is_mark
from lyftlearn.errors import BackendUnavailable, LyftLearnError
from lyftlearn.runtime.tree import remove_tree
from tests.doubles.bucket import Bucket


def _pack(storage: Storage, name: str, *members: tarfile.TarInfo | tuple[str, bytes]) -> str:
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, BytesIO(member[1]))
    storage.create(f"job/output/{name}", packed.getvalue())
    return storage.uri(f"job/output/{name}")


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def _found(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_model_is_unpacked(storage: Storage, tmp_path: Path) -> None:
    """What the command left in its model directory is in the destination, whose parents are made."""
    uri = _pack(storage, "model.tar.gz", ("model.joblib", b"1"), ("./deep/weights", b"2"))
    fetch_output(uri, tmp_path / "new" / "model")
    assert _found(tmp_path / "new" / "model") == {"model.joblib": b"1", "deep/weights": b"2"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]


def test_one_output_of_several_is_unpacked(storage: Storage, tmp_path: Path) -> None:
    """`#name` is a directory of the archive, and no other whose name begins alike."""
    uri = _pack(storage, "output.tar.gz", ("plots/a.png", b"1"), ("plots2/b", b"2"), _directory("empty"))
    fetch_output(f"{uri}#plots", tmp_path / "plots")
    assert _found(tmp_path / "plots") == {"a.png": b"1"}
    fetch_output(f"{uri}#empty", tmp_path / "empty")
    assert _found(tmp_path / "empty") == {}
    with pytest.raises(LyftLearnError, match=r"#plot does not exist"):
        fetch_output(f"{uri}#plot", tmp_path / "plot")


def test_an_output_with_a_uri_of_its_own_is_everything_under_it(storage: Storage, tmp_path: Path) -> None:
    """And nothing beside it: `out` never takes in `out-old`."""
    for key in ("out/a", "out/b/c", "out-old/d", "single"):
        storage.create(key, key.encode())
    for number, uri in enumerate((storage.uri("out"), storage.uri("out") + "/")):
        fetch_output(uri, tmp_path / str(number))
        assert _found(tmp_path / str(number)) == {"a": b"out/a", "b/c": b"out/b/c"}
    fetch_output(storage.uri("single"), tmp_path / "one")
    assert _found(tmp_path / "one") == {"single": b"single"}


@pytest.mark.parametrize("key", ["job/output/model.tar.gz", "job/output/output.tar.gz#plots", "out/", "out"])
def test_what_is_not_there_is_told(storage: Storage, tmp_path: Path, key: str) -> None:
    """A job that has not succeeded has no outputs; nothing is left of the attempt."""
    with pytest.raises(LyftLearnError, match=r"does not exist \(yet\)"):
        fetch_output(f"{storage.uri('')}/{key}".replace("//job", "/job").replace("//out", "/out"), tmp_path / "d" / "x")
    assert list((tmp_path / "d").iterdir()) == []


def test_fetching_again_succeeds(storage: Storage, tmp_path: Path) -> None:
    """A script that died after the first of two outputs can be run again."""
    uri = _pack(storage, "model.tar.gz", ("m", b"1"))
    fetch_output(uri, tmp_path / "model")
    fetch_output(uri, tmp_path / "model")
    assert _found(tmp_path / "model") == {"m": b"1"}


@pytest.mark.parametrize("kind", ["other content", "a file"])
def test_what_is_in_the_way_is_never_destroyed(storage: Storage, tmp_path: Path, kind: str) -> None:
    """`download(".")` beside a directory `model` full of code must not cost the code."""
    uri = _pack(storage, "model.tar.gz", ("m", b"1"))
    if kind == "a file":
        (tmp_path / "model").write_text("code")
    else:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "code.py").write_text("code")
    with pytest.raises(LyftLearnError, match="nothing was changed"):
        fetch_output(uri, tmp_path / "model")
    code = tmp_path / "model" / "code.py" if kind == "other content" else tmp_path / "model"
    assert code.read_text() == "code"


def test_an_empty_directory_is_no_obstacle(storage: Storage, tmp_path: Path) -> None:
    """People make the directory first."""
    uri = _pack(storage, "model.tar.gz", ("m", b"1"))
    (tmp_path / "model").mkdir()
    fetch_output(uri, tmp_path / "model")
    assert _found(tmp_path / "model") == {"m": b"1"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil"])
def test_members_that_would_leave_the_destination_are_refused(storage: Storage, tmp_path: Path, name: str) -> None:
    """An archive is made by a job, and a job may be anyone's."""
    uri = _pack(storage, "model.tar.gz", ("good", b"1"), (name, b"2"))
    with pytest.raises(LyftLearnError, match="nothing was kept"):
        fetch_output(uri, tmp_path / "d" / "model")
    assert not list(tmp_path.rglob("evil"))
    assert list((tmp_path / "d").iterdir()) == []


@pytest.mark.contract("C-ARCHIVE-2")
@pytest.mark.parametrize("target", ["/tmp", "../../etc", "gone", "latest"])
def test_a_link_out_of_an_archive_is_left_out_and_the_rest_is_kept(
    storage: Storage, tmp_path: Path, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another packer than ours keeps such links; a model must not be lost to everybody for one of them."""
    link = tarfile.TarInfo("latest")
    link.type, link.linkname = tarfile.SYMTYPE, target
    fetch_output(_pack(storage, "model.tar.gz", link, ("weights", b"1")), tmp_path / "model")
    assert _found(tmp_path / "model")["weights"] == b"1"
    assert not (tmp_path / "model" / "latest").exists()
    if target.startswith(("/", "..")):
        assert not (tmp_path / "model" / "latest").is_symlink()
        assert f"'latest' -> {target!r} leads out of the archive and is left out" in caplog.text


def test_a_cut_archive_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    """Half a model is worse than none."""
    whole = _pack(storage, "model.tar.gz", ("m", bytes(range(256)) * 4000))
    stored = storage.read("job/output/model.tar.gz")
    assert stored is not None
    assert storage.replace("job/output/model.tar.gz", stored.data[: len(stored.data) // 2], stored.version)
    with pytest.raises(LyftLearnError, match="cannot be unpacked"):
        fetch_output(whole, tmp_path / "d" / "model")
    assert list((tmp_path / "d").iterdir()) == []


def test_object_names_that_would_leave_the_destination_are_refused(bucket: Bucket, tmp_path: Path) -> None:
    """In S3 `..` is a name like any other; in a directory it is not."""
    S3Storage("s3://bucket").create("out/../../evil", b"")
    with pytest.raises(LyftLearnError, match="outside the destination"):
        fetch_output("s3://bucket/out", tmp_path / "out")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "keys", [["a", "a/b"], ["a//b", "a/b"], ["a/./b", "a/b"], ["n" * 256, "z"], [".", "z"]], ids=lambda it: it[0][:9]
)
def test_object_names_that_no_directory_can_hold_are_named(bucket: Bucket, tmp_path: Path, keys: list[str]) -> None:
    """In S3 they are different objects; here one would be lost without a word."""
    for key in keys:
        S3Storage("s3://bucket").create(f"out/{key}", b"1")
    with pytest.raises(LyftLearnError, match="cannot be a directory: '") as caught:
        fetch_output("s3://bucket/out", tmp_path / "d" / "out")
    assert not isinstance(caught.value, BackendUnavailable)
    assert list((tmp_path / "d").iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(13, "Permission denied", "/x")])
def test_a_disk_that_takes_no_more_is_no_silence_of_the_store(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """It was asked again for a quarter of a minute, and named as S3's."""
    store, asked = S3Storage("s3://bucket"), []

    def breaks(*_: object) -> None:
        asked.append(1)
        raise error

    monkeypatch.setattr(store, "_download", breaks)
    with pytest.raises(LyftLearnError, match=str(error.strerror)) as caught:
        store.fetch("key", tmp_path / "x")
    assert not isinstance(caught.value, BackendUnavailable)
    assert len(asked) == 1


def test_trouble_with_the_destination_is_told(storage: Storage, tmp_path: Path) -> None:
    """A full disk, a name that is too long, a place that is no directory: an error of ours, that names the place."""
    uri = _pack(storage, "model.tar.gz", ("m", b"1"))
    (tmp_path / "file").write_text("")
    for dest in (tmp_path / ("n" * 300), tmp_path.joinpath(*["x" * 200] * 25), Path("/proc/x/y")):
        for overwrite in (False, True):
            with pytest.raises(LyftLearnError, match=r"cannot be downloaded to "):
                fetch_output(uri, dest, overwrite=overwrite)


UNREADABLE = """
import sys
from pathlib import Path
from lyftlearn._transfer.download import fetch_output
from lyftlearn.errors import DestinationExists, LyftLearnError

uri, top = sys.argv[1], Path(sys.argv[2])
try:
    fetch_output(uri, top / "here")
except DestinationExists as error:
    print("refused")
fetch_output(uri, top / "here", overwrite=True)
print(sorted(path.name for path in (top / "here").iterdir() if not path.name.startswith(".")))
try:
    fetch_output(top.joinpath("plain").as_uri(), top / "there")
except LyftLearnError as error:
    print("told", sorted(path.name for path in top.glob("there*")))
"""


def test_what_may_not_be_read_is_no_traceback(storage: Storage, tmp_path: Path) -> None:
    """At the destination it is something else, and can be replaced; in an output it is named."""
    uri = _pack(storage, "model.tar.gz", ("m", b"1"))
    for name in ("here/d", "plain"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("here/m", "here/d/f", "plain/f"):
        (tmp_path / name).write_text("x")
    for name in ("here/m", "here/d", "plain/f"):
        (tmp_path / name).chmod(0)
    powers = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    argv = [*powers, sys.executable, "-c", UNREADABLE, uri, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.splitlines() == ["refused", "['m']", "told []"], done.stderr


def test_downloads_that_replace_each_other(storage: Storage, tmp_path: Path) -> None:
    """A notebook and a cron job may have the same destination: one of them is last, and neither breaks."""
    uris = []
    for name in ("one", "two"):
        other = open_storage((tmp_path / name).as_uri())
        uris.append(_pack(other, "model.tar.gz", (name, b"1")))

    def download(uri: str) -> None:
        for _ in range(30):
            fetch_output(uri, tmp_path / "out" / "model", overwrite=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(download, uris * 2))
    assert list(_found(tmp_path / "out" / "model")) in (["one"], ["two"])
    assert [path.name for path in (tmp_path / "out").iterdir() if not is_mark(path.name)] == ["model"]


def _dig(top: Path, levels: int) -> None:
    """Make directories within each other, deeper than a path may be long."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@pytest.mark.parametrize("levels", [250, 600, 3000])
def test_a_directory_without_end_costs_nothing_beside_it(
    tmp_path: Path, levels: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever else is at the place that somebody named for an output, twice, and over what is there."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table").write_text("1")
    _dig(tmp_path / "out", levels)
    for overwrite in (False, False, True):
        fetch_output((tmp_path / "out").as_uri(), tmp_path / "here", overwrite=overwrite)
    assert (tmp_path / "here" / "table").read_text() == "1"
    assert ("goes on for 256 directories" in caplog.text) == (levels > 256)
    assert len(list((tmp_path / "here").rglob("d"))) == min(levels, 256)
    remove_tree(tmp_path / "out")


def test_a_name_of_many_directories_in_a_bucket_costs_nothing_beside_it(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key is one name to S3, and hundreds of directories here."""
    for key in ("out/" + "d/" * 500 + "leaf", "out/table"):
        assert S3Storage("s3://bucket").create(key, b"1")
    for _ in range(2):
        fetch_output("s3://bucket/out", tmp_path / "here")
    assert _found(tmp_path / "here") == {"table": b"1"}
    assert "goes on for 256 directories" in caplog.text


def test_links_are_copied_and_what_is_no_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that a server left beside its results is nobody's result."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table").write_text("1")
    (tmp_path / "out" / "latest").symlink_to("table")
    (tmp_path / "out" / "self").symlink_to(".")
    (tmp_path / "out" / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "out" / "fifo")
    fetch_output((tmp_path / "out").as_uri(), tmp_path / "here")
    here = {path.name for path in (tmp_path / "here").iterdir() if not is_mark(path.name)}
    assert here == {"table", "latest", "self", "gone"}
    assert (tmp_path / "here" / "latest").readlink() == Path("table")
    assert "fifo is neither file nor directory" in caplog.text
