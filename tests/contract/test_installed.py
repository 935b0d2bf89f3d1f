"""What distributions register is found as `importlib.metadata` finds it, in a fraction of its time."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from lyftlearn._contract import installed

Found = set[tuple[str, str, str]]


def ours(group: str) -> Found:
    return {(one.name, one.value, one.owner) for one in installed.entry_points(group)}


def theirs(group: str) -> Found:
    return {(one.name, one.value, one.dist.name) for one in metadata.entry_points(group=group) if one.dist}


@pytest.mark.parametrize("group", ["lyftlearn.backends", "console_scripts", "pytest11", "no.such.group"])
def test_the_same_as_the_standard_library(group: str) -> None:
    """Of hundreds of distributions, made by every tool that makes some."""
    assert ours(group) == theirs(group)


def test_versions() -> None:
    """Of ours, of another's, and of what is not there."""
    for name in ("lyftlearn", "pytest"):
        assert installed.version(name) == metadata.version(name)
    with pytest.raises(metadata.PackageNotFoundError):
        installed.version("no-such-distribution")


def write(directory: Path, value: str, version: str = "1.0") -> None:
    information = directory / f"rides_Fast-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rides-fast\nVersion: {version}\n")
    text = f"[others]\ncar = car:make\n\n# ours\n[ rides ]\n[rides]\n#old = old:make\ntaxi = {value}\n[last]\n"
    (information / "entry_points.txt").write_text(text)


def test_the_first_of_one_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does for imports: a newer one in front of an environment's hides that."""
    for version in ("1.0", "2.0"):
        write(tmp_path / version, f"taxi{version[0]}:make.it [fast, more]", version)
        monkeypatch.syspath_prepend(tmp_path / version)
    assert ours("rides") == theirs("rides") == {("taxi", "taxi2:make.it [fast, more]", "rides-fast")}
    (found,) = installed.entry_points("rides")
    assert found.extras == ["fast", "more"]
    (tmp_path / "2.0/taxi2.py").write_text("class make:\n    it = 'a taxi'\n")
    assert found.load() == "a taxi"


def test_a_zip_file_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark and Bazel put packages there: the standard library is asked."""
    write(tmp_path / "tree", "taxi:make")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in (tmp_path / "tree").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "tree"))
    monkeypatch.syspath_prepend(tmp_path / "packed.zip")
    assert ours("rides") == {("taxi", "taxi:make", "rides-fast")}


class Finder(metadata.DistributionFinder):
    """Knows one distribution that lies nowhere on the path."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        del name, path, target
        return None

    def find_distributions(
        self, context: metadata.DistributionFinder.Context | None = None
    ) -> list[metadata.PathDistribution]:
        del context
        return [metadata.PathDistribution(self._directory)]


def test_somebodys_own_finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tools make no directories at all."""
    write(tmp_path, "taxi:make")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(next(tmp_path.iterdir()))])
    assert ours("rides") == {("taxi", "taxi:make", "rides-fast")}
