"""Accounts in whole cents: what one pays another gets, so that their sum never changes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests

MOST_CENTS: Final = 10**15
"""The most that an account begins with, and that one payment moves."""


class Ledger:
    """An account for each agent, int64 cents, never below zero.

    >>> ledger = Ledger(np.array([100, 0]))
    >>> ledger.pay(0, 1, 30), ledger.pay(1, 0, 31), ledger.cents.tolist()
    ('', 'no_cash', [70, 30])
    """

    def __init__(self, cents: NDArray[np.int64]) -> None:
        self.cents = cents
        self._digests: RowDigests | None = None
        self._touched: list[int] = []

    @classmethod
    def of(cls, cents: int | Sequence[int] | NDArray[np.integer], agents: int, where: str) -> Ledger:
        """Accounts of so many agents: the same for all, or one for each. Raises ScenarioError, naming `where`."""
        values = np.asarray(cents)
        if values.dtype.kind not in "iu" or values.shape not in ((), (agents,)):
            raise ScenarioError(
                f"{where}: whole cents for all, or for each of {agents} agents; it has the shape {values.shape} and "
                f"the type {values.dtype}"
            )
        if values.size and (values.min() < 0 or values.max() > MOST_CENTS):
            raise ScenarioError(f"{where}: each from 0 to {MOST_CENTS} cents")
        return cls(np.broadcast_to(values, agents).astype(np.int64))

    def pay(self, payer: int, to: int, cents: int) -> str:
        """Move cents from one account to another; gives why it cannot be ('no_cash'), or ""."""
        if self.cents[payer] < cents:
            return "no_cash"
        self.cents[payer] -= cents
        self.cents[to] += cents
        if self._digests is not None:
            self._touched += (payer, to)
        return ""

    def grow(self, agents: int) -> None:
        """So many accounts more, which are empty."""
        self._touched += range(len(self.cents), len(self.cents) + agents)
        self.cents = np.concatenate((self.cents, np.zeros(agents, np.int64)))

    def digest(self) -> bytes:
        """16 bytes over all accounts, kept as they change."""
        if self._digests is None:
            self._digests, self._touched = RowDigests("accounts", "cents"), list(range(len(self.cents)))
        changed = np.unique(np.array(self._touched, np.int64))
        self._digests.put(changed, changed, self.cents[changed])
        self._touched.clear()
        return self._digests.digest()

    def state(self) -> NDArray[np.int64]:
        """All accounts."""
        return self.cents

    def restore(self, state: Any) -> None:
        """Take a state."""
        self.cents = state.copy()
        self._digests = None
