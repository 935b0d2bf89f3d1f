"""The evidence behind the guard: means of e-values, errors at any number of looks, and what is found by when."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import product

import pytest

from lyftlearn._migration import evidence
from lyftlearn._migration.evidence import Block, Day
from lyftlearn._migration.guard import FAILURES, SHARES

THRESHOLD = -math.log(0.02 * SHARES[FAILURES])
RATES = (0.01, 0.05, 0.3, 0.5, 0.95)


def mean(jobs: tuple[int, int], bet: tuple[float, float], truth: tuple[float, float], margin: float = 0.0) -> float:
    """The mean of a block's e-value under the truth, over all outcomes. With a margin, harm is bet against."""
    (old, new), (rate, new_rate), total = jobs, bet, 0.0
    for old_bad, new_bad in product(range(old + 1), range(new + 1)):
        block = Block(old, old_bad, new, new_bad, rate)
        probability = binomial(old, old_bad, truth[0]) * binomial(new, new_bad, truth[1])
        total += probability * math.exp(evidence.log_e(block, new_rate, margin=margin, at_least=margin > 0))
    return total


def binomial(of: int, some: int, rate: float) -> float:
    return math.comb(of, some) * rate**some * (1 - rate) ** (of - some)


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 1), (4, 1), (1, 4), (3, 3)])
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_no_bet_gains_while_the_hypothesis_is_true(old: int, new: int, rate: float) -> None:
    """Its mean is at most 1 whatever the two rates are, which is all that the guarantee stands on."""
    for one, other in product(RATES, RATES):
        if other <= one:
            assert mean((old, new), (rate, min(0.9, 3 * rate)), (one, other)) <= 1 + 1e-9
        if other >= one + 0.05:
            assert mean((old, new), (rate, rate), (one, other), 0.05) <= 1 + 1e-6


def test_a_bet_gains_where_it_is_right() -> None:
    """A stake that never grew would keep every level, too."""
    assert mean((4, 1), (0.05, 0.15), (0.05, 0.15)) > 1.02
    assert mean((4, 1), (0.05, 0.05), (0.05, 0.05), 0.05) > 1.005


def history(draw: random.Random, days: Sequence[tuple[int, float, int, float]]) -> list[Day]:
    """Days of jobs: how many on the old side, their rate of failures, and the same on the new side."""
    return [Day(old, bad(draw, old, rate), new, bad(draw, new, new_rate)) for old, rate, new, new_rate in days]


def bad(draw: random.Random, of: int, rate: float) -> int:
    return sum(draw.random() < rate for _ in range(of))


def test_every_job_is_counted_once() -> None:
    """A job in two blocks would be evidence twice, and an old one that is forgotten none."""
    draw = random.Random(1)
    days = history(draw, [(30, 0.2, 0, 0.0)] * 5 + [(4, 0.2, 9, 0.2)] * 20)
    found = list(evidence.blocks(days, "a"))
    waiting = 180 - sum(block.new for block in found)  # for the next block, which is not whole yet
    assert 0 <= waiting < 180 // 10
    assert 0 <= sum(day.new_bad for day in days) - sum(block.new_bad for block in found) <= waiting
    learnt_from = 30 * 5 // 5
    assert 100 < sum(block.old for block in found) <= 230 - learnt_from
    assert sum(block.old_bad for block in found) <= sum(day.old_bad for day in days)
    assert all(block.old_bad <= block.old and block.new_bad <= block.new for block in found)
    assert found == list(evidence.blocks(days, "a"))


def test_days_without_jobs_and_sides_without_any() -> None:
    """The first look at a migration, and a side that was left for good."""
    assert evidence.of_stratum([], 0.05, "a").log_worse == pytest.approx(0)
    alone = evidence.of_stratum([Day(0, 0, 50, 50)], 0.05, "a")
    assert alone.log_worse == pytest.approx(0)
    assert evidence.combine([]).log_worse == pytest.approx(0)


def worst_look(draw: random.Random, new_rate: float, looks: int, strata: int = 1) -> float:
    """The largest evidence of harm at any look. Each day has three jobs on either side, after a long history."""
    known = {
        f"{stratum}": history(draw, [(40, 0.05, 0, 0.0)] * 30 + [(3, 0.05, 3, new_rate)] * looks)
        for stratum in range(strata)
    }
    return max(
        evidence.combine([evidence.of_stratum(days[: 30 + look], 0.05, name) for name, days in known.items()]).log_worse
        for look in range(1, looks + 1, 6)
    )


