"""A search space as a study carries it, and values that were drawn from it.

Of a `Choice`, what is drawn is the place of a value and not the value: `1`, `"1"` and `True` stay apart, and a record
of a trial stays small however large its values are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, TypeAlias

from lyftlearn.types import JSON, Choice, IntUniform, Uniform

Domain: TypeAlias = Uniform | IntUniform | Choice
Draw: TypeAlias = Mapping[str, int | float]
"""What was drawn, by the name of the hyperparameter."""

_KINDS: Mapping[str, type[Domain]] = {"Uniform": Uniform, "IntUniform": IntUniform, "Choice": Choice}


def read_space(document: Mapping[str, Any]) -> dict[str, Domain]:
    """Return the domains of a study by name, in the order of the names: no search depends on how a call was written."""
    return {name: _KINDS[kind](**fields) for name, (kind, fields) in sorted(document.items())}


def drawn_values(space: Mapping[str, Domain], draw: Draw) -> dict[str, JSON]:
    """Return the hyperparameters that a draw stands for. Raises LookupError where the space has no such value."""
    return {name: _value(space[name], drawn) for name, drawn in draw.items()}


def grid_size(space: Mapping[str, Domain]) -> int:
    """Return how many points the grid of a space has. Raises ValueError if it has no end."""
    return prod(len(_places(domain)) for domain in space.values())


def grid_point(space: Mapping[str, Domain], number: int) -> dict[str, int | float]:
    """Return the point `number` of the grid. The last name changes fastest."""
    point: dict[str, int | float] = {}
    for name, domain in reversed(list(space.items())):
        places = _places(domain)
        number, place = divmod(number, len(places))
        point[name] = places[place]
    return dict(reversed(point.items()))


def _places(domain: Domain) -> range:
    if isinstance(domain, Choice):
        return range(len(domain.values))
    if isinstance(domain, IntUniform):
        return range(domain.low, domain.high + 1)
    raise ValueError("a Uniform has no end of values")


def _value(domain: Domain, drawn: float) -> JSON:
    return domain.values[int(drawn)] if isinstance(domain, Choice) else drawn
