"""What agents who play firms may do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.arguments import number, whole
from populace.env.economy.base import Holdings
from populace.env.part import Batch, action


class FirmActs(Holdings):
    """Acts of firms that agents play; see `part.Economy`."""

    @action
    def set_price(self, tick: int, batch: Batch) -> None:
        """`set_price(cents=)`: post a price a unit, from 0.1 cents, for this month's market."""
        cents, bad = number(batch, "cents", 0.1, 1e12)
        self._post("price", batch, self._only(batch, False, bad), cents)

    @action
    def set_wage(self, tick: int, batch: Batch) -> None:
        """`set_wage(cents=)`: post a wage an hour at skill 1, from 0.1 cents, for this month's work."""
        cents, bad = number(batch, "cents", 0.1, 1e9)
        fit = self._only(batch, False, bad)
        low = cents < self.minimum_wage_cents
        batch.refuse_all(fit & low, "below_minimum")
        self._post("wage", batch, fit & ~low, cents)

    @action
    def post_vacancies(self, tick: int, batch: Batch) -> None:
        """`post_vacancies(count=)`: look for so many workers, until others are posted or they are hired."""
        count, bad = whole(batch, "count", 0, 2**31 - 1)
        self._post("vacancies", batch, self._only(batch, False, bad), count)

    def _post(self, column: str, batch: Batch, fit: NDArray[np.bool_], values: NDArray[Any]) -> None:
        for row in np.flatnonzero(fit).tolist():  # of several the last holds
            getattr(self.firms, column)[self.people.role[batch.agents[row]]] = values[row]

    @action
    def dismiss(self, tick: int, batch: Batch) -> None:
        """`dismiss(agent=)`: end a worker's job as the month ends."""
        worker, bad = whole(batch, "agent", 0, len(self.people.role) - 1)
        fit = self._only(batch, False, bad)
        own = self.people.employer[worker] == self.people.role[batch.agents]
        batch.refuse_all(fit & ~own, "not_employed")
        self.pending.quits.append(worker[fit & own])
