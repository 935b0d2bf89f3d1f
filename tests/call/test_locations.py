"""Places that nobody can read or write are faults of the call, whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import Client

NOWHERE: list[Any] = [
    *("~no-such-user/x", "a\0b", "", b"x", 7, ["a"], "http://x/y", "gs://bucket/key", "file://", "file://host/x"),
    *("s3://", "s3:///x", "s3://A_b/x"),
]
ABSENT: list[Any] = [
    *("x" * 5000, "/no/output.tar.gz#x", "file:///no#x", "file:///no%20such", Path("/no/such")),
    "file:///x/eta-tlaaaaaaaaaaa/output/output.tar.gz#x",
]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a client with a home of its own."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(tmp_path / "none"))
    return Client(config={"home": str(tmp_path / "home")})


@pytest.mark.parametrize("place", [*NOWHERE, *ABSENT], ids=lambda place: repr(place)[:30])
def test_inputs(client: Client, place: Any) -> None:
    """A traceback in the place of a fault leaves a user alone with our code."""
    with pytest.raises(lyftlearn.InvalidJob) as caught:
        client.train("eta", command="true", inputs={"i": place})
    assert [path for path, _ in caught.value.faults] == ["inputs.i"]


@pytest.mark.parametrize("place", [*NOWHERE, *ABSENT], ids=lambda place: repr(place)[:30])
def test_models(client: Client, place: Any) -> None:
    """The same for the model of a predict job."""
    with pytest.raises(lyftlearn.InvalidJob) as caught:
        client.predict("eta", command="true", artifact=place, inputs={})
    assert [path for path, _ in caught.value.faults] == ["artifact"]


@pytest.mark.parametrize(
    "place", [*NOWHERE, "x.tar.gz#y", "s3://bucket/x.tar.gz#y"], ids=lambda place: repr(place)[:30]
)
def test_outputs(client: Client, place: Any) -> None:
    """The same for places to write to; one directory of an archive is none."""
    with pytest.raises(lyftlearn.InvalidJob) as caught:
        client.process("clean", command="true", outputs={"o": place})
    assert [path for path, _ in caught.value.faults] == ["outputs.o"]


@pytest.mark.parametrize("place", [*NOWHERE, *ABSENT, "s3://bucket/code"], ids=lambda place: repr(place)[:30])
def test_sources(client: Client, place: Any) -> None:
    """The same for a source, which is on this machine."""
    with pytest.raises(lyftlearn.InvalidJob) as caught:
        client.train("eta", command="true", source=place)
    assert [path for path, _ in caught.value.faults] == ["source"]
