"""How sure one can be of a rate or a time, at every look. No dependencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

_CONFIDENCE = 0.95
_NEAR_ENOUGH = 1e-9


@dataclass(frozen=True)
class Interval:
    """A value and the 95 % confidence interval around it. low, high: None where there are too few values for one."""

    value: float
    low: float | None
    high: float | None


def rate(successes: int, of: int) -> Interval | None:
    """Return a share with an interval that holds at every look, however many looks there are.

    The shares that a bet against each of them, mixed by the prior of Jeffreys, has not refuted: H. Robbins,
    "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41 (1970)
    1397-1409; S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
    sequences", Annals of Statistics 49 (2021) 1055-1080. It is wider than one that is looked at once, by about a half.
    """
    if of == 0:
        return None
    share = successes / of
    low = 0.0 if successes == 0 else _edge(successes, of, 0.0, share)
    high = 1.0 if successes == of else _edge(successes, of, 1.0, share)
    return Interval(share, low, high)


def middle(values: Sequence[float]) -> Interval | None:
    """Return the median with the interval between two order statistics, which holds at every look.

    Of the values up to the median, there are as many as heads of a fair coin, whatever the distribution is. So the
    counts that `rate` would not refute for a half enclose it: S. Howard and A. Ramdas, "Sequential estimation of
    quantiles with applications to A/B testing and best-arm identification", Bernoulli 28 (2022) 1704-1728. Times of
    jobs are skewed and have outliers, so nothing is assumed about them. Seven values and fewer are not enough for an
    interval.
    """
    if not values:
        return None
    ordered, rank = sorted(values), median_rank(len(values))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Interval(median(ordered), low, high)


@lru_cache(maxsize=4096)
def median_rank(count: int) -> int:
    """Return the k of the k-th smallest and k-th largest of so many values that enclose the median; 0 for too few."""
    low, high = 0, count // 2
    while low < high:
        middle_rank = (low + high) // 2
        low, high = (middle_rank + 1, high) if _is_refuted(middle_rank, count, 0.5) else (low, middle_rank)
    return low


def _edge(successes: int, of: int, refuted: float, likely: float) -> float:
    """Return the share between a refuted one and a likely one where shares begin to be refuted."""
    won = _log_won(successes, of)
    for _ in range(60):
        between = (refuted + likely) / 2
        if _loses(successes, of, between, won):
            refuted = between
        else:
            likely = between
        if abs(refuted - likely) < _NEAR_ENOUGH:
            break
    return (refuted + likely) / 2


def _is_refuted(successes: int, of: int, share: float) -> bool:
    """Whether the bet against a share, by the prior of Jeffreys, has won twenty times its stake."""
    return _loses(successes, of, share, _log_won(successes, of))


def _log_won(successes: int, of: int) -> float:
    return _log_beta(successes + 0.5, of - successes + 0.5) - _log_beta(0.5, 0.5)


def _loses(successes: int, of: int, share: float, won: float) -> bool:
    failures = of - successes
    if (share == 0 and successes) or (share == 1 and failures):
        return True
    lost = (successes * math.log(share) if successes else 0.0) + (failures * math.log1p(-share) if failures else 0.0)
    return won - lost >= -math.log(1 - _CONFIDENCE)


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)
