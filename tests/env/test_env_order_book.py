"""The order book as a part: priority, conservation, bounds, refusals, notices, state; under random acts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.env_support import acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Flow, LookFailed, OrderBook
from populace.env.market.limit_book import BUY, SELL

AGENTS = 4
SIDE = st.sampled_from(["buy", "sell", 1, -1, "hold"])
ACTIONS = st.one_of(
    st.tuples(
        st.just("book.limit"),
        st.fixed_dictionaries({"side": SIDE, "price": st.integers(0, 31), "quantity": st.integers(0, 9)}),
    ),
    st.tuples(st.just("book.market"), st.fixed_dictionaries({"side": SIDE, "quantity": st.integers(0, 9)})),
    st.tuples(st.just("book.cancel"), st.fixed_dictionaries({"order": st.integers(0, 20)})),
    st.tuples(st.just("book.cancel_all"), st.just({})),
)
TICKS = st.lists(st.lists(st.tuples(st.integers(0, AGENTS - 1), ACTIONS), max_size=12), max_size=5)


def made(**given):
    usual = {"cash": 300, "shares": 12, "max_price": 30, "keep_trades": 5, "keep_ticks": 3, "capacity": 8}
    return OrderBook(**(usual | given))


def resolve(world, tick):
    return world.resolve(acts(*((agent, kind, args) for agent, (kind, args) in tick)))


def check(world, *, credit=0, short=0):
    book = world.book.book
    assert book.cash.sum() == 300 * AGENTS
    assert book.shares.sum() == 12 * AGENTS
    assert (book.cash - book.held_cash)[:-1].min() >= -credit
    assert (book.shares - book.held_shares)[:-1].min() >= -short
    bid, ask = book.best(BUY), book.best(SELL)
    assert not (bid and ask) or bid < ask
    assert len(book) <= 8
    orders = book.orders()
    held = np.zeros((2, AGENTS + 1), np.int64)
    names = ("account", "side", "price", "quantity")
    for account, side, price, quantity in zip(*(orders[name] for name in names), strict=True):
        if account >= 0:
            held[0 if side == BUY else 1, account] += quantity * (price if side == BUY else 1)
    assert held[0].tolist() == book.held_cash.tolist()
    assert held[1].tolist() == book.held_shares.tolist()
    for side in (BUY, SELL):
        by_price = {}
        of_side = orders["side"] == side
        for price, quantity in zip(orders["price"][of_side], orders["quantity"][of_side], strict=True):
            by_price[int(price)] = by_price.get(int(price), 0) + int(quantity)
        assert book.levels(side, 30) == [[at, by_price[at]] for at in sorted(by_price, reverse=side == BUY)]


@settings(max_examples=60, deadline=None)
@given(TICKS, st.integers(0, 60), st.integers(0, 9), st.integers(-3, 3), st.integers(0, 2))
def test_cash_and_shares_are_conserved_and_no_book_is_crossed(ticks, credit, short, pressure, lifetime):
    given = {"credit": credit, "short": short, "pressure": pressure, "lifetime": lifetime}
    world, again = opened(AGENTS, made(**given)), opened(AGENTS, made(**given))
    world.digests()
    for at, tick in enumerate(ticks):
        resolve(world, tick)
        check(world, credit=credit, short=short)
        if at % 2:
            world.digests()
        trades = world.book.book.trades()
        assert len(trades["tick"]) == min(world.book.book.traded, 5)
        assert (trades["quantity"] > 0).all()
        agents = (trades["buyer"] >= 0) & (trades["seller"] >= 0)
        assert (trades["buyer"] != trades["seller"])[agents].all()
        again.restore(world.state())
        assert again.digests() == world.digests()
        assert again.observe([0, 3]) == world.observe([0, 3])
        for query in ("depth", "orders", "trades", "closes"):
            assert look(again, f"book.{query}", 1) == look(world, f"book.{query}", 1)
    for tick in ticks:
        assert resolve(world, tick).refused == resolve(again, tick).refused
    assert again.digests() == world.digests()


def test_the_check_of_conservation_can_fail():
    world = opened(AGENTS, made())
    world.book.book.cash[0] += 1
    with pytest.raises(AssertionError):
        check(world)


def limit(agent, side, price, quantity=1):
    return agent, "book.limit", {"side": side, "price": price, "quantity": quantity}


def test_price_comes_before_time_and_time_before_all_else():
    world = opened(5, OrderBook(notify=True))
    world.resolve(acts(limit(3, "sell", 11), limit(0, "sell", 10, 4), limit(2, "sell", 10), limit(1, "sell", 9)))
    sold = world.resolve(acts((4, "book.market", {"side": "buy", "quantity": 6}))).emissions
    assert [(agent, body["price"], body["sold"]) for agent, body in sold if "sold" in body] == [
        (1, 9, 1), (0, 10, 4), (2, 10, 1)
    ]  # fmt: skip
    assert next(body for agent, body in sold if agent == 4) == {"bought": 1, "price": 9, "order": 4}
    assert look(world, "book.depth") == {"bids": [], "asks": [[11, 1]]}
    assert look(world, "book.trades", n=2)[0] == {"tick": 1, "price": 10, "quantity": 1, "taker": 1}


def test_an_order_in_part_filled_keeps_its_place():
    world = opened(3, OrderBook(notify=True))
    world.resolve(acts(limit(0, "buy", 10, 5), limit(1, "buy", 10, 5)))
    for sold, buyer in ((3, 0), (1, 0), (2, 0), (1, 1)):
        fills = world.resolve(acts((2, "book.market", {"side": "sell", "quantity": sold}))).emissions
        assert next(agent for agent, body in fills if "bought" in body) == buyer


def test_own_orders_never_meet():
    world = opened(2, OrderBook())
    world.resolve(acts(limit(0, "sell", 10, 5), limit(1, "sell", 11, 5)))
    world.resolve(acts(limit(0, "buy", 11, 6)))
    book = world.book.book
    assert book.self_cancelled == 1
    assert book.trades()["seller"].tolist() == [1]
    assert look(world, "book.depth") == {"bids": [[11, 1]], "asks": []}


@pytest.mark.parametrize(
    ("kind", "args", "reason"),
    [
        ("limit", {"side": "buy", "price": 31, "quantity": 1}, "bad_price"),
        ("limit", {"side": "buy", "price": 0, "quantity": 1}, "bad_price"),
        ("limit", {"side": "buy", "price": 3.0, "quantity": 1}, "bad_arguments"),
        ("limit", {"side": "hold", "price": 3, "quantity": 1}, "bad_arguments"),
        ("limit", {"side": True, "price": 3, "quantity": 1}, "bad_arguments"),
        ("limit", {"side": ["buy"], "price": 3, "quantity": 1}, "bad_arguments"),
        ("limit", {"side": "buy", "price": 3}, "bad_arguments"),
        ("limit", {"side": "buy", "price": 3, "quantity": 0}, "bad_quantity"),
        ("limit", {"side": "buy", "price": 30, "quantity": 11}, "no_cash"),
        ("limit", {"side": "sell", "price": 30, "quantity": 13}, "no_shares"),
        ("market", {"side": "buy", "quantity": 1}, "empty_book"),
        ("market", {"side": "buy", "quantity": 1, "price": 2}, "bad_arguments"),
        ("submit", {"side": "buy", "quantity": 1}, "bad_arguments"),
        ("submit", {"side": 1, "price": -1, "quantity": 1}, "bad_price"),
        ("cancel", {"order": 7}, "unknown_order"),
        ("cancel", {"order": "7"}, "bad_arguments"),
        ("cancel", {"order": 0}, "not_yours"),
    ],
)
def test_what_cannot_be_is_refused(kind, args, reason):
    world = opened(2, made())
    world.resolve(acts(limit(1, "buy", 1, 1)))
    before = world.digests()
    acted = acts((0, f"book.{kind}", args))
    assert world.resolve(acted).refused == [(acted[0], reason)]
    assert world.book.book.submitted == 1
    assert len(before) == len(world.digests())


def test_a_full_book_refuses_what_would_rest_and_takes_what_trades():
    world = opened(2, made(capacity=2))
    world.resolve(acts(limit(0, "sell", 10), limit(0, "sell", 11)))
    refused = world.resolve(acts(limit(1, "buy", 9), limit(1, "buy", 10, 2))).refused
    assert [reason for _, reason in refused] == ["book_full"]
    assert look(world, "book.depth") == {"bids": [[10, 1]], "asks": [[11, 1]]}


def test_flow_and_pressure_come_from_outside_and_orders_expire():
    flow = Flow([1, 0], [1, -1], [0, 20], [2, 4]) + Flow.parent(1, 3, start=2, ticks=2)
    assert flow.quantity.tolist() == [4, 2, 2, 1]
    world = opened(2, OrderBook(flow=flow, lifetime=3))
    closes = []
    for _ in range(5):
        world.resolve([])
        closes.append((world.book.book.volume, look(world, "book.depth")["asks"]))
    assert closes == [(0, [[20, 4]]), (2, [[20, 2]]), (4, []), (4, []), (4, [])]
    assert look(world, "book.closes", n=9) == [20, 20, 20, 20, 0]
    world.resolve(acts(limit(0, "sell", 9, 2)))
    world.book.set_parameter("pressure", 1)
    world.resolve([])
    assert look(world, "book.depth")["asks"] == [[9, 1]]
    assert world.book.book.cash.tolist() == [100_009, 100_000, -9]
    world.book.set_parameter("pressure", 0)
    for _ in range(2):
        world.resolve([])
    assert look(world, "book.depth")["asks"] == []


def test_a_market_order_spends_what_there_is_and_drops_the_rest():
    world = opened(2, made(cash=[0, 25], shares=[9, 0]))
    world.resolve(acts(limit(0, "sell", 10, 9)))
    assert world.resolve(acts((1, "book.market", {"side": "buy", "quantity": 9}))).refused == []
    assert world.book.book.shares.tolist() == [7, 2, 0]
    acted = acts((1, "book.market", {"side": "buy", "quantity": 9}))
    assert world.resolve(acted).refused == [(acted[0], "no_cash")]


def test_newborns_have_accounts_and_who_leaves_takes_its_orders_back():
    world = opened(2, OrderBook(cash=50))
    world.resolve(acts(limit(1, "buy", 3, 3)))
    world.digests()
    world.agents = 4
    world.book.grow(np.array([2, 3], np.int32))
    world.book.shrink(np.array([1], np.int32))
    assert look(world, "book.depth")["bids"] == []
    assert world.book.book.cash.tolist() == [50, 50, 0, 0, 0]
    again = opened(4, OrderBook(cash=50))
    again.book.restore(world.book.state())
    assert again.book.digest() == world.book.digest()
    world.book.book.submit(-1, SELL, 2, 1, 0)
    assert again.book.digest() != world.book.digest()


def test_memory_is_bounded():
    world = opened(2, made(capacity=3, cash=3_000, shares=120))
    for at in range(40):
        world.resolve(acts(limit(0, "sell", 10 + at % 3), limit(1, "buy", 5 + at % 8)))
        world.digests()
    book = world.book.book
    assert book.submitted > 20
    assert {len(column) for column in book._slots.values()} == {3}
    assert {len(column) for column in book._trades.values()} == {5}
    assert len(world.book.bars.column("tick")) == 3
    assert len(book._heap[BUY]) <= 30
    assert not book._digests.orders


def test_bad_settings_flows_and_states():
    for settings_ in (
        {"max_price": 0}, {"capacity": 0}, {"start_price": 31}, {"credit": -1}, {"short": 1.5}, {"lifetime": -2},
    ):  # fmt: skip
        with pytest.raises(ScenarioError, match=r"max_price|whole number"):
            made(**settings_)
    for endowed, said in (
        ({"cash": 1.5}, "whole number"),
        ({"cash": [1]}, "each of 2 agents"),
        ({"shares": -1}, "debts"),
    ):
        with pytest.raises(ScenarioError, match=said):
            opened(2, OrderBook(**endowed))
    for columns, said in (
        (([0], [1], [0], [0]), "row 0: tick 0, side 1"),
        (([0, 0], [1, 0], [0, 0], [1, 1]), "row 1"),
        (([0], [1], [0.5], [1]), "whole numbers"),
        (([0], [1], [0], [1, 1]), "one length"),
    ):
        with pytest.raises(ScenarioError, match=said):
            Flow(*columns)
    with pytest.raises(ScenarioError, match="ticks=0"):
        Flow.parent(1, 5, start=0, ticks=0)
    world = opened(2, made())
    for _ in range(8):
        world.resolve(acts(limit(0, "sell", 10), limit(1, "buy", 10)))
    for other in (made(keep_trades=9), made(keep_ticks=9), made(max_price=9)):
        if other.max_price == 9:
            world.resolve(acts(limit(0, "sell", 10)))
        with pytest.raises(ScenarioError, match="keep"):
            opened(2, other).restore(world.state())
    with pytest.raises(ScenarioError, match="has 3 agents"):
        opened(3, made()).restore(world.state())
    for query in ({"levels": 0}, {"levels": "1"}, {"n": 1}):
        assert isinstance(look(world, "book.depth", **query), LookFailed)
    assert isinstance(look(world, "book.orders", n=1), LookFailed)
