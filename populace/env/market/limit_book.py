"""A limit order book: price levels, each a queue of resting orders; matching by price, then time. Pure.

Prices are whole ticks of price from 1 to `max_price`, quantities whole shares, cash whole ticks of price (a share at
price 100 costs 100), so that all adds up exactly. Time is the order in which `submit` and `cancel` are called.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.market.book_digests import BookDigests

NONE: Final = -1
OUTSIDE: Final = -1
"""The account of injected orders: it stands for people who are not in the society, and owes what it likes."""
BUY: Final = 1
SELL: Final = -1
MARKET: Final = 0
"""The price that stands for none: a market order."""
MAX_QUANTITY: Final = 1_000_000_000
MAX_PRICE: Final = 1_000_000

NO_CASH: Final = "no_cash"
NO_SHARES: Final = "no_shares"
EMPTY_BOOK: Final = "empty_book"
BOOK_FULL: Final = "book_full"
UNKNOWN_ORDER: Final = "unknown_order"
NOT_YOURS: Final = "not_yours"

_ORDER: Final = ("id", "account", "side", "price", "quantity", "tick")
_LINKS: Final = ("next", "previous", "own_next", "own_previous", "newer", "older")
_TRADE: Final = ("tick", "price", "quantity", "buyer", "seller", "taker")


class LimitBook:
    """The book of one stock, the accounts of those who trade it, and the last `keep_trades` trades.

    An order takes the best price of the other side first, and at one price the order that came first; it trades at the
    price of the resting order. What is left of a limit order rests; what is left of a market order is dropped. An
    order never trades with one of the same account: the resting one is cancelled, and the incoming one goes on
    (outside orders, account -1, are of many people, and do).

    Nobody spends what it does not own: a resting order to buy holds its price times its quantity of the account's
    cash, one to sell its shares. `credit` is how far cash, and `short` how far shares, may fall below zero.
    """

    def __init__(
        self,
        cash: NDArray[np.int64],
        shares: NDArray[np.int64],
        *,
        max_price: int,
        capacity: int,
        keep_trades: int,
        credit: int = 0,
        short: int = 0,
    ) -> None:
        """`cash` and `shares` have a row for each account; the outside's row is added."""
        self.max_price = max_price
        self.capacity = capacity
        self.keep_trades = keep_trades
        self.credit = credit
        self.short = short
        self.submitted = 0
        """How many orders were accepted; the next one's id."""
        self.traded = 0
        """How many trades there were."""
        self.volume = 0
        """How many shares changed hands."""
        self.self_cancelled = 0
        """How many resting orders were cancelled since their own account's order met them."""
        self.last = 0
        """The price of the last trade; 0 before the first."""
        self.fills: list[tuple[int, int, int, int, int, int]] | None = None
        """Where a list stands, trades are added to it: buyer, seller, price, quantity, buy order, sell order."""
        self._trades = {name: np.zeros(keep_trades, np.int64) for name in _TRADE}
        self._ring = [column.data for column in self._trades.values()]
        self._accounts(np.append(cash, 0).astype(np.int64), np.append(shares, 0).astype(np.int64))
        self._empty()

    def _accounts(self, cash: NDArray[np.int64], shares: NDArray[np.int64]) -> None:
        """Take the accounts; the outside's is the last, so that it is found at -1."""
        self.cash, self.shares = cash, shares
        self.held_cash, self.held_shares = np.zeros_like(cash), np.zeros_like(shares)
        self.resting = np.zeros(len(cash), np.int64)
        """How many orders each account has in the book."""
        self._own = np.full(len(cash), NONE, np.int64)
        self._account_views()

    def _account_views(self) -> None:
        self._cash, self._shares = self.cash.data, self.shares.data
        self._held_cash, self._held_shares = self.held_cash.data, self.held_shares.data
        self._resting, self._own_head = self.resting.data, self._own.data

    def _empty(self) -> None:
        """A book without orders."""
        self._slots = {name: np.zeros(0, np.int64) for name in (*_ORDER, *_LINKS)}
        self._slot_views()
        self._free: list[int] = []
        self._slot_of: dict[int, int] = {}
        self._oldest = self._newest = NONE
        levels = self.max_price + 1
        self._heads = np.full(levels, NONE, np.int32)
        self._tails = np.full(levels, NONE, np.int32)
        self._totals = np.zeros(levels, np.int64)
        self._head, self._tail, self._total = (one.data for one in (self._heads, self._tails, self._totals))
        self._listed = {BUY: bytearray(levels), SELL: bytearray(levels)}
        self._heap: dict[int, list[int]] = {BUY: [], SELL: []}
        self._digests: BookDigests | None = None

    def _slot_views(self) -> None:
        views = [column.data for column in self._slots.values()]
        self._id, self._account, self._side, self._price, self._quantity, self._tick = views[:6]
        self._next, self._previous, self._own_next, self._own_previous, self._newer, self._older = views[6:]

    def __len__(self) -> int:
        """How many orders rest."""
        return len(self._slot_of)

    def best(self, side: int) -> int:
        """The best price of a side, in ticks of price; 0 where it is empty."""
        heap, head, listed = self._heap[side], self._head, self._listed[side]
        while heap:
            price = -heap[0] if side == BUY else heap[0]
            slot = head[price]
            if slot != NONE and self._side[slot] == side:
                return price
            heappop(heap)  # a level that has emptied since, or is the other side's now
            listed[price] = 0
        return 0

    def submit(self, account: int, side: int, price: int, quantity: int, tick: int) -> str:
        """An order to buy (1) or sell (-1) `quantity` shares at `price` or better, or at any price (0).

        Gives why it is refused, or "". The order's id is `submitted` - 1 then. The caller has checked that side, price
        and quantity are in range.
        """
        outside = account == OUTSIDE
        if not outside:
            if side == BUY:
                if price * quantity > self._cash[account] - self._held_cash[account] + self.credit:
                    return NO_CASH
            elif quantity > self._shares[account] - self._held_shares[account] + self.short:
                return NO_SHARES
        if price != MARKET and not self._free and len(self._id) >= self.capacity and not self._crosses(side, price):
            return BOOK_FULL
        if price == MARKET:
            first = self.best(-side)
            if first == 0:
                return EMPTY_BOOK
            if side == BUY and not outside and first > self._cash[account] - self._held_cash[account] + self.credit:
                return NO_CASH
        taker = self.submitted
        self.submitted += 1
        left = self._match(taker, account, side, price, quantity, tick)
        if left and price != MARKET:
            self._rest(taker, account, side, price, left, tick)
        return ""

    def _crosses(self, side: int, price: int) -> bool:
        best = self.best(-side)
        return best != 0 and (best - price) * side <= 0

    def _match(self, taker: int, account: int, side: int, price: int, left: int, tick: int) -> int:
        """Trade as long as the other side's best price will do; gives what is left."""
        outside, other = account == OUTSIDE, -side
        head, quantities = self._head, self._quantity
        cash, shares = self._cash, self._shares
        while left:
            at = self.best(other)
            if at == 0 or (price != MARKET and (at - price) * side > 0):
                break
            slot = head[at]
            maker = self._account[slot]
            if maker == account and not outside:
                self._remove(slot)
                self.self_cancelled += 1
                continue
            has = quantities[slot]
            traded = min(left, has)
            if price == MARKET and side == BUY and not outside:
                traded = min(traded, (cash[account] - self._held_cash[account] + self.credit) // at)
                if traded <= 0:
                    break
            value = traded * at * side
            cash[account] -= value
            cash[maker] += value
            shares[account] += traded * side
            shares[maker] -= traded * side
            self._record(tick, at, traded, account, maker, side, taker, self._id[slot])
            left -= traded
            if traded == has:
                self._remove(slot)
            else:
                quantities[slot] = has - traded
                self._total[at] -= traded
                self._hold(maker, other, at, -traded)
                if self._digests is not None:
                    self._digests.orders.append(slot)
        return left

    def _hold(self, account: int, side: int, price: int, quantity: int) -> None:
        if account == OUTSIDE:
            return
        if side == BUY:
            self._held_cash[account] += price * quantity
        else:
            self._held_shares[account] += quantity

    def _record(
        self, tick: int, price: int, quantity: int, account: int, maker: int, side: int, taker: int, made: int
    ) -> None:
        buyer, seller = (account, maker) if side == BUY else (maker, account)
        place = self.traded % self.keep_trades
        for column, value in zip(self._ring, (tick, price, quantity, buyer, seller, side), strict=True):
            column[place] = value
        self.traded += 1
        self.volume += quantity
        self.last = price
        if self._digests is not None:
            self._digests.accounts += (account, maker)
        if self.fills is not None:
            orders = (taker, made) if side == BUY else (made, taker)
            self.fills.append((buyer, seller, price, quantity, *orders))

    def _rest(self, order: int, account: int, side: int, price: int, quantity: int, tick: int) -> None:
        """Put an order at the end of its level's queue."""
        slot = self._take_slot()
        self._id[slot], self._account[slot], self._side[slot] = order, account, side
        self._price[slot], self._quantity[slot], self._tick[slot] = price, quantity, tick
        tail = self._tail[price]
        self._previous[slot], self._next[slot] = tail, NONE
        if tail == NONE:
            self._head[price] = slot
            if not self._listed[side][price]:
                self._listed[side][price] = 1
                heappush(self._heap[side], -price if side == BUY else price)
        else:
            self._next[tail] = slot
        self._tail[price] = slot
        self._total[price] += quantity
        first = self._own_head[account]
        self._own_previous[slot], self._own_next[slot] = NONE, first
        if first != NONE:
            self._own_previous[first] = slot
        self._own_head[account] = slot
        self._older[slot], self._newer[slot] = self._newest, NONE
        if self._newest == NONE:
            self._oldest = slot
        else:
            self._newer[self._newest] = slot
        self._newest = slot
        self._slot_of[order] = slot
        self._resting[account] += 1
        self._hold(account, side, price, quantity)
        if self._digests is not None:
            self._digests.orders.append(slot)

    def _take_slot(self) -> int:
        if not self._free:
            had = len(self._id)
            size = min(self.capacity, max(64, 2 * had))
            for name, column in self._slots.items():
                self._slots[name] = np.concatenate((column, np.zeros(size - had, np.int64)))
            self._slot_views()
            self._free = list(range(size - 1, had - 1, -1))
        return self._free.pop()

    def _remove(self, slot: int) -> None:
        """Take an order out of the book."""
        account, side, price, quantity = self._account[slot], self._side[slot], self._price[slot], self._quantity[slot]
        before, after = self._previous[slot], self._next[slot]
        if before == NONE:
            self._head[price] = after
        else:
            self._next[before] = after
        if after == NONE:
            self._tail[price] = before
        else:
            self._previous[after] = before
        self._total[price] -= quantity
        before, after = self._own_previous[slot], self._own_next[slot]
        if before == NONE:
            self._own_head[account] = after
        else:
            self._own_next[before] = after
        if after != NONE:
            self._own_previous[after] = before
        before, after = self._older[slot], self._newer[slot]
        if before == NONE:
            self._oldest = after
        else:
            self._newer[before] = after
        if after == NONE:
            self._newest = before
        else:
            self._older[after] = before
        del self._slot_of[self._id[slot]]
        self._resting[account] -= 1
        self._hold(account, side, price, -quantity)
        self._free.append(slot)
        if self._digests is not None:
            self._digests.orders.append(slot)

    def cancel(self, account: int, order: int) -> str:
        """Take a resting order back; gives why it cannot be, or ""."""
        slot = self._slot_of.get(order)
        if slot is None:
            return UNKNOWN_ORDER
        if self._account[slot] != account:
            return NOT_YOURS
        self._remove(slot)
        return ""

    def cancel_all(self, account: int) -> int:
        """Take all resting orders of an account back; gives how many."""
        count = 0
        while (slot := self._own_head[account]) != NONE:
            self._remove(slot)
            count += 1
        return count

    def expire(self, before: int) -> int:
        """Take out the orders that came before this tick; gives how many."""
        count = 0
        while self._oldest != NONE and self._tick[self._oldest] < before:
            self._remove(self._oldest)
            count += 1
        return count

    def of_account(self, account: int) -> list[dict[str, Any]]:
        """An account's resting orders, newest first."""
        found, slot = [], self._own_head[account]
        while slot != NONE:
            found.append(
                {
                    "id": self._id[slot],
                    "side": "buy" if self._side[slot] == BUY else "sell",
                    "price": self._price[slot],
                    "quantity": self._quantity[slot],
                    "tick": self._tick[slot],
                }
            )
            slot = self._own_next[slot]
        return found

    def levels(self, side: int, n: int) -> list[list[int]]:
        """The n best levels of a side, best first: price and quantity each (an L2 snapshot)."""
        self.best(side)
        prices = sorted({-one if side == BUY else one for one in self._heap[side]}, reverse=side == BUY)
        found = []
        for price in prices:
            slot = self._head[price]
            if slot != NONE and self._side[slot] == side:
                found.append([price, self._total[price]])
                if len(found) == n:
                    break
        return found

    def total(self, price: int) -> int:
        """How many shares rest at a price."""
        return self._total[price]

    def orders(self) -> dict[str, NDArray[np.int64]]:
        """All resting orders, oldest first: id, account (-1 for the outside), side, price, quantity, tick."""
        slots = np.fromiter(self._slot_of.values(), np.int64, len(self._slot_of))
        slots = slots[np.argsort(self._slots["id"][slots], kind="stable")]
        return {name: self._slots[name][slots] for name in _ORDER}

    def trades(self) -> dict[str, NDArray[np.int64]]:
        """The kept trades, oldest first: tick, price, quantity, buyer, seller, taker (1: the buyer came last)."""
        kept = np.arange(max(0, self.traded - self.keep_trades), self.traded) % self.keep_trades
        return {name: column[kept] for name, column in self._trades.items()}

    def grow(self, accounts: int) -> None:
        """So many accounts more, which own nothing."""
        for name in ("cash", "shares", "held_cash", "held_shares", "resting", "_own"):
            had = getattr(self, name)
            empty = np.full(accounts, NONE if name == "_own" else 0, np.int64)
            setattr(self, name, np.concatenate((had[:-1], empty, had[-1:])))
        self._account_views()
        if self._digests is not None:
            self._digests.accounts += range(len(self.cash) - accounts - 1, len(self.cash) - 1)

    def digest(self) -> bytes:
        """16 bytes over orders, accounts, trades and counts, kept as they change."""
        if self._digests is None:
            self._digests = BookDigests(self.keep_trades)
            self._digests.orders += self._slot_of.values()
            self._digests.accounts += range(len(self.cash))
        alive = self._slot_of
        counts = (self.submitted, self.traded, self.volume, self.self_cancelled, self.last, len(self.cash))
        return self._digests.digest(self._slots, alive, self.cash, self.shares, self._trades, counts)

    def state(self) -> dict[str, Any]:
        """Resting orders by age, accounts, kept trades, counts. What is held follows from the orders."""
        return {
            "orders": self.orders(),
            "cash": self.cash,
            "shares": self.shares,
            "trades": self.trades(),
            "counts": [self.submitted, self.traded, self.volume, self.self_cancelled, self.last],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state. Raises ScenarioError for one of a book with other bounds."""
        trades, counts, orders = state["trades"], state["counts"], state["orders"]
        highest = int(orders["price"].max(initial=0))
        if len(trades["tick"]) != min(counts[1], self.keep_trades) or highest > self.max_price:
            raise ScenarioError(
                f"the checkpoint's book keeps {len(trades['tick'])} trades and has prices up to {highest}; this one "
                f"has keep_trades={self.keep_trades} and max_price={self.max_price}: open it as that one was"
            )
        if len(orders["id"]) > self.capacity:
            raise ScenarioError(f"the checkpoint has {len(orders['id'])} resting orders: capacity={self.capacity}")
        self.submitted, self.traded, self.volume, self.self_cancelled, self.last = counts
        kept = np.arange(self.traded - len(trades["tick"]), self.traded) % self.keep_trades
        for name, column in self._trades.items():
            column[kept] = trades[name]
        self._accounts(state["cash"].copy(), state["shares"].copy())
        self._empty()
        for row in zip(*(orders[name].tolist() for name in _ORDER), strict=True):
            self._rest(*row)
