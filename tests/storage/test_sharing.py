"""A directory that several users of one machine, or a submitter and its containers, have in common."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from lyftlearn._storage import make_storage_directory, open_storage
from lyftlearn.runtime import mounts, storage
from lyftlearn.runtime.bundle import Bundle
from lyftlearn.runtime.faults import RuntimeFailure

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")
ALICE, BOB, TEAM, STRANGER = 4001, 4002, 5000, 4003


@contextmanager
def user(uid: int, *groups: int, umask: int = 0o077) -> Iterator[None]:
    """Be that user, in these groups, with the umask of somebody who shares nothing by accident."""
    before = (os.getgroups(), os.umask(umask))
    os.setgroups(groups)
    os.setresgid(uid, uid, 0)
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(before[0])
        os.umask(before[1])


@pytest.fixture
def data() -> Iterator[Path]:
    """What an administrator made for a team, as documented: its group writes, and what is new has the group."""
    place = Path(tempfile.mkdtemp())  # pytest's own directories are the user's who runs it
    place.chmod(0o755)
    team = place / "data"
    team.mkdir()
    os.chown(team, 0, TEAM)
    team.chmod(0o2770)
    yield team
    shutil.rmtree(place)


def put(path: Path, text: str) -> None:
    """As a container does with an output."""
    sink = storage.store_for(path.as_uri()).sink(path.as_uri())
    sink.write(text.encode())
    sink.commit()


def facts(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def test_a_team_shares_a_storage_that_its_first_user_makes(data: Path) -> None:
    """Claims, sources and outputs of one are there for the others, and for nobody else."""
    url = (data / "lyftlearn").as_uri()
    with user(ALICE, TEAM):
        make_storage_directory(url)
        assert open_storage(url).create("claims/eta/a.json", b"1")
        put(data / "lyftlearn/jobs/one/output/model.tar.gz", "model")
    with user(BOB, TEAM, umask=0o022):
        shared = open_storage(url)
        stored = shared.read("claims/eta/a.json")
        assert stored is not None
        assert shared.replace("claims/eta/a.json", b"2", stored.version)
        (data / "mine").write_bytes(b"source")
        assert shared.upload("sources/x", data / "mine", sha256(b"source").hexdigest())
        assert (data / "lyftlearn/jobs/one/output/model.tar.gz").read_text() == "model"
        put(data / "lyftlearn/jobs/two/output/model.tar.gz", "model")
        shutil.rmtree(data / "lyftlearn/jobs/one")  # as `lyftlearn clean` does
    root = data / "lyftlearn"
    assert facts(root) == (ALICE, TEAM, 0o2770)
    assert {facts(path)[1:] for path in root.rglob("*") if path.is_dir()} == {(TEAM, 0o2770)}
    assert {facts(path)[1:] for path in root.rglob("*") if path.is_file()} == {(TEAM, 0o660)}
    with user(STRANGER, STRANGER), pytest.raises(PermissionError):
        list(root.iterdir())


def test_a_storage_that_nobody_shares_is_for_one_user(data: Path) -> None:
    """Sources, and values in `env`, are nobody else's: a directory that all may enter is no sign that it is shared."""
    data.chmod(0o777)
    with user(ALICE, umask=0o022):
        make_storage_directory((data / "a" / "lyftlearn").as_uri())
        put(data / "a/lyftlearn/jobs/one/output/model.tar.gz", "model")
    assert {facts(path)[2] for path in (data / "a/lyftlearn").rglob("*") if path.is_dir()} == {0o700}
    assert facts(data / "a/lyftlearn")[2] == 0o700
    with user(BOB, TEAM), pytest.raises(PermissionError):
        list((data / "a/lyftlearn").iterdir())


def test_what_a_container_writes_as_root_belongs_to_the_storages_owner(data: Path) -> None:
    """Pods without `user` are root; their submitter could else neither read nor remove what they leave."""
    own = data.parent / "own"
    own.mkdir(mode=0o700)
    os.chown(own, ALICE, ALICE)
    put(own / "jobs/one/output/model.tar.gz", "model")
    assert open_storage(own.as_uri()).create("claims/a.json", b"1")
    with user(ALICE):
        assert (own / "jobs/one/output/model.tar.gz").read_text() == "model"
        assert (own / "claims/a.json").read_bytes() == b"1"
        shutil.rmtree(own / "jobs")
        shutil.rmtree(own / "claims")


def test_root_changes_nothing_but_what_it_made(data: Path) -> None:
    """A link that somebody has put in a new directory's place leads root nowhere."""
    victim = data / "victim"
    victim.mkdir(mode=0o700)
    (data / "link").symlink_to(victim)
    before = facts(victim)
    storage.hand_down_directory(str(data / "link"), 0o777, data.stat())
    assert facts(victim) == before


def test_where_everybody_writes_nobody_touches_anothers(data: Path) -> None:
    """Below `/tmp` a new directory is no more open than others are there."""
    data.chmod(0o1777)
    with user(ALICE, umask=0o022):
        put(data / "results/a.txt", "a")
    assert facts(data / "results")[2] == 0o755
    assert facts(data / "results/a.txt")[2] == 0o644


@pytest.mark.contract("C-KEEP-6")
def test_places_that_may_not_be_written_to_are_named_before_the_command_starts(data: Path) -> None:
    """Every one at once, whose it is and who came: after a day of training is too late."""
    bundle = {
        "outputs": {"report": {"uri": f"{data.as_uri()}/report"}, "output": {"uri": None}},
        "model": True,
        "pack": "runtime",
        "output_uri": f"{data.as_uri()}/jobs/one/output",
    }
    with user(STRANGER, STRANGER), pytest.raises(RuntimeFailure) as failure:
        mounts.check_outputs(Bundle(bundle, ""), 0)
    assert failure.value.reason == "configuration"
    for called in ("outputs.report", "the model and the outputs"):
        assert f"{called}: {data} may not be written to by user {STRANGER} of group {STRANGER}" in str(failure.value)
    assert f"it belongs to user 0 and group {TEAM}, mode 2770" in str(failure.value)
    with user(BOB, TEAM):
        mounts.check_outputs(Bundle(bundle, ""), 0)
    with user(STRANGER, STRANGER):
        mounts.check_outputs(Bundle(bundle, ""), 1)  # node 0 alone writes
