"""`[mounts]`: what is wrong with it is told by file and key, before any job is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyftlearn.config import load
from lyftlearn.errors import InvalidJob


@pytest.mark.parametrize(
    ("mounts", "where", "words"),
    [
        ({"data": "/data"}, "mounts.data", "write a table with a path"),
        ({"data": {}}, "mounts.data", "has no path"),
        ({"data": {"path": "data"}}, "mounts.data.path", "absolute path"),
        ({"data": {"path": "/"}}, "mounts.data.path", 'not "/"'),
        ({"data": {"path": "//"}}, "mounts.data.path", 'not "/"'),
        ({"data": {"path": "/data/../etc"}}, "mounts.data.path", "absolute path"),
        ({"data": {"path": "file:///data"}}, "mounts.data.path", "absolute path"),
        ({"data": {"path": 3}}, "mounts.data.path", "absolute path"),
        ({"data": {"path": "/data", "read_only": "yes"}}, "mounts.data.read_only", "true or false"),
        ({"data": {"path": "/data", "readonly": True}}, "mounts.data.readonly", "did you mean read_only"),
        ({"Data": {"path": "/data"}}, "mounts.Data", "is no name"),
        ({"a" * 41: {"path": "/data"}}, f"mounts.{'a' * 41}", "is no name"),
        ({"a": {"path": "/data"}, "b": {"path": "/data/"}}, "mounts.b.path", "so is that of a"),
    ],
)
def test_faults(mounts: dict[str, Any], where: str, words: str) -> None:
    """Whoever wrote it must be able to mend it without reading our code."""
    with pytest.raises(InvalidJob) as refusal:
        load({"mounts": mounts})
    ((path, problem),) = refusal.value.faults
    assert path.endswith(where)
    assert words in problem


def test_the_platform_names_a_mount_and_the_repository_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are merged key by key, and a relative directory starts at the file that names it."""
    platform, own = tmp_path / "platform.toml", tmp_path / "repository" / "lyftlearn.toml"
    platform.write_text('[mounts.data]\npath = "/data/"\nkubernetes = { hostPath = "/mnt/data" }\n')
    own.parent.mkdir()
    own.write_text('[mounts.data.local]\ndirectory = "rides"\n')
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(platform))
    config = load(own)
    (there,), (here,), (nowhere,) = config.mounts("kubernetes"), config.mounts("local"), config.mounts("sagemaker")
    assert (there.path, there.table) == ("/data", {"hostPath": "/mnt/data"})
    assert (here.folder, here.table) == (own.parent, {"directory": "rides"})
    assert nowhere.table is None
