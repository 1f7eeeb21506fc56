"""A double auction on a limit order book, as a part of the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import join_digests
from populace.env.market.bars import Bars
from populace.env.market.flow import Flow
from populace.env.market.limit_book import BUY, MARKET, MAX_PRICE, MAX_QUANTITY, OUTSIDE, SELL, LimitBook
from populace.env.part import Batch, Opening, Part, action, query
from populace.env.wholes import check_whole

_SIDES: Final = {"buy": BUY, "sell": SELL, BUY: BUY, SELL: SELL}
_DEPTH: Final = 10

Endowment = int | Sequence[int] | NDArray[np.integer]


class OrderBook(Part):
    """One stock, traded in a continuous double auction with price-time priority.

    Agents act with `limit(side=, price=, quantity=)`, `market(side=, quantity=)`, `cancel(order=)` and `cancel_all()`;
    `submit(side=, price=, quantity=)` is both kinds of order in one, with price 0 for a market order, for agents in
    columns. `side` is "buy" or "sell", or 1 or -1. Prices are whole ticks of price, quantities whole shares, and cash
    is in ticks of price. Refusals are `bad_arguments`, `bad_price` (not from 1 to `max_price`), `bad_quantity`,
    `no_cash`, `no_shares`, `empty_book` (a market order that finds nobody), `book_full`, `unknown_order` and
    `not_yours`.

    Within a tick orders arrive in the fair order in which the tick's actions act, which is drawn and favours no id;
    an agent's own orders keep the order in which it gave them. That is the time of price-time priority. Orders of one
    account never trade with one another: the resting one is cancelled (`world.book.book.self_cancelled` counts them).
    A resting order holds the cash or shares that it may cost, so that nobody spends what it does not own;
    `credit` (ticks of price) and `short` (shares) are how far an account may fall below zero.

    Agents see `bid`, `ask`, `last` (ticks of price, 0 where there is none), `cash`, `shares`, `free_cash`,
    `free_shares` (what no resting order holds), and `resting` (how many orders of theirs rest). They ask for
    `depth(levels=)`, `orders()` (their own), `trades(n=)` and `closes(n=)`. With `notify`, both sides of a trade are
    told, as {'bought' or 'sold': shares, 'price': ..., 'order': id}.

    `flow` injects orders of the outside, account -1, which has no limits: they arrive as the tick ends, after the
    agents'. So do those of `pressure`, the shares that a market order from outside buys in every tick (below zero:
    sells). Cash and shares of agents and the outside together never change.

    Levers may set `pressure`, `lifetime` (the ticks after which a resting order expires; 0: never), `credit` and
    `short`.
    """

    name = "book"
    unsaved = ("_shown",)
    settable: Mapping[str, Any] = {"pressure": int, "lifetime": int, "credit": int, "short": int}

    def __init__(
        self,
        cash: Endowment = 100_000,
        shares: Endowment = 100,
        *,
        max_price: int = 100_000,
        capacity: int = 1_000_000,
        keep_trades: int = 10_000,
        keep_ticks: int = 10_000,
        start_price: int = 0,
        lifetime: int = 0,
        credit: int = 0,
        short: int = 0,
        pressure: int = 0,
        flow: Flow | None = None,
        notify: bool = False,
        name: str | None = None,
    ) -> None:
        """`cash` and `shares` are what each agent begins with: one number for all, or one for each.

        `capacity` is how many orders may rest; `keep_trades` trades and `keep_ticks` ticks are kept; `start_price`
        is shown as `last` before the first trade. Raises ScenarioError for what is out of range.
        """
        super().__init__(name)
        sizes = {"capacity": capacity, "keep_trades": keep_trades, "keep_ticks": keep_ticks}
        check_whole(type(self).__name__, 1, max_price=max_price, **sizes)
        check_whole(type(self).__name__, 0, start_price=start_price)
        if max_price > MAX_PRICE or start_price > max_price:
            raise ScenarioError(
                f"OrderBook(max_price={max_price}, start_price={start_price}): max_price is 1 to {MAX_PRICE}, "
                "start_price 0 to max_price"
            )
        self.max_price, self.capacity, self.keep_trades, self.keep_ticks = max_price, capacity, keep_trades, keep_ticks
        self.start_price = start_price
        self.lifetime, self.credit, self.short, self.pressure = 0, 0, 0, 0
        self.book: LimitBook
        for setting, value in (("lifetime", lifetime), ("credit", credit), ("short", short), ("pressure", pressure)):
            self._check(setting, value)
            setattr(self, setting, value)
        self.flow = flow
        self.notify = notify
        self._endowed = cash, shares
        self._shown: dict[int, dict[str, Any]] = {}

    def open(self, opening: Opening) -> None:
        """Give everybody what it begins with. Raises ScenarioError where that is not a whole number for each."""
        cash, shares = (
            self._endowment(what, given, opening.agents)
            for what, given in zip(("cash", "shares"), self._endowed, strict=True)
        )
        self.book = LimitBook(
            cash,
            shares,
            max_price=self.max_price,
            capacity=self.capacity,
            keep_trades=self.keep_trades,
            credit=self.credit,
            short=self.short,
        )
        self.book.last = self.start_price
        self.bars = Bars(self.keep_ticks)

    def _endowment(self, what: str, given: Endowment, agents: int) -> NDArray[np.int64]:
        values = np.asarray(given)
        if values.dtype.kind not in "iu" or values.shape not in ((), (agents,)):
            raise ScenarioError(
                f"OrderBook({what}=...): a whole number for all, or one for each of {agents} agents; it has the shape "
                f"{values.shape} and the type {values.dtype}"
            )
        if values.size and (values.min() < 0 or values.max() > 10**15):
            raise ScenarioError(f"OrderBook({what}=...): each from 0 to 10**15; use credit= or short= for debts")
        return np.broadcast_to(values, agents).astype(np.int64)

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that is out of range."""
        self._check(name, value)
        setattr(self, name, value)
        if name in ("credit", "short"):
            setattr(self.book, name, value)

    def _check(self, name: str, value: Any) -> None:
        low, high = (-MAX_QUANTITY, MAX_QUANTITY) if name == "pressure" else (0, 10**15)
        if type(value) is not int or not low <= value <= high:
            raise ScenarioError(f"part '{self.name}': {name} is a whole number from {low} to {high}, not {value!r}")

    @action
    def limit(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`limit(side=, price=, quantity=)`: buy or sell at this price or better; what is left rests."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            price = args.get("price")
            if args.keys() != {"side", "price", "quantity"} or type(price) is not int:
                batch.refuse(i, "bad_arguments")
            elif not 1 <= price <= self.max_price:
                batch.refuse(i, "bad_price")
            else:
                self._order(batch, i, agent, args["side"], price, args["quantity"], tick)
        return self._told()

    @action
    def market(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`market(side=, quantity=)`: buy or sell at the best prices there are; what is left is dropped."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if args.keys() != {"side", "quantity"}:
                batch.refuse(i, "bad_arguments")
            else:
                self._order(batch, i, agent, args["side"], MARKET, args["quantity"], tick)
        return self._told()

    @action
    def submit(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`submit(side=, price=, quantity=)`: a limit order, or with price 0 a market order."""
        sides, prices, quantities = (self._values(batch, name) for name in ("side", "price", "quantity"))
        for i, agent in enumerate(batch.agents.tolist()):
            price = prices[i]
            if type(price) is not int:
                batch.refuse(i, "bad_arguments")
            elif not 0 <= price <= self.max_price:
                batch.refuse(i, "bad_price")
            else:
                self._order(batch, i, agent, sides[i], price, quantities[i], tick)
        return self._told()

    @staticmethod
    def _values(batch: Batch, name: str) -> list[Any]:
        column = batch.alike(name)
        return [one.get(name) for one in batch.args] if column is None else column.tolist()

    def _order(self, batch: Batch, i: int, agent: int, side: Any, price: int, quantity: Any, tick: int) -> None:
        way = _SIDES.get(side) if type(side) in (str, int) else None
        if way is None or type(quantity) is not int:
            batch.refuse(i, "bad_arguments")
        elif not 1 <= quantity <= MAX_QUANTITY:
            batch.refuse(i, "bad_quantity")
        else:
            if self.notify and self.book.fills is None:
                self.book.fills = []
            reason = self.book.submit(agent, way, price, quantity, tick)
            if reason:
                batch.refuse(i, reason)

    def _told(self) -> Iterable[tuple[int, Any]]:
        """The notices of what has been traded since."""
        self._shown.clear()
        fills, self.book.fills = self.book.fills, None
        told: list[tuple[int, Any]] = []
        for buyer, seller, price, quantity, bid, ask in fills or ():
            if buyer != OUTSIDE:
                told.append((buyer, {"bought": quantity, "price": price, "order": bid}))
            if seller != OUTSIDE:
                told.append((seller, {"sold": quantity, "price": price, "order": ask}))
        return told

    @action
    def cancel(self, tick: int, batch: Batch) -> None:
        """`cancel(order=)`: take a resting order back."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            order = args.get("order")
            if args.keys() != {"order"} or type(order) is not int:
                batch.refuse(i, "bad_arguments")
            elif reason := self.book.cancel(agent, order):
                batch.refuse(i, reason)
        self._shown.clear()

    @action
    def cancel_all(self, tick: int, batch: Batch) -> None:
        """`cancel_all()`: take all of one's resting orders back."""
        for agent in batch.agents.tolist():
            self.book.cancel_all(agent)
        self._shown.clear()

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """Let injected orders arrive, old ones expire, and note the tick's close."""
        book = self.book
        if self.notify:
            book.fills = []
        if self.flow is not None:
            for side, price, quantity in self.flow.of(tick):
                if price <= self.max_price:
                    book.submit(OUTSIDE, side, price, quantity, tick)
        if self.pressure:
            book.submit(OUTSIDE, BUY if self.pressure > 0 else SELL, MARKET, abs(self.pressure), tick)
        if self.lifetime:
            book.expire(tick + 1 - self.lifetime)
        bid, ask = book.best(BUY), book.best(SELL)
        self.bars.add(
            tick=tick,
            bid=bid,
            ask=ask,
            close=book.last,
            volume=book.volume,
            bid_size=book.total(bid),
            ask_size=book.total(ask),
        )
        return self._told()

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, NDArray[Any]]:
        """Best prices, the last trade's, and what each owns."""
        book = self.book
        cash, shares = book.cash[agents], book.shares[agents]
        return {
            "bid": np.full(len(agents), book.best(BUY)),
            "ask": np.full(len(agents), book.best(SELL)),
            "last": np.full(len(agents), book.last),
            "cash": cash,
            "shares": shares,
            "free_cash": cash - book.held_cash[agents],
            "free_shares": shares - book.held_shares[agents],
            "resting": book.resting[agents],
        }

    @query
    def depth(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`depth(levels=10)`: {'bids': [[price, quantity], ...], 'asks': ...}, best price first (an L2 snapshot)."""
        return [self.snapshot(self._count("levels", _DEPTH, MAX_PRICE, **one)) for one in args]

    def snapshot(self, levels: int = _DEPTH) -> dict[str, Any]:
        """What `depth` answers."""
        if levels not in self._shown:
            self._shown[levels] = {"bids": self.book.levels(BUY, levels), "asks": self.book.levels(SELL, levels)}
        return self._shown[levels]

    @query
    def orders(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`orders()`: the asking agent's resting orders, newest first: id, side, price, quantity, tick."""
        if any(args):
            raise ValueError("write look('book.orders') without arguments: it gives one's own")
        return [self.book.of_account(agent) for agent in agents]

    @query
    def trades(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, int]]]:
        """`trades(n=10)`: the newest trades, newest first: tick, price, quantity, taker (1: the buyer came last)."""
        counts = [self._count("n", _DEPTH, self.keep_trades, **one) for one in args]
        kept = self.book.trades()
        names = ("tick", "price", "quantity", "taker")
        rows = zip(*(kept[name][::-1][: max(counts, default=0)].tolist() for name in names), strict=True)
        newest = [dict(zip(names, row, strict=True)) for row in rows]
        return [newest[:n] for n in counts]

    @query
    def closes(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
        """`closes(n=10)`: the last prices of the newest ticks, newest first, in ticks of price (0 before any trade)."""
        counts = [self._count("n", _DEPTH, self.keep_ticks, **one) for one in args]
        newest = self.bars.newest("close", max(counts, default=0)).tolist()
        return [newest[:n] for n in counts]

    def _count(self, what: str, usual: int, most: int, /, **given: Any) -> int:
        n = given.pop(what, usual)
        if given or type(n) is not int or not 1 <= n <= most:
            raise ValueError(f"{what} is from 1 to {most}, got {n!r} {given or ''}")
        return n

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Accounts of the newborns, which own nothing. Orders of those who leave are cancelled."""
        self.book.grow(len(ids))

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Those who leave take their orders back."""
        for agent in ids.tolist():
            self.book.cancel_all(agent)
        self._shown.clear()

    def digest(self) -> bytes:
        """The digests of the book and of the kept ticks, kept as they change."""
        return join_digests(self.book.digest(), self.bars.digest())

    def state(self) -> dict[str, Any]:
        """The book and the kept ticks."""
        return {"book": self.book.state(), "bars": self.bars.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a book with the same bounds. Raises ScenarioError for another."""
        if len(state["book"]["cash"]) != self.world.agents + 1:
            raise ScenarioError(
                f"part '{self.name}' has {self.world.agents} agents; the checkpoint's {len(state['book']['cash']) - 1}"
            )
        self.book.restore(state["book"])
        self.bars.restore(state["bars"])
        self._shown.clear()
