"""One door for all backends: names, owners, letters, and what is said when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lyftlearn._contract.ids import ALPHABET, OWN_LETTERS, default_letter
from lyftlearn._registry import Registry
from lyftlearn.config import Config, load
from lyftlearn.errors import LyftLearnError

Install = Callable[..., None]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load({"home": str(tmp_path / "home")})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a distribution with entry points importable, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def distribution(name: str, entry_points: str, module: str = "") -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lyftlearn.backends]\n{entry_points}\n")
        (tmp_path / f"{name}_module.py").write_text(module)

    return distribution


def error(registry: Registry, name: str) -> str:
    with pytest.raises(LyftLearnError) as caught:
        registry.get(name)
    return str(caught.value)


def test_our_backends_come_through_the_same_door(config: Config) -> None:
    """A first-party backend that needed another way in would hide what strangers need."""
    assert {"local", "local-kubernetes", "local-sagemaker"} <= set(Registry(config).names())


def test_an_unknown_name_suggests_and_lists(config: Config) -> None:
    """A typing mistake in a flag or a file is mended from the message alone."""
    said = error(Registry(config), "locl")
    assert "Did you mean 'local'?" in said
    assert "local-sagemaker" in said


def test_a_clash_names_both_owners(config: Config, install: Install) -> None:
    """Which of two plugins wins must not depend on the order of a path."""
    install("first", "cloud = first_module:create")
    install("second", "cloud = second_module:create")
    said = error(Registry(config), "cloud")
    assert "first" in said
    assert "second" in said


def test_a_missing_extra_prints_the_command(config: Config, install: Install) -> None:
    """The message is the command to type."""
    install("cloudy", "cloud = cloudy_module:create [cloud]", "import no_such_sdk\n")
    assert "pip install 'cloudy[cloud]'" in error(Registry(config), "cloud")


def test_a_broken_plugin_does_not_break_the_others(config: Config, install: Install) -> None:
    """A stranger's syntax error must cost only those who ask for that plugin."""
    install("broken", "broken = broken_module:create", "this is no Python\n")
    registry = Registry(config)
    assert "broken" in registry.names()
    assert registry.get("local").name == "local"
    assert "cannot be loaded" in error(registry, "broken")


def test_a_plugin_that_makes_something_else(config: Config, install: Install) -> None:
    """A callable that returns no Backend is found where it is made, not at the first method."""
    install("odd", "odd = odd_module:create", "def create(settings): return settings\n")
    assert "makes no Backend" in error(Registry(config), "odd")


def test_nothing_is_imported_until_it_is_used() -> None:
    """Listing backends imports none of them."""
    program = (
        "import sys; from lyftlearn._registry import Registry; from lyftlearn.config import load;"
        "Registry(load({})).names(); print([m for m in sys.modules if m.startswith('lyftlearn_')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_letters_route_ids_back(config: Config) -> None:
    """An id must lead any process to its backend."""
    registry = Registry(config)
    assert {registry.with_letter(registry.letter(name)) for name in registry.names()} == set(registry.names())


def test_clashing_letters_are_mended_in_configuration(tmp_path: Path, install: Install) -> None:
    """A stranger's letter follows from its name, so two strangers may clash; configuration settles it."""
    one = "cloud"
    other = next(name for number in range(10_000) if default_letter(name := f"b{number}") == default_letter(one))
    install("first", f"{one} = first_module:create")
    install("second", f"{other} = second_module:create")
    with pytest.raises(LyftLearnError, match="give one of them another in"):
        Registry(load({"home": str(tmp_path)})).letter(one)
    free = next(letter for letter in ALPHABET if letter not in {*OWN_LETTERS.values(), default_letter(one)})
    settled = Registry(load({"home": str(tmp_path), "backends": {"letters": {one: free}}}))
    assert settled.letter(one) == free
    assert settled.with_letter(default_letter(one)) == other


def test_a_letter_must_be_one() -> None:
    """A letter outside the alphabet would make ids that no parser takes back."""
    with pytest.raises(LyftLearnError, match="write one of a-z or 2-7"):
        Registry(load({"backends": {"letters": {"local": "L!"}}})).letter("local")


def test_a_second_cluster_is_a_backend_of_its_own(tmp_path: Path) -> None:
    """Under a name of the platform's, with a table and a letter of its own; its kind is one that is installed."""
    instances = {"kubernetes-west": "kubernetes", "east": "kubernets", "local": "kubernetes"}
    tables = {"backends": {"instances": instances}, "kubernetes-west": {"namespace": "west"}}
    registry = Registry(load({"home": str(tmp_path / "home"), **tables}))
    west = registry.get("kubernetes-west")
    assert (west.name, type(west)) == ("kubernetes-west", type(registry.get("kubernetes")))
    assert registry.with_letter(registry.letter("kubernetes-west")) == "kubernetes-west"
    assert "Did you mean 'kubernetes'?" in error(registry, "east")
    assert "choose another name" in error(registry, "local")
