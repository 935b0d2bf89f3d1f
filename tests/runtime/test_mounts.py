"""What a substrate mounted: linked and not copied, and never left by a link or by `..`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import mounts, transfer
from lyftlearn.runtime.bundle import Bundle
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.layout import Layout


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A file system with a few files."""
    top = tmp_path / "mount"
    (top / "rides").mkdir(parents=True)
    (top / "rides" / "jan.txt").write_text("1")
    return top


def entry(mount: Path, relative: str) -> dict[str, Any]:
    return {"uri": f"file:///data/{relative}", "mode": "linked", "path": f"{mount}/{relative}", "within": str(mount)}


@pytest.mark.contract("C-MOUNT-1")
def test_a_job_finds_what_was_mounted(mount: Path, tmp_path: Path) -> None:
    """The command finds it where every input is."""
    layout = Layout(str(tmp_path / "root"), str(tmp_path / "ml"))
    (tmp_path / "root" / "inputs").mkdir(parents=True)
    transfer.fetch_inputs(
        Bundle({"inputs": {"a": entry(mount, "rides/"), "b": entry(mount, "rides/jan.txt")}}, ""), layout
    )
    assert Path(layout.at("inputs", "a", "jan.txt")).read_text() == "1"
    assert Path(layout.at("inputs", "b", "jan.txt")).read_text() == "1"
    with pytest.raises(RuntimeFailure, match=r"inputs\.c: nothing is at file:///data/trips"):
        transfer.fetch_inputs(Bundle({"inputs": {"c": entry(mount, "trips")}}, ""), layout)


@pytest.mark.contract("C-MOUNT-1")
def test_links_in_circles_hold_nothing(mount: Path, tmp_path: Path) -> None:
    """At the fortieth link in a row the kernel gives up, and what it cannot look at is no file."""
    layout = Layout(str(tmp_path / "root"), str(tmp_path / "ml"))
    (tmp_path / "root" / "inputs").mkdir(parents=True)
    (mount / "empty").mkdir()
    for name in "abc":
        (mount / "empty" / name).symlink_to(".")
    with pytest.raises(RuntimeFailure, match="nothing is at file:///data/empty"):
        transfer.fetch_inputs(Bundle({"inputs": {"c": entry(mount, "empty")}}, ""), layout)


@pytest.mark.contract("C-MOUNT-2")
@pytest.mark.parametrize("relative", ["rides", "rides/", ""])
def test_a_directory_becomes_a_link(mount: Path, tmp_path: Path, relative: str) -> None:
    """Files that come later are seen, and nothing is copied; a second start finds the link of the first."""
    channel = tmp_path / "channel"
    channel.mkdir()
    for _ in range(2):
        assert mounts.link_channel(entry(mount, relative), str(channel))
    assert channel.is_symlink()
    assert channel.resolve() == (mount / relative).resolve()


@pytest.mark.contract("C-MOUNT-2")
def test_a_file_lies_in_its_channel(mount: Path, tmp_path: Path) -> None:
    """As a file does that is fetched."""
    for _ in range(2):
        assert mounts.link_channel(entry(mount, "rides/jan.txt"), str(tmp_path / "channel"))
    assert (tmp_path / "channel" / "jan.txt").read_text() == "1"
    assert not (tmp_path / "channel").is_symlink()


@pytest.mark.parametrize("relative", ["trips", "trips/", "rides/jan.txt/"])
def test_nothing_there(mount: Path, tmp_path: Path, relative: str) -> None:
    """The job is told what it named, by its caller."""
    assert not mounts.link_channel(entry(mount, relative), str(tmp_path / "channel"))


@pytest.mark.contract("C-MOUNT-3")
@pytest.mark.parametrize("target", ["/etc", "../other", "/nowhere/at/all"])
def test_links_do_not_lead_out(mount: Path, tmp_path: Path, target: str) -> None:
    """Each substrate has something else where such a link leads: the same job would read other data."""
    (tmp_path / "other").mkdir()
    (mount / "away").symlink_to(target)
    with pytest.raises(RuntimeFailure, match="file:///data/away/ leads out of its mount"):
        mounts.link_channel(entry(mount, "away/"), str(tmp_path / "channel"))


def test_links_within_a_mount_are_followed(mount: Path, tmp_path: Path) -> None:
    """`latest` is how people name the newest directory."""
    (mount / "latest").symlink_to("rides")
    assert mounts.link_channel(entry(mount, "latest/"), str(tmp_path / "channel"))
    assert (tmp_path / "channel" / "jan.txt").read_text() == "1"


def outputs(mount: Path, *relative: str) -> Bundle:
    return Bundle(
        {
            "outputs": {
                f"o{number}": {"uri": f"file://{mount}/{path}", "within": str(mount)}
                for number, path in enumerate(relative)
            },
            "model": False,
            "pack": "runtime",
        },
        "",
    )


@pytest.mark.contract("C-MOUNT-4")
def test_every_output_that_cannot_be_written_is_named_at_once(mount: Path) -> None:
    """Before the command starts: after a day of training is too late."""
    (mount / "away").symlink_to("/etc")
    with pytest.raises(RuntimeFailure) as failure:
        mounts.check_outputs(outputs(mount, "away/x", "rides/jan.txt/x", "new/deep"), 1)
    assert "outputs.o0" in str(failure.value)
    assert f"outputs.o1: {mount}/rides/jan.txt is not a directory" in str(failure.value)
    assert "outputs.o2" not in str(failure.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_may_not_be_written(mount: Path) -> None:
    """Permissions of a shared file system are nobody's to guess."""
    mount.chmod(0o555)
    with pytest.raises(RuntimeFailure, match="may not be written to"):
        mounts.check_outputs(outputs(mount, "new"), 1)
