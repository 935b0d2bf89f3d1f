"""What a job costs: the time of its nodes, and the price of an hour.

A price that nobody knows is told as such, and never taken for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lyftlearn._contract.options import Option, mapping_of, matching, number

_GIB = 1 << 30
_HOUR = 3600.0
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


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What is paid for: the seconds of each node, on a machine of that type.

    machine: None where what was requested is paid. spot: whether the platform could take the machine back; its
    discount is in `seconds` where the platform counts so.
    """

    seconds: float
    nodes: int = 1
    machine: str | None = None
    spot: bool | None = None


@dataclass(frozen=True)
class Bill:
    """What the platform itself says that a job has cost. amount: None where it knows that later, as `basis` says."""

    amount: float | None
    currency: str
    basis: str


@dataclass(frozen=True)
class HourlyPrice:
    """What one node costs for an hour; or why that is not known."""

    amount: float | None
    currency: str
    basis: str

    def of(self, seconds: float, nodes: int) -> float | None:
        """Return what so many nodes cost for so long; None if that is not known."""
        return None if self.amount is None else self.amount * nodes * seconds / _HOUR


def price_of(machine: str | None, resources: Mapping[str, Any] | None, prices: Prices, backend: str) -> HourlyPrice:
    """Return what a node costs for an hour. resources: the fields of `ResourceRequest`, where they are known."""
    if machine is not None:
        amount = prices.instances.get(machine)
        told = f"{machine}, {prices.source}" if amount is not None else f"no price of {machine} is known"
        return HourlyPrice(amount, prices.currency, told)
    if not prices.are_known:
        return HourlyPrice(None, prices.currency, f"no price is known for {backend}: see [{backend}.prices]")
    if resources is None:
        return HourlyPrice(None, prices.currency, "the resources that were asked for are not known")
    return _price_of_requests(resources, prices, backend)


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


def _price_of_requests(resources: Mapping[str, Any], prices: Prices, backend: str) -> HourlyPrice:
    gpu_price = prices.gpu.get(resources["gpu_type"] or ANY_GPU, prices.gpu.get(ANY_GPU))
    parts = (
        ("cpu_hour", resources["cpu"], prices.cpu),
        ("memory_hour", resources["memory"] / _GIB, prices.memory),
        (f"gpu_hour of {resources['gpu_type'] or 'any type'}", resources["gpu"], gpu_price),
    )
    missing = [name for name, amount, price in parts if amount and price is None]
    if missing:
        return HourlyPrice(None, prices.currency, f"[{backend}.prices] has no {', '.join(missing)}")
    amount = sum(amount * price for _, amount, price in parts if amount and price is not None)
    return HourlyPrice(amount, prices.currency, f"what it requested, {prices.source}")
