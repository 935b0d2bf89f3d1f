"""Faults inside lyftlearn and in errors that leave it."""

from __future__ import annotations

import pickle

from lyftlearn.backend import Fault
from lyftlearn.errors import InvalidJob


def test_an_error_holds_plain_pairs() -> None:
    """Errors are pickled, and version 1.0.0, which may read them, has no Fault."""
    error = InvalidJob([Fault("nodes", "is 0: write at least 1"), ("key", "is empty: leave it out")])
    assert error.faults == [("nodes", "is 0: write at least 1"), ("key", "is empty: leave it out")]
    assert b"Fault" not in pickle.dumps(error)
