"""What is wrong with one field of a call, a configuration or a plan."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A field that cannot stay as it is.

    path: the field, such as `resources.memory`. problem: what was seen there, and what to do.
    """

    path: str
    problem: str
