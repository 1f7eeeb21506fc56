"""What acts, looks and the month's end share of an economy: its columns, and who is called what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.accounts import Accounts, Savings
from populace.env.economy.firms import Firms
from populace.env.economy.pending import Pending
from populace.env.economy.people import HOUSEHOLD, People
from populace.env.economy.policy import Funding
from populace.env.economy.sharing import Ints, Words
from populace.env.economy.statistics import Statistics
from populace.env.economy.taxes import Schedule
from populace.env.part import Batch, Part


class Holdings(Part):
    """What an economy holds; see `part.Economy`."""

    accounts: Accounts
    savings: Savings
    people: People
    firms: Firms
    statistics: Statistics
    pending: Pending
    debt_due: tuple[int, int]
    """What accrued on the government's debt in this year: cents, and 120,000ths of the next."""
    typed: bool
    month_ticks: int
    household_type: str | None
    _firms: int | str
    _schedule: Schedule

    price_speed: float
    wage_speed: float
    memory: float
    productivity: float
    full_hours: float
    most_hours: float
    inventory_months: float
    spoils: float
    visits: int
    dismissal_speed: float
    separation_rate: float
    dividend_share: float
    firm_credit_cents: int
    minimum_wage_cents: float
    brackets: list[tuple[float, float]]
    flat_rate: float
    rebate_share: float
    transfer_cents: int
    transfer_to: str
    transfer_funding: Funding
    interest_rate: float
    loan_rate: float
    credit_limit_cents: int

    @property
    def schedule(self) -> Schedule:
        """The progressive schedule of `brackets`."""
        if self._schedule.brackets != self.brackets:
            self._schedule = Schedule(self.brackets)
        return self._schedule

    @property
    def households(self) -> Ints:
        """The ids of the households who live, int64, sorted."""
        if self.household_type is not None:
            return self.world.ids(self.household_type).astype(np.int64)
        living = self.world.ids().astype(np.int64)
        return living[self.people.role[living] == HOUSEHOLD] if isinstance(self._firms, str) else living

    @property
    def ruled(self) -> Ints:
        """The rows of the living firms that nobody plays."""
        return np.flatnonzero(self.firms.alive & (self.firms.owner < 0))

    def places(self, agents: NDArray[np.integer]) -> Ints:
        """The places of agents' accounts."""
        return agents.astype(np.int64) + self.accounts.first_agent

    def words(self, purpose: str, ids: NDArray[np.integer]) -> Words:
        """64 random bits for each id in this tick."""
        return self.world.draw.words(f"{self.name}.{purpose}", ids)

    def word(self, purpose: str) -> int:
        """64 random bits in this tick."""
        return self.world.draw(f"{self.name}.{purpose}").word()

    def uniform(self, purpose: str, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """A number in [0, 1) for each id in this tick."""
        return self.world.draw.column(f"{self.name}.{purpose}", ids)

    def _only(self, batch: Batch, households: bool, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Refuse acts with bad arguments and of agents of the other kind; gives a mask of the rest."""
        role = self.people.role[batch.agents]
        of_kind = role == HOUSEHOLD if households else role >= 0
        batch.refuse_all(~of_kind, "no_household" if households else "no_firm")
        batch.refuse_all(bad & of_kind, "bad_arguments")
        return of_kind & ~bad

    def _firm_rows(self, handles: Ints) -> Ints:
        """The rows of the living firms that are called so; -1 where there is none."""
        if not isinstance(self._firms, str):
            return np.where(handles < len(self.firms), handles, -1)
        known = handles < len(self.people.role)
        rows = np.where(known, self.people.role[np.where(known, handles, 0)], -1).astype(np.int64)
        alive = (rows >= 0) & np.append(self.firms.alive, False)[rows]
        return np.where(alive, rows, -1)

    def _handles(self, rows: NDArray[np.integer]) -> Ints:
        """What firms are called, -1 for none."""
        called = np.where(self.firms.owner >= 0, self.firms.owner, np.arange(len(self.firms)))
        handles: Ints = np.append(called, -1)[rows]
        return handles
