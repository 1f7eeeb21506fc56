"""Firms in columns, and the rule by which those that nobody plays set price, wage, vacancies and dismissals."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FLOATS: Final = ("price", "wage", "expected", "unfinished")
_INTS: Final = (
    "owner",
    "account",
    "stock",
    "offered",
    "demand",
    "sold",
    "revenue",
    "produced",
    "vacancies",
    "workers",
    "wanted",
)


class Firms:
    """A row a firm. `price` (cents a unit) and `wage` (cents an hour at skill 1) are float64, what is posted.

    Goods are whole units, int64: `stock`, and of this month `offered` (stock as the market opens), `demand` (asked
    for), `sold`, `produced`; `revenue` is in cents. `expected` is the demand that the rule reckons with, in units a
    month, `unfinished` what was made of the next unit. `workers` are employed now, `wanted` by the rule, `vacancies`
    open. `owner` is the agent who plays the firm, or -1; `account` its place among the accounts; `alive` falls when
    that agent leaves.
    """

    price: Floats
    wage: Floats
    expected: Floats
    unfinished: Floats
    owner: Ints
    account: Ints
    stock: Ints
    offered: Ints
    demand: Ints
    sold: Ints
    revenue: Ints
    produced: Ints
    vacancies: Ints
    workers: Ints
    wanted: Ints
    alive: NDArray[np.bool_]

    def __init__(self, accounts: Ints, owners: Ints) -> None:
        for name in _FLOATS:
            setattr(self, name, np.zeros(len(accounts)))
        for name in _INTS:
            setattr(self, name, np.zeros(len(accounts), np.int64))
        self.account, self.owner = accounts.astype(np.int64), owners.astype(np.int64)
        self.alive = np.ones(len(accounts), np.bool_)

    def __len__(self) -> int:
        return len(self.price)

    @property
    def living(self) -> Ints:
        """The rows of firms that are there."""
        return np.flatnonzero(self.alive)

    def mean_price(self) -> float:
        """The mean posted price, in cents a unit; 0 where there is no firm."""
        return float(self.price[self.alive].mean()) if self.alive.any() else 0.0

    def mean_wage(self) -> float:
        """The mean posted wage, in cents an hour; 0 where there is no firm."""
        return float(self.wage[self.alive].mean()) if self.alive.any() else 0.0

    def begin_month(self) -> None:
        """Forget last month's trade."""
        for name in ("offered", "demand", "sold", "revenue", "produced"):
            getattr(self, name)[:] = 0

    def produce(self, made: Floats) -> None:
        """Put what was made (units, a fraction of one too) into stock; what is no whole unit waits."""
        self.unfinished += made
        whole = np.floor(self.unfinished).astype(np.int64)
        self.unfinished -= whole
        self.produced += whole
        self.stock += whole

    def spoil(self, share: float) -> None:
        """Let a share of what is unsold go bad, rounded down to whole units."""
        self.stock -= np.floor(self.stock * share).astype(np.int64)

    def move_prices(self, speed: float, rows: Ints) -> None:
        """Prices follow excess demand: `p *= 1 + speed * (D - S) / max(D, S)`, D asked for and S offered in the month.

        After Li et al. 2024 (EconAgent, arXiv:2310.10436), who draw a step between none and this one. A price stays
        at a tenth of a cent at least.
        """
        demand, supply = self.demand[rows].astype(float), self.offered[rows].astype(float)
        excess = (demand - supply) / np.maximum(np.maximum(demand, supply), 1.0)
        self.price[rows] = np.maximum(self.price[rows] * (1.0 + speed * excess), 0.1)

    def move_wages(self, speed: float, left: Ints, turned_away: Ints, lowest: float, rows: Ints) -> None:
        """Wages follow excess demand for labour: vacancies left less applicants turned away, over places wanted."""
        places = np.maximum(np.maximum(self.wanted, self.workers), 1)
        excess = np.clip((left - turned_away) / places, -1.0, 1.0)[rows]
        self.wage[rows] = np.maximum(self.wage[rows] * (1.0 + speed * excess), max(lowest, 0.1))

    def plan(self, per_worker: float, inventory_months: float, memory: float, rows: Ints) -> None:
        """Reckon with demand and want the workers who meet it: adaptive expectations, and some months of it in stock.

        `expected += (1 - memory) * (demand - expected)`; wanted are so many workers, each of `per_worker` units a
        month, that stock comes to `inventory_months` of expected demand once that is sold.
        """
        self.expected[rows] += (1.0 - memory) * (self.demand[rows] - self.expected[rows])
        needed = self.expected[rows] * (1.0 + inventory_months) - self.stock[rows]
        self.wanted[rows] = np.ceil(np.maximum(needed, 0.0) / max(per_worker, 1e-9) - 1e-9).astype(np.int64)

    def grow(self, accounts: Ints, owners: Ints) -> None:
        """New firms: they post the mean price and wage, and have neither stock nor workers."""
        price, wage = self.mean_price(), self.mean_wage()
        new = Firms(accounts, owners)
        new.price[:], new.wage[:] = max(price, 0.1), max(wage, 0.1)
        for name in (*_FLOATS, *_INTS, "alive"):
            setattr(self, name, np.concatenate((getattr(self, name), getattr(new, name))))

    def state(self) -> dict[str, Any]:
        """All columns."""
        return {name: getattr(self, name) for name in (*_FLOATS, *_INTS, "alive")}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        for name in (*_FLOATS, *_INTS, "alive"):
            setattr(self, name, state[name].copy())
