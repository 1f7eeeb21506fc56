"""The limit order book against a slow plain one: the same orders, and after each the same trades, orders and accounts.

`PlainBook` keeps resting orders in a list and looks for the best one anew for each trade; there is nothing in it that
is kept in two places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from populace.core.draws import Draws
from populace.env.market.limit_book import BUY, OUTSIDE, SELL, LimitBook
from populace.env.market.stylized_facts import impact_exponent
from verification.verdicts import Verdict, check

SOURCE = "price-time priority, written plainly (PlainBook)"


class PlainBook:
    """Price-time priority as its definition says it."""

    def __init__(self, cash: list[int], shares: list[int], *, credit: int = 0, short: int = 0) -> None:
        self.cash, self.shares = [*cash, 0], [*shares, 0]
        self.credit, self.short = credit, short
        self.resting: list[dict[str, int]] = []
        self.trades: list[tuple[int, int, int, int]] = []
        self.submitted = 0

    def free_cash(self, account: int) -> int:
        """What no resting order holds."""
        own = [one for one in self.resting if one["account"] == account and one["side"] == 1]
        return self.cash[account] - sum(one["price"] * one["quantity"] for one in own) + self.credit

    def free_shares(self, account: int) -> int:
        """What no resting order holds."""
        own = [one for one in self.resting if one["account"] == account and one["side"] == -1]
        return self.shares[account] - sum(one["quantity"] for one in own) + self.short

    def best(self, side: int) -> dict[str, int] | None:
        """The order of a side that is served first: by price, then by age."""
        of_side = [one for one in self.resting if one["side"] == side]
        return min(of_side, key=lambda one: (-side * one["price"], one["id"]), default=None)

    def submit(self, account: int, side: int, price: int, quantity: int, tick: int) -> str:
        """An order; gives why it is refused, or ""."""
        if account >= 0 and side == 1 and price * quantity > self.free_cash(account):
            return "no_cash"
        if account >= 0 and side == -1 and quantity > self.free_shares(account):
            return "no_shares"
        first = self.best(-side)
        if price == 0 and first is None:
            return "empty_book"
        if price == 0 and side == 1 and account >= 0 and first["price"] > self.free_cash(account):
            return "no_cash"
        order, self.submitted = self.submitted, self.submitted + 1
        while quantity and (maker := self.best(-side)) is not None:
            at = maker["price"]
            if price and (at > price if side == 1 else at < price):
                break
            if maker["account"] == account >= 0:
                self.resting.remove(maker)
                continue
            traded = min(quantity, maker["quantity"])
            if price == 0 and side == 1 and account >= 0:
                traded = min(traded, self.free_cash(account) // at)
                if traded <= 0:
                    break
            buyer, seller = (account, maker["account"]) if side == 1 else (maker["account"], account)
            self.trades.append((at, traded, buyer, seller))
            self.cash[buyer] -= at * traded
            self.cash[seller] += at * traded
            self.shares[buyer] += traded
            self.shares[seller] -= traded
            quantity -= traded
            maker["quantity"] -= traded
            if maker["quantity"] == 0:
                self.resting.remove(maker)
        if quantity and price:
            names = ("id", "account", "side", "price", "quantity", "tick")
            self.resting.append(dict(zip(names, (order, account, side, price, quantity, tick), strict=True)))
        return ""

    def cancel(self, account: int, order: int) -> str:
        """Take an order back."""
        one = next((one for one in self.resting if one["id"] == order), None)
        if one is None:
            return "unknown_order"
        if one["account"] != account:
            return "not_yours"
        self.resting.remove(one)
        return ""


def difference(book: LimitBook, plain: PlainBook, orders: int, *, accounts: int, seed: int) -> int | None:
    """Give both books the same random orders; the number of the first after which they differ, or None.

    Of ten orders, six are limit orders around a wandering price, two market orders and two cancellations, of an account
    that draws from the outside and the agents. Orders and accounts are compared in full every 500, trades after each.
    """
    draw = Draws(seed)("orders")
    price = 100
    for number in range(orders):
        account, kind = draw.integer(accounts + 1) - 1, draw.random()
        price = min(max(price + draw.integer(3) - 1, 60), 140)
        if kind < 0.8:
            side = 1 if draw.bernoulli(0.5) else -1
            at = 0 if kind < 0.2 else max(1, price - side * (draw.integer(16) - 6))
            asked = (account, side, at, 1 + draw.integer(20), number // 50)
            said = book.submit(*asked), plain.submit(*asked)
        else:
            order = max(0, plain.submitted - 1 - draw.integer(200))
            of = next((one["account"] for one in plain.resting if one["id"] == order), account)
            said = book.cancel(of, order), plain.cancel(of, order)
        if said[0] != said[1] or book.traded != len(plain.trades):
            return number
        if book.traded and plain.trades[-1] != tuple(
            int(book.trades()[name][-1]) for name in ("price", "quantity", "buyer", "seller")
        ):
            return number
        if (number % 500 == 0 or number == orders - 1) and not alike(book, plain):
            return number
    return None


def alike(book: LimitBook, plain: PlainBook) -> bool:
    """Whether orders, accounts and what accounts hold are the same."""
    resting: dict[str, Any] = {name: [one[name] for one in plain.resting] for name in book.orders()}
    if any(column.tolist() != resting[name] for name, column in book.orders().items()):
        return False
    agents = range(len(plain.cash) - 1)
    free = (book.cash - book.held_cash + book.credit)[:-1].tolist(), (book.shares - book.held_shares)[:-1].tolist()
    return (
        book.cash.tolist() == plain.cash
        and book.shares.tolist() == plain.shares
        and free[0] == [plain.free_cash(agent) for agent in agents]
        and free[1] == [plain.free_shares(agent) - plain.short for agent in agents]
    )


def books(kind: type[LimitBook] = LimitBook, accounts: int = 12, *, credit: int = 0) -> tuple[LimitBook, PlainBook]:
    """Both books, in which some accounts are poor."""
    cash = [400 * account * account for account in range(accounts)]
    shares = [15 * (accounts - account) for account in range(accounts)]
    bounds = {"max_price": 200, "capacity": 10_000, "keep_trades": 4}
    fast = kind(np.array(cash), np.array(shares), credit=credit, **bounds)
    return fast, PlainBook(cash, shares, credit=credit)


def verdict(kind: type[LimitBook], orders: int, seed: int = 1) -> Verdict:
    """How many of the orders leave both books alike."""
    book, plain = books(kind)
    first = difference(book, plain, orders, accounts=12, seed=seed)
    alike_for = orders if first is None else first
    return Verdict(f"orders alike of {orders:,}", float(alike_for), float(orders), 0.0, SOURCE)


def impact_of(shares_at: Callable[[int], int], sizes: list[int], levels: int = 2_000) -> tuple[float, float]:
    """By how much buying moves the best ask, in a book with so many shares at each distance from the price.

    Gives the exponent of impact by size, and the impact of the largest size in ticks of price.
    """
    impacts = []
    for size in sizes:
        book = LimitBook(np.zeros(0), np.zeros(0), max_price=3 * levels, capacity=levels, keep_trades=1)
        for distance in range(1, levels + 1):
            book.submit(OUTSIDE, SELL, levels + distance, shares_at(distance), 0)
        book.submit(OUTSIDE, BUY, 0, size, 0)
        impacts.append(book.best(SELL) - levels)
    return impact_exponent(sizes, impacts), float(impacts[-1])


@check("impact in a book whose depth grows linearly")
def square_root_impact(full: bool) -> list[Verdict]:
    """Depth rho x at a distance x from the price gives an impact of sqrt(2 Q / rho)."""
    sizes = [1_000 * 4**k for k in range(5 if full else 3)]
    exponent, impact = impact_of(lambda distance: distance, sizes)
    source = "Toth et al. 2011, doi:10.1103/PhysRevX.1.021006: a latent book of linear depth"
    return [
        Verdict("exponent of impact by size", exponent, 0.5, 0.01, source),
        Verdict("impact of the largest size, ticks", impact, float(np.sqrt(2 * sizes[-1])), 1.0, source),
    ]


@check("a limit order book is the plain one")
def limit_order_book(full: bool) -> list[Verdict]:
    """100,000 random orders at the size of record."""
    return [verdict(LimitBook, 100_000 if full else 3_000)]
