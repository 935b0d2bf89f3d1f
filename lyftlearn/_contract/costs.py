"""What a job costs: the time of its nodes, and the price of an hour.

A price that nobody knows is told as such, and never taken for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lyftlearn._contract.prices import ANY_GPU, Prices

_GIB = 1 << 30
_HOUR = 3600.0


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
