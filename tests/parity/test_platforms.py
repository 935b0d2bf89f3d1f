"""The instrument over every platform that runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lyftlearn import Client, ops
from lyftlearn.parity._fixed_backend import fixed_backend_client
from lyftlearn.parity._model import Parity, Verdict
from tests.doubles import platforms
from tests.doubles.platforms import BACKENDS, Platforms

pytestmark = pytest.mark.slow
COMMAND = (
    "echo hello; echo $WAREHOUSE_PASSWORD; echo weights > $LYFTLEARN_MODEL_DIR/model.bin; ls /no/such/file; exit 3"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    with platforms.platforms(tmp_path_factory.mktemp("platforms")) as found:
        yield found


@pytest.fixture
def client(running: Platforms, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client in an environment whose override names a backend, which a comparison does not heed."""
    for name, value in running.variables("local").items():
        monkeypatch.setenv(name, value)
    for name in platforms._OF_THIS_MACHINE:
        monkeypatch.delenv(name, raising=False)
    return Client()


def wrong(parity: Parity) -> list[str]:
    return [
        f"{row.path} on {name}: {row.reference} became {cell.value}: {cell.reason}"
        for row in parity.rows
        for name, cell in row.cells.items()
        if cell.verdict in (Verdict.BROKEN, Verdict.UNKNOWN)
    ]


def counted(running: Platforms, counter: str) -> int:
    assert running.gateway is not None
    return sum(packet.startswith(f"{counter}:".encode()) for packet in running.gateway.packets)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("reference", ["kubernetes", "local"])
def test_nothing_differs_that_should_not(running: Platforms, client: Client, reference: str) -> None:
    """This is the promise: what a program observes, and what its caller is told, is the same everywhere."""
    on = [reference, *(name for name in BACKENDS if name not in (reference, platforms.IN_IMAGE))]
    count = (lambda counter: counted(running, counter)) if running.gateway else None
    parity = ops.parity(
        on, command=COMMAND, secrets=["warehouse", "maps"], env={"A": "1"}, counted=count, client=client
    )
    assert wrong(parity) == []
    rows = {row.path: row for row in parity.rows}
    assert len(rows) > 700
    assert rows["exit 137 exit_code"].reference == "137"
    if running.gateway:
        assert rows["statsd counted"].reference == "3"
    assert {row.reference for path, row in rows.items() if path.startswith("jobs ")} == {'"observed"', '"accepted"'}
    report = " ".join([str(row.reference) for row in parity.rows])
    assert "battery staple" not in report


SERVER = (Path(__file__).parents[1] / "runtime/programs/serve.py").read_text()
TRAINING = (
    "cd $LYFTLEARN_MODEL_DIR; mkdir selftest; printf 3 > factor; cd selftest; printf 2 > a.request.csv; "
    "printf 6 > a.expected.csv"
)


def test_a_model_answers_alike_whatever_trained_it(client: Client, tmp_path: Path) -> None:
    """Models of a cluster and of the service, each served as either platform does; the archives differ in their tar."""
    (tmp_path / "serve.py").write_text(SERVER)
    jobs = [
        fixed_backend_client(client._config, name).train("fares", command=TRAINING, source=tmp_path, env={"WHO": "me"})
        for name in ("kubernetes", "sagemaker")
    ]
    for job in jobs:
        job.wait(progress=False)
    found = ops.served_parity([job.id for job in jobs], command=["python3", "serve.py"], client=client)
    assert [server.problem for server in found.servers] == [None] * 4
    assert [(row.name, len(row.answers)) for row in found.tests] == [("a", 4)]
    assert found.holds
