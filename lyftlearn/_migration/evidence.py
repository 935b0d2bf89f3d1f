"""Evidence that may be looked at as often as one likes: whether the new side does worse, and whether it does not.

Each stratum, a model's jobs of one kind, is a sequence of blocks: some new jobs, and some old ones that no earlier
block has had. Of a block with `n` old and `m` new jobs, the likelihood under an alternative, over the likelihood at the
point of the hypothesis that is closest to it by the divergence of Kullback and Leibler, is an e-variable: whatever is
true within the hypothesis, its mean is at most 1. So the product over blocks is a test supermartingale, and the
probability that it ever reaches 1/level, at any of any number of looks, is at most `level` (Ville's inequality).

R. Turner, A. Ly, P. Gruenwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
stopping", Journal of Statistical Planning and Inference 230 (2024) 106116; for other hypotheses than equality, R.
Turner and P. Gruenwald, "Exact anytime-valid confidence intervals for contingency tables and beyond", Statistics &
Probability Letters 198 (2023) 109835. A hypothesis must be convex; `tests/migration/test_evidence.py` checks the mean
itself.

What the alternative is may follow from earlier blocks only. Averages of e-values are e-values, and so are products over
strata, which are independent: V. Vovk and R. Wang, "E-values: calibration, combination and applications", Annals of
Statistics 49 (2021) 1736-1754. A product says that not all strata are alike. It does not say that none is worse: one
that is bad would hide behind many that are sound. So harm is ruled out of all only where it is ruled out of each, which
keeps the level without a correction: R. Berger, "Multiparameter hypothesis testing and acceptance sampling",
Technometrics 24 (1982) 295-300.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

ODDS = {1.5: 0.1, 2.0: 0.15, 3.0: 0.45, 5.0: 0.15, 10.0: 0.1, 30.0: 0.05}
"""By which factor the odds of a bad end may have grown, and how much of the stake is on each."""
_LOGS_OF_ODDS = tuple((factor, math.log(factor)) for factor in ODDS)
_PRIOR_BAD, _PRIOR = 0.5, 5.0  # what is believed of a rate before the first job
_LEARNT = 5  # one in so many old jobs, of those before the first new one, is only learnt from
_SPARED = 100  # a new job takes one in so many of the old jobs that are left, so that there are always some
_GROWTH = 10  # a block has one in so many of the new jobs that came before it, and one at least
_NO_RATE = 2.0**-41  # of a rate: as good as 0, but with a logarithm
_ALL_BUT = 1 - 2.0**-50  # of a rate: as good as all of it, but what is left has a logarithm
_OLDEST, _NEWEST = 0, -1
_HALF = 0.5  # of the stake is on a change of all strata, the rest on a change of one


class Day(NamedTuple):
    """How many jobs of one stratum ended, and how many of them badly, of the jobs of one day."""

    old: int
    old_bad: int
    new: int
    new_bad: int


class Block(NamedTuple):
    """Jobs that are compared at once. rate: of bad ends on the old side, as earlier jobs had it."""

    old: int
    old_bad: int
    new: int
    new_bad: int
    rate: float


@dataclass(frozen=True)
class Evidence:
    """What the jobs of a stratum say, as logarithms of e-values. worse: for each factor of `ODDS`."""

    worse: tuple[float, ...]
    not_worse: float

    @property
    def log_worse(self) -> float:
        """The e-value for a change of this stratum alone."""
        return log_mean(self.worse, tuple(ODDS.values()))


def of_stratum(days: Iterable[Day], margin: float | None, seed: str) -> Evidence:
    """Return the evidence that bad ends are more frequent on the new side, and that they are not, but for `margin`.

    days: in the order of time. margin: the difference of rates that would be harm; None where it is only asked whether
    there are more. seed: names the stratum; the order of jobs within a day is not known, so it is drawn, and the same
    for everybody who asks.
    """
    found = list(blocks(days, seed))
    not_worse = 0.0
    if margin is not None:
        for block in found:
            not_worse += log_e(block, block.rate, margin=margin, at_least=True)
    return Evidence(_logs_of_odds([block for block in found if block.old]), not_worse)


def _logs_of_odds(staked: Sequence[Block]) -> tuple[float, ...]:
    """Return the sums of `log_e` without a margin against each of `ODDS`, with what they share computed once.

    Without old jobs, nothing is staked. nearest: the rate at the closest point of the hypothesis, times the jobs.
    """
    shared, log, of_factor = 0.0, math.log, []
    for old, old_bad, new, new_bad, rate in staked:
        bad, jobs, other = old_bad + new_bad, old + new, 1 - rate
        shared += bad * log(rate) + (old - bad) * log(other) + jobs * log(jobs)
        of_factor.append((old * rate + new, new, bad, jobs - bad, jobs, rate / other))
    logs, new_bad = [], sum(block.new_bad for block in staked)
    for factor, log_of_factor in _LOGS_OF_ODDS:
        there = shared + new_bad * log_of_factor
        for most, new, bad, good, jobs, odds in of_factor:
            both = 1 + factor * odds
            nearest = most - new / both
            there -= new * log(both) + bad * log(nearest) + good * log(jobs - nearest)
        logs.append(there)
    return tuple(logs)


def blocks(days: Iterable[Day], seed: str) -> Iterator[Block]:
    """Yield the blocks of a stratum. Old jobs of the same time are taken first, so that slow changes harm nobody.

    New jobs that are fewer than the next block has wait for later days.
    """
    draw = random.Random(seed)  # noqa: S311 - an order, and no secret
    left: list[list[int]] = []  # old jobs that no block has had: for each day how many, and how many of them bad
    waiting: list[list[int]] = []  # new jobs, in the same way
    bad, seen, came, waits, there, credit = _PRIOR_BAD, _PRIOR, 0, 0, 0, 0.0
    for day in days:
        left.append([day.old, day.old_bad])
        there += day.old
        if day.new and not came:
            learnt = there // _LEARNT
            bad, seen, there = bad + _take(left, learnt, draw, _OLDEST), seen + learnt, there - learnt
        waiting.append([day.new, day.new_bad])
        waits += day.new
        while waits >= (size := max(1, came // _GROWTH)):
            new_bad = _take(waiting, size, draw, _OLDEST)
            waits, came = waits - size, came + size
            credit += size * (1 + there / _SPARED)
            old = min(int(credit), there)
            old_bad = _take(left, old, draw, _NEWEST)
            credit, there = credit - old, there - old
            yield Block(old, old_bad, size, new_bad, bad / seen)
            bad, seen = bad + old_bad, seen + old


def log_e(block: Block, new_rate: float, *, margin: float, at_least: bool = False) -> float:
    """Return the logarithm of a block's e-value against "the new rate is at most the old one plus `margin`".

    new_rate: the alternative's. at_least: against "it is at least the old one plus `margin`" instead.
    """
    old_rate = block.rate
    if (new_rate - old_rate > margin) == at_least:
        return 0.0  # the alternative is within the hypothesis: nothing is staked
    nearest = _nearest(block, old_rate, new_rate, margin)
    return _log_ratio(block.old, block.old_bad, old_rate, nearest) + _log_ratio(
        block.new, block.new_bad, new_rate, nearest + margin
    )


def combine(strata: Sequence[Evidence]) -> Evidence:
    """Return what all strata say together: that some are worse, and that none is.

    Their order is that in which their first new jobs came.
    """
    together = tuple(math.fsum(of.worse[at] for of in strata) for at in range(len(ODDS)))
    shares = [6 / (math.pi * (at + 1)) ** 2 for at in range(len(strata))]  # of infinitely many: together they are 1
    alone = log_mean([of.log_worse for of in strata], shares)
    either = log_mean((log_mean(together, tuple(ODDS.values())), alone), (_HALF, 1 - _HALF))
    return Evidence((either,) * len(ODDS), min((of.not_worse for of in strata), default=0.0))


def of_share(bad: int, of: int, most: float) -> Evidence:
    """Return the evidence that a share is above `most`, and that it is below: of shadows, which have no other side.

    The alternatives are mixed by a uniform prior above `most`, and below it: H. Robbins, "Statistical methods related
    to the law of the iterated logarithm", Annals of Mathematical Statistics 41 (1970) 1397-1409.
    """
    shares = [(at + 0.5) / 100 for at in range(100)]
    above, below = ([share for share in shares if (share > most) is higher] for higher in (True, False))
    worse, better = (
        log_mean([_log_ratio(of, bad, share, most) for share in some], [1 / len(some)] * len(some))
        for some in (above, below)
    )
    return Evidence((worse,) * len(ODDS), better)


def growth(rate: float, old_per_new: float, margin: float) -> float:
    """Return how much a new job adds on average to the logarithm of `not_worse`, if both sides are alike."""
    block = Block(max(1, round(100 * old_per_new)), 0, 100, 0, rate)
    nearest = _nearest(block, rate, rate, margin)
    return (block.old * _divergence(rate, nearest) + block.new * _divergence(rate, nearest + margin)) / block.new


def log_mean(logs: Sequence[float], shares: Sequence[float]) -> float:
    """Return the logarithm of a mean of numbers that are given by their logarithms."""
    if not logs:
        return 0.0
    largest = max(logs)
    return largest + math.log(
        math.fsum(share * math.exp(log - largest) for share, log in zip(shares, logs, strict=True))
    )


def _nearest(block: Block, old_rate: float, new_rate: float, margin: float) -> float:
    """Return the old rate of the point of the hypothesis's edge that is closest to the alternative.

    On the edge, the new rate is the old one plus `margin`. The divergence of a block is convex along it.
    """
    if margin == 0.0:
        return (block.old * old_rate + block.new * new_rate) / (block.old + block.new)
    at = _flat_point(block, old_rate, new_rate - margin, margin) if block.old else new_rate - margin
    least, most = old_rate * _NO_RATE, (1 - margin) * _ALL_BUT
    return least if at < least else min(at, most)


def _flat_point(block: Block, old_rate: float, other_rate: float, margin: float) -> float:
    """Return where the divergence has no slope, by the formula of Viete.

    The slope is `share * (x - old_rate) / (x * (1 - x))`, with the share of the old jobs, and the same of the new ones
    at `x + margin`. Without its denominators it is a cubic: one of its roots is below 0, one above `1 - margin`, and
    the one between them is where the slope changes its sign.
    """
    jobs, room = block.old + block.new, 1 - margin
    share, other_share = block.old / jobs, block.new / jobs
    wide, high = room - margin, margin * room
    mean = (share * (wide + old_rate) + other_share * (1 + other_rate)) / 3  # of the three roots
    pairs = share * (wide * old_rate - high) + other_share * other_rate  # the sum of their products, two by two
    square = mean * mean - pairs / 3
    radius = math.sqrt(square)
    sine = (mean * (pairs - 2 * mean * mean) + share * old_rate * high) / (2 * square * radius)
    at = mean + 2 * radius * math.sin(math.asin(max(-1.0, min(1.0, sine))) / 3)
    # That is right to some digits of 1. One of Newton's steps makes it right to as many digits of a small rate.
    left, ahead, spread, spread_there = at - old_rate, at - other_rate, at * (1 - at), (at + margin) * (room - at)
    slope = share * left * spread_there + other_share * ahead * spread
    bend = share * (spread_there + left * (wide - 2 * at)) + other_share * (spread + ahead * (1 - 2 * at))
    return at - slope / bend


def _divergence(rate: float, from_rate: float) -> float:
    return rate * math.log(rate / from_rate) + (1 - rate) * math.log((1 - rate) / (1 - from_rate))


def _log_ratio(jobs: int, bad: int, rate: float, under: float) -> float:
    return bad * math.log(rate / under) + (jobs - bad) * math.log((1 - rate) / (1 - under))


def with_odds(rate: float, factor: float) -> float:
    """Return the rate whose odds are so many times those of another."""
    odds = factor * rate / (1 - rate)
    return odds / (1 + odds)


def _draw(draw: random.Random, of: int, bad: int, some: int) -> int:
    """Return how many of `some` jobs are bad, which are any of all. It draws one by one whichever are fewest."""
    if not bad or some == of:  # nothing is left to chance
        return bad
    if 2 * bad > of:
        return some - _draw(draw, of, of - bad, some)
    if 2 * some > of:
        return bad - _draw(draw, of, bad, of - some)
    few, many = (bad, some) if bad < some else (some, bad)
    chance, left = draw.random, many
    for rest in range(of, of - few, -1):
        if chance() * rest < left:
            left -= 1
    return many - left


def _take(left: list[list[int]], some: int, draw: random.Random, end: int) -> int:
    """Take `some` jobs away, those of the newest days (-1) or of the oldest (0) first, and return how many are bad."""
    bad = 0
    while some:
        day = left[end]
        of, of_bad = day
        if of > some:
            of_those = _draw(draw, of, of_bad, some) if of_bad else 0
            day[0], day[1] = of - some, of_bad - of_those
            return bad + of_those
        left.pop(end)
        some, bad = some - of, bad + of_bad
    return bad
