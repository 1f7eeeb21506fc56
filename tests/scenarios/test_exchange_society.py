"""The exchange on rules: impact grows concavely with size over a few seeds, and none in a deep book."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest

import populace
from populace import ColumnarAgent, Population, Public, Society, World
from populace.env import Flow, OrderBook
from populace.env.market.stylized_facts import impact_exponent
from populace.testing import check_society

SEEDS = range(3)
SIZES = (30, 120, 480)
AT, SLICES = 10, 4


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def mids(seed, ticks=AT + SLICES + 1, **parameters):
    given = {f"society.{name}": value for name, value in parameters.items()}
    settings = {"agents": 24, "ticks": ticks, "society.inject_at": AT, "society.inject_ticks": SLICES, **given}
    run = populace.run("exchange", model="rules", seed=seed, settings=settings, quiet=True).outcomes
    assert run["cash"].nunique() == run["shares"].nunique() == 1
    return run["mid"].to_numpy()


def impact(size, usual, **parameters):
    """By how much the middle is higher once the order is done, than in the same run without it."""
    return float(np.mean([(mids(seed, injected=size, **parameters) - usual[seed])[AT + SLICES] for seed in SEEDS]))


@pytest.fixture(scope="module")
def usual():
    return [mids(seed) for seed in SEEDS]


def test_impact_grows_concavely_with_size(usual):
    found = [impact(size, usual) for size in SIZES]
    assert 0 < found[0] < found[1] < found[2]
    assert 0.2 < impact_exponent(SIZES, found) < 0.95
    before = mids(0, injected=SIZES[0])[: AT + 1]
    assert np.array_equal(before, usual[0][: AT + 1], equal_nan=True)


def test_sales_push_the_price_down(usual):
    assert impact(-SIZES[1], usual) < 0


def test_a_deep_book_is_not_moved():
    deep = {"maker_size": 20_000, "shares": 2_000_000}
    found = impact(SIZES[2], [mids(seed, **deep) for seed in SEEDS], **deep)
    assert abs(found) < 5.0


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society("exchange", model="rules", agents=12, ticks=5)
    scripted = [
        populace.run("exchange", model="scripted", seed=2, shards=shards, quiet=True, agents=10, ticks=4)
        for shards in (1, 3)
    ]
    assert scripted[0].manifest["trace_hash"] == scripted[1].manifest["trace_hash"]


class Bidder(ColumnarAgent):
    got: Public[int] = 0

    def turns(self, ctx):
        self.got = ctx.seen["book.shares"]
        ctx.act("book.submit", side=1, price=0, quantity=1)


SUPPLIED = 240


def a_share_a_tick(setup, people):
    ticks = np.arange(SUPPLIED)
    return World(OrderBook(shares=0, flow=Flow(ticks, ticks * 0 - 1, ticks * 0 + 10, ticks * 0 + 1)))


queue = Society(
    name="queue",
    agent=Bidder,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=a_share_a_tick,
    outcomes={f"of_{at}": partial(lambda world, at: int(world.book.book.shares[at]), at=at) for at in range(6)},
    size=6,
    ticks=SUPPLIED + 1,
)


def test_who_gets_a_scarce_share_is_drawn_and_favours_no_id():
    got = populace.run(queue, model="scripted", seed=3, quiet=True).outcomes.iloc[-1].to_numpy(float)
    assert got.sum() == SUPPLIED
    assert ((got - 40) ** 2 / 40).sum() < 20.5, got  # chi-squared of 5 degrees of freedom: p = 0.001
