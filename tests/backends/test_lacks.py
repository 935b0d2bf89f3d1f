"""What a backend of ours lacks is declared in one place: as not yet, or as never, and why."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings, Capabilities, Capability, Never, NotYet
from lyftlearn.errors import InvalidJob
from lyftlearn_kubernetes.submission import planner
from lyftlearn_local import create
from lyftlearn_sagemaker.backend import CAPABILITIES
from tests.doubles.stores import FileBackend

LOCAL = ("local", "local-kubernetes", "local-sagemaker")


def local(name: str, home: Path) -> Capabilities:
    settings = BackendSettings(name=name, table={}, home=home, storage_url=(home / "storage").as_uri())
    return create(settings).capabilities()


def of(name: str, home: Path) -> Capabilities:
    if name == "sagemaker":
        return CAPABILITIES
    return kubernetes() if name == "kubernetes" else local(name, home)


def kubernetes() -> Capabilities:
    options: Any = SimpleNamespace(keep=timedelta(days=7), file_systems=())
    return planner.capabilities(options)


@pytest.mark.parametrize("name", [*LOCAL, "kubernetes", "sagemaker"])
def test_every_lack_is_not_yet_or_never(name: str, tmp_path: Path) -> None:
    """Whoever decides about a migration must know which of the two it is."""
    capabilities = of(name, tmp_path)
    assert capabilities.offers | capabilities.lacks.keys() == set(Capability)
    assert [reason for reason in capabilities.lacks.values() if not isinstance(reason, (Never, NotYet))] == []


def test_a_promise_without_a_method_is_named(tmp_path: Path) -> None:
    """Its author is told what is missing, and users no reason that is none."""
    settings = BackendSettings(
        name="files", table={"kinds": ["notebook"]}, home=tmp_path, storage_url=tmp_path.as_uri()
    )
    with pytest.raises(InvalidJob, match="it offers that without a method for it"):
        FileBackend(settings).notebook_address("eta-naaaaaaaaaaaa")
