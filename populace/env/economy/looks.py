"""What agents see of an economy and may ask it, and what outcomes read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.economy.base import Holdings
from populace.env.economy.people import HOUSEHOLD
from populace.env.economy.statistics import SERIES, gini
from populace.env.part import query, signal


class Looks(Holdings):
    """What is shown and answered; see `part.Economy`."""

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any] | NDArray[Any]]:
        """See the class."""
        people, firms, stats = self.people, self.firms, self.statistics
        employer = people.employer[agents]
        wages = np.append(firms.wage, 0.0)[employer] * people.skill[agents]
        size = len(agents)
        jobless = np.where((people.role[agents] == HOUSEHOLD) & (employer < 0), tick - people.jobless_since[agents], 0)
        seen: dict[str, NDArray[Any]] = {
            "wallet_cents": self.accounts.agents[agents],
            "savings_cents": self.savings.cents[agents],
            "employer": self._handles(employer),
            "wage_cents": wages,
            "hours": people.hours[agents].astype(float),
            "income_cents": people.income[agents],
            "spent_cents": people.spent[agents],
            "bought_units": people.bought[agents],
            "months_jobless": np.maximum(jobless, 0) // self.month_ticks,
            "price_cents": np.full(size, firms.mean_price()),
            "inflation_year": np.full(size, _or_zero(stats.last("inflation_year"))),
            "unemployment_rate": np.full(size, _or_zero(stats.last("unemployment_rate"))),
            "vacancies": np.full(size, int(firms.vacancies.sum())),
            "interest_rate": np.full(size, float(self.interest_rate)),
            "transfer_cents": np.full(size, self.transfer_cents),
        }
        if isinstance(self._firms, str):
            role = np.where(people.role[agents] >= 0, people.role[agents], -1)
            columns = {"own_price_cents": firms.price, "own_wage_cents": firms.wage, "stock_units": firms.stock,
                       "demand_units": firms.demand, "sold_units": firms.sold, "revenue_cents": firms.revenue,
                       "workers": firms.workers}  # fmt: skip
            seen |= {name: np.append(column, 0)[role] for name, column in columns.items()}
        return seen

    @query
    def offers(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`offers(n=5)`: firms with price, wage, vacancies and stock, cheapest first; those at one price by lot."""
        living = self.firms.living
        lot = self.words("offers", living)
        order = living[np.lexsort((lot, self.firms.price[living]))].tolist()
        most = max((self._count(**one) for one in args), default=0)
        rows = [self._shown(row) for row in order[:most]]
        return [rows[: self._count(**one)] for one in args]

    @staticmethod
    def _count(*, n: Any = 5, **rest: Any) -> int:
        if rest or type(n) is not int or not 1 <= n <= 10_000:
            raise ValueError(f"n is how many firms to show, from 1, got {n!r} {rest or ''}")
        return n

    def _shown(self, row: int) -> dict[str, Any]:
        firms = self.firms
        return {
            "firm": int(self._handles(np.array([row]))[0]),
            "price_cents": float(firms.price[row]),
            "wage_cents": float(firms.wage[row]),
            "vacancies": int(firms.vacancies[row]),
            "stock_units": int(firms.stock[row]),
            "workers": int(firms.workers[row]),
        }

    @query
    def firm(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`firm(firm=)`: price, wage, vacancies, stock and workers of one firm."""
        return [self._shown(self._firm_row(**one)) for one in args]

    @query
    def workers(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
        """`workers(firm=)`: the ids of those whom a firm employs."""
        return [np.flatnonzero(self.people.employer == self._firm_row(**one)).tolist() for one in args]

    def _firm_row(self, /, *, firm: Any = None, **rest: Any) -> int:
        known = type(firm) is int and not rest and 0 <= firm < 2**31
        row = int(self._firm_rows(np.array([firm if known else 0]))[0]) if known else -1
        if row < 0:
            raise ValueError(f"there is no firm {firm!r} {rest or ''}: offers() shows those there are")
        return row

    @query
    def figures(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, float | None]]:
        """`figures(ago=0)`: the statistics of the last month, or of `ago` months before it; None where lacking."""
        return [self._figures(**one) for one in args]

    def _figures(self, /, *, ago: Any = 0, **rest: Any) -> dict[str, float | None]:
        if rest or type(ago) is not int or ago < 0:
            raise ValueError(f"ago is how many months before the last, from 0, got {ago!r} {rest or ''}")
        row = {name: self.statistics.last(name, ago) for name in SERIES}
        return {name: None if value != value else value for name, value in row.items()}

    @signal
    def unemployment_rate(self) -> float:
        """Last month's, 0 to 1; 0 before any."""
        return _or_zero(self.statistics.last("unemployment_rate"))

    @signal
    def inflation_year(self) -> float:
        """The price index against twelve months before, 0.02 for two per cent; 0 where there is none yet."""
        return _or_zero(self.statistics.last("inflation_year"))

    @signal
    def wealth_cents(self) -> NDArray[np.int64]:
        """What each agent has in wallet and savings."""
        return self.accounts.agents + self.savings.cents

    def series(self, name: str) -> NDArray[np.float64]:
        """A figure of all kept months, oldest first; the names are those of `SERIES`."""
        if name not in SERIES:
            raise ScenarioError(f"the statistics have no figure {name!r}; there are: {', '.join(SERIES)}")
        return self.statistics.series(name)

    def last(self, name: str, over: int = 1) -> float:
        """The mean of a figure over the last `over` months, for an outcome; NaN where none was closed."""
        values = self.series(name)[-over:]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def gini(self, of: str = "wealth") -> float:
        """The Gini coefficient among households now: of 'wealth' (wallet and savings), or of last month's 'income'."""
        ids = self.households
        wealth = self.accounts.agents[ids] + self.savings.cents[ids]
        columns = {"wealth": wealth, "income": self.people.income[ids]}
        if of not in columns:
            raise ScenarioError(f"gini(of={of!r}): it is of 'wealth' or 'income'")
        return gini(columns[of])


def _or_zero(value: float) -> float:
    return 0.0 if value != value else value
