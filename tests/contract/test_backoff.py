"""Pauses between repetitions."""

from __future__ import annotations

import random
from itertools import islice

from lyftlearn._contract.backoff import Backoff


def test_pauses_grow_up_to_the_longest() -> None:
    """Each is as long as its place in the schedule says, but for the part that chance may take."""
    for pause, whole in zip(islice(Backoff(1.0, 5.0, jitter=0.5), 5), (1.0, 2.0, 4.0, 5.0, 5.0), strict=True):
        assert whole / 2 <= pause <= whole


def test_a_callers_chance_is_its_own() -> None:
    """A script that has seeded `random` draws the same numbers whether or not a request was repeated."""
    before = random.getstate()
    assert len(list(Backoff(1.0, 5.0, times=3))) == 3
    assert random.getstate() == before
