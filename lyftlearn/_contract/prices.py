"""What an hour of a platform costs, as its table `prices` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lyftlearn._contract.options import Option, mapping_of, matching, number

ANY_GPU = "any"
"""The key of the price of a GPU whose type has none of its own."""
_PRICE = number(0, 1e6)
PRICE_OPTIONS = (
    Option(key="prices.cpu_hour", kind=_PRICE, doc="What a core costs for an hour, as requested.", example=0.04),
    Option(
        key="prices.memory_hour",
        kind=_PRICE,
        doc="What a GiB of memory costs for an hour, as requested.",
        example=0.005,
    ),
    Option(
        key="prices.gpu_hour",
        kind=mapping_of(_PRICE, "a table of types of GPUs and prices"),
        default={},
        doc="What a GPU costs for an hour, by its type. `any` is for the types that are not named.",
        example={"A10G": 0.9, "any": 2.5},
    ),
    Option(
        key="prices.instance_hour",
        kind=mapping_of(_PRICE, "a table of instance types and prices"),
        default={},
        doc="What an instance costs for an hour, by its type.",
        example={"ml.m5.xlarge": 0.23},
    ),
    Option(
        key="prices.currency",
        kind=matching(r"[A-Z]{3}", 'three capitals such as "USD"'),
        default="USD",
        doc="The currency of these prices.",
        example="EUR",
    ),
)
"""The table `prices` of a backend."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What an hour costs. cpu: of a core. memory: of a GiB. gpu, instances: by type. source: where these come from.

    lists_instances: whether there is a list of prices, which is asked for the types of instances that are needed.
    has_bills: whether the platform counts itself what jobs have cost (`Backend.bill`).
    """

    cpu: float | None = None
    memory: float | None = None
    gpu: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, float] = field(default_factory=dict)
    currency: str = "USD"
    source: str = ""
    lists_instances: bool = False
    has_bills: bool = False

    @property
    def are_known(self) -> bool:
        """Whether there is any price."""
        own = self.gpu or self.instances or self.cpu is not None or self.memory is not None
        return bool(own) or self.lists_instances or self.has_bills


NO_PRICES = Prices()


def take_prices(values: dict[str, Any], source: str) -> Prices:
    """Take the prices out of a table that was read by `PRICE_OPTIONS`, and return them. source: the table's name."""
    taken = {option.key.partition(".")[2]: values.pop(option.key) for option in PRICE_OPTIONS}
    return Prices(
        cpu=taken["cpu_hour"],
        memory=taken["memory_hour"],
        gpu=taken["gpu_hour"],
        instances=taken["instance_hour"],
        currency=taken["currency"],
        source=source,
    )