def test_two_sides_that_are_alike_are_told_so_at_every_look() -> None:
    """Few migrations that are fine may ever be called worse: of forty, none or one. benchmarks/ has the long run."""
    draw = random.Random(7)
    assert sum(worst_look(draw, 0.05, 60) >= THRESHOLD for _ in range(40)) <= 1


def test_a_regression_is_found() -> None:
    """From 5 to 15 % within 150 jobs, most of the time; from 5 to 30 % always."""
    draw = random.Random(8)
    assert sum(worst_look(draw, 0.15, 50) >= THRESHOLD for _ in range(20)) >= 15
    assert all(worst_look(draw, 0.30, 50) >= THRESHOLD for _ in range(10))


def test_small_regressions_of_all_models_add_up() -> None:
    """Twenty models with few jobs each: no single one would be found by its own."""
    draw = random.Random(9)
    known = [history(draw, [(10, 0.05, 0, 0.0)] * 30 + [(1, 0.05, 1, 0.15)] * 14) for _ in range(20)]
    strata = [evidence.of_stratum(days, 0.05, str(at)) for at, days in enumerate(known)]
    assert evidence.combine(strata).log_worse > THRESHOLD
    assert sum(one.log_worse > THRESHOLD for one in strata) <= 1


def test_a_bad_stratum_hides_behind_no_sound_one() -> None:
    """Of one that is worse by the whole margin, few may ever be told that all is well, however sound the other is."""
    draw, told = random.Random(11), 0
    sound = evidence.of_stratum(history(draw, [(40, 0.05, 0, 0.0)] * 30 + [(20, 0.05, 20, 0.05)] * 60), 0.05, "a")
    assert sound.not_worse > math.log(50)
    for number in range(40):
        days = history(draw, [(10, 0.05, 0, 0.0)] * 30 + [(4, 0.05, 4, 0.10)] * 30)
        looks = [evidence.of_stratum(days[: 30 + look], 0.05, str(number)) for look in range(3, 31, 3)]
        told += any(evidence.combine([sound, one]).not_worse > math.log(50) for one in looks)
    assert told <= 2


