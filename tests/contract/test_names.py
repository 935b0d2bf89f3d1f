"""The names of `lyftlearn.backend`, of which some are loaded when they are asked for."""

from __future__ import annotations

import pytest

from lyftlearn import backend


@pytest.mark.parametrize("name", backend.__all__)
def test_the_contract_has_every_name_that_it_lists(name: str) -> None:
    """A backend finds all that the contract promises, whenever it asks."""
    assert getattr(backend, name) is not None


def test_the_contract_has_no_other_names() -> None:
    """Who misspells one is told so, as of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Tracks'"):
        _ = backend.Tracks
