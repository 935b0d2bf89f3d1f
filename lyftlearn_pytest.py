"""The fixture `lyftlearn_fake`, for every pytest in an environment with lyftlearn.

A module of its own, beside lyftlearn: pytest imports its plugins at each start, and whoever uses no fake must not pay
for an import of lyftlearn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lyftlearn.testing import Fake


@pytest.fixture
def lyftlearn_fake() -> Iterator[Fake]:
    """A fake that takes every job this process submits; see lyftlearn.testing."""
    from lyftlearn.testing import Fake  # noqa: PLC0415 - only where a test asks for it

    with Fake() as fake:
        yield fake