def test_what_is_missing_is_foretold() -> None:
    """With the jobs that `growth` asks for, harm is ruled out about half of the time."""
    draw, wanted = random.Random(10), math.log(50)
    needed = math.ceil(wanted / evidence.growth(0.05, 20.0, 0.05))
    ruled_out = 0
    for _ in range(30):
        days = history(draw, [(5000, 0.05, 0, 0.0)] + [(0, 0.0, 10, 0.05)] * (needed // 10))
        ruled_out += evidence.of_stratum(days, 0.05, "a").not_worse > wanted
    assert 8 <= ruled_out <= 25


@pytest.mark.parametrize(("bad_ones", "of", "worse"), [(0, 200, False), (2, 40, False), (6, 12, True), (20, 100, True)])
def test_a_share_is_judged(bad_ones: int, of: int, worse: bool) -> None:
    """Shadows have no other side: what may differ is a share of them."""
    found = evidence.of_share(bad_ones, of, 0.05)
    assert (found.log_worse > math.log(1000)) is worse
    assert (found.not_worse > math.log(50)) is (bad_ones == 0)


def test_new_jobs_alone_are_held_against_the_margin() -> None:
    """Without old jobs, no job is likelier under the hypothesis than where the old rate is 0."""
    block = Block(0, 0, 10, 1, 0.05)
    expected = math.log(0.05 / 0.2) + 9 * math.log(0.95 / 0.8)
    assert evidence.log_e(block, 0.05, margin=0.2, at_least=True) == pytest.approx(expected)


@pytest.mark.parametrize(("jobs", "rate", "margin"), [((2, 2), 0.5, 0.4), ((0, 3), 0.0620300751879699, 0.05)])
def test_a_point_that_is_found_at_once_is_the_nearest(jobs: tuple[int, int], rate: float, margin: float) -> None:
    """Where the search begins at the point itself, it must not leave it: no other keeps the mean at 1."""
    for old in (0.0, 0.05, 0.1, 0.3, 0.5):
        for more in (0.0, 0.01, 0.05):
            assert mean(jobs, (rate, rate), (old, old + margin + more), margin) <= 1 + 1e-6


def searched(block: Block, margin: float) -> Decimal:
    """The nearest old rate to many digits: the divergence has its least value where its slope changes its sign."""
    old, new, rate, more = map(Decimal, (block.old, block.new, block.rate, margin))
    low, high = Decimal(0), 1 - more
    for _ in range(150):
        at = (low + high) / 2
        there = at + more
        rises = old * (at - rate) * there * (1 - there) + new * (there - rate) * at * (1 - at) > 0
        low, high = (low, at) if rises else (at, high)
    return low


def blocks_of_all_kinds() -> Iterator[tuple[Block, float]]:
    """Blocks and margins: small and large ones, and rates that are next to 0, and next to 1."""
    draw = random.Random(12)
    for _ in range(500):
        old, new = (int(10 ** draw.uniform(0, 6)) for _ in range(2))
        small = 10 ** draw.uniform(-6, math.log10(0.5))
        margin = draw.choice([0.05, 0.15, 0.2, 0.4, draw.uniform(0.001, 0.4)])
        yield Block(old, 0, new, 0, draw.choice([small, 1 - small])), margin
    yield from ((Block(old, 0, new, 0, 0.5), 0.4) for old, new in product((1, 2, 10**6), repeat=2))


def test_the_formula_finds_the_nearest_point() -> None:
    """Also of rates that are next to 0, where an error of the last digit of 1 would be as large as the rate."""
    with localcontext(prec=60):
        for block, margin in blocks_of_all_kinds():
            found = evidence._nearest(block, block.rate, block.rate, margin)
            best, most = searched(block, margin), 1 - Decimal(margin)
            assert abs(Decimal(found) - best) <= best * Decimal("1e-13"), (block, margin)
            assert abs(best - Decimal(found)) <= (most - best) * Decimal("1e-3"), (block, margin)
            assert math.isfinite(evidence.log_e(block, block.rate, margin=margin, at_least=True))


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("rate", [0.0, 1e-12, 0.05, 0.4, 0.95, 1 - 1e-12, 1.0])
def test_the_nearest_point_is_within_the_hypothesis(rate: float, margin: float) -> None:
    """Neither rate may leave what rates can be, whatever was learnt and however many jobs are on one side."""
    for old, new in product((0, 1, 1000, 10**9), (1, 1000, 10**9)):
        found = evidence._nearest(Block(old, 0, new, 0, rate), rate, rate, margin)
        assert found >= 0
        assert found + margin < 1
        if rate:
            assert found > 0
        if not old and 0 < rate - margin < 1 - margin:
            assert found == rate - margin


@pytest.mark.parametrize("margin", [0.05, 0.15, 0.2, 0.4])
def test_the_mean_of_every_small_block_is_at_most_one(margin: float) -> None:
    """All outcomes of all blocks of up to four jobs on a side, on the hypothesis's edge and within it."""
    for old, new, rate in product(range(5), range(1, 5), (0.001, 0.02, margin, 0.1, 0.3, 0.5, 1 - margin, 0.9, 0.999)):
        outcomes = list(product(range(old + 1), range(new + 1)))
        blocks = [Block(old, old_bad, new, new_bad, rate) for old_bad, new_bad in outcomes]
        e = [math.exp(evidence.log_e(block, rate, margin=margin, at_least=True)) for block in blocks]
        for at, more in product((0.0, 0.01, 0.1, 0.3, 0.5, 0.59), (0.0, 0.01)):
            there = at + margin + more
            of = [(binomial(old, one, at), binomial(new, other, there)) for one, other in outcomes]
            assert math.fsum(one * other * each for (one, other), each in zip(of, e, strict=True)) <= 1 + 1e-9


@pytest.mark.parametrize("rates", [(0.05, 0.15), (0.5, 0.4), (0.0, 0.0), (1.0, 1.0)])
def test_a_stratum_is_the_sum_of_its_blocks(rates: tuple[float, float]) -> None:
    """What is computed once for all blocks and odds says what each block says of each odds."""
    days = history(
        random.Random(3), [(30, rates[0], 0, 0.0)] * 9 + [(9, rates[0], 12, rates[1])] * 40 + [(0, 0, 9, 0.5)]
    )
    found, blocks = evidence.of_stratum(days, 0.1, "a"), list(evidence.blocks(days, "a"))
    for factor, worse in zip(evidence.ODDS, found.worse, strict=True):
        each = (evidence.log_e(of, evidence.with_odds(of.rate, factor), margin=0.0) for of in blocks if of.old)
        assert worse == pytest.approx(math.fsum(each), abs=1e-9)
    not_worse = (evidence.log_e(of, of.rate, margin=0.1, at_least=True) for of in blocks)
    assert found.not_worse == pytest.approx(math.fsum(not_worse), abs=1e-9)
