"""What tests of more than one backend need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.cluster.network import Network, missing


@pytest.fixture
def network() -> Iterator[Network]:
    if missing():
        pytest.skip(str(missing()))
    network = Network()
    yield network
    network.close()
