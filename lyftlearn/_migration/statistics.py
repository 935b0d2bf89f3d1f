"""How sure one can be of a rate or a time, and whether one side fails more often than the other. No dependencies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and the 95 % confidence interval around it. low, high: None where there are too few values for one."""

    value: float
    low: float | None
    high: float | None


def rate(successes: int, of: int) -> Interval | None:
    """Return a share with the score interval of Wilson, which also holds near 0 and 1 and for small numbers.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212;
    recommended by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133.
    """
    if of == 0:
        return None
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    share = successes / of
    scale = 1 + z * z / of
    centre = (share + z * z / (2 * of)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def middle(values: Sequence[float]) -> Interval | None:
    """Return the median with the interval between two order statistics, whatever the distribution is.

    The k-th smallest and k-th largest values enclose the median with probability 1 - 2 P(X < k), X binomial (n, 1/2):
    W. J. Conover, Practical Nonparametric Statistics, 3rd edition (1999), section 3.2. Times of jobs are skewed and
    have outliers, so nothing is assumed about them. Under six values no two of them are enough.
    """
    if not values:
        return None
    ordered, rank = sorted(values), median_rank(len(values))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Interval(median(ordered), low, high)


def median_rank(count: int) -> int:
    """Return the k of `middle` for so many values; 0 where there are too few."""
    # Below ten standard deviations under the mean, the binomial distribution weighs less than 1e-22.
    rank = max(0, int(count / 2 - 5 * math.sqrt(count)))
    tail = 0.0
    while rank < count and (tail := tail + _binomial_half(rank, count)) <= (1 - _CONFIDENCE) / 2:
        rank += 1
    return rank


def fails_more(strata: Iterable[tuple[int, int, int, int]]) -> float:
    """Return the probability of at least as many failures on the new side as were seen, if both sides were alike.

    strata: for each model (jobs old, failures old, jobs new, failures new). The one-sided exact conditional test:
    within a model, the new side's failures are hypergeometric given the margins (Fisher's exact test); over models,
    their sum is the convolution (A. Agresti, Categorical Data Analysis, 3rd edition (2013), on exact conditional
    inference). A model that always fails, and is only on one side, says nothing, as it should.
    """
    distribution, seen = [1.0], 0
    for old, old_failed, new, new_failed in strata:
        distribution = _convolve(distribution, _hypergeometric(old, new, old_failed + new_failed))
        seen += new_failed
    return min(1.0, math.fsum(distribution[seen:]))


def _binomial_half(successes: int, of: int) -> float:
    return math.exp(_log_choose(of, successes) - of * math.log(2))


def _hypergeometric(old: int, new: int, failed: int) -> list[float]:
    """Return the probabilities of 0, 1, ... failures on the new side, of `failed` among all."""
    everything = _log_choose(old + new, failed)
    return [
        math.exp(_log_choose(new, here) + _log_choose(old, failed - here) - everything) if failed - here <= old else 0.0
        for here in range(min(new, failed) + 1)
    ]


def _log_choose(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def _convolve(one: list[float], other: list[float]) -> list[float]:
    sums = [0.0] * (len(one) + len(other) - 1)
    for at, left in enumerate(one):
        for further, right in enumerate(other):
            sums[at + further] += left * right
    return sums
