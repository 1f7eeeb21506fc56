"""Accounts in whole cents, kept double: what one side pays the other gets, and money comes from named issuers only."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.economy.sharing import distinct

Cents = NDArray[np.int64]
Places = NDArray[np.integer] | int
"""Of accounts, or of one that all rows share."""

CENTRAL_BANK: Final = 0
GOVERNMENT: Final = 1
BANK: Final = 2
INSTITUTIONS: Final = ("central_bank", "government", "bank")

KINDS: Final = (
    "endowment",
    "issue",
    "lent_to_bank",
    "pay",
    "save",
    "withdraw",
    "wage",
    "income_tax",
    "levy",
    "transfer",
    "rebate",
    "purchase",
    "dividend",
    "loan_interest",
    "saving_interest",
    "debt_interest",
    "bank_surplus",
    "estate",
)
"""Every kind of transaction that there is."""

ISSUES: Final = ("endowment", "issue", "lent_to_bank")
"""The kinds by which the central bank makes money. All others move what there is."""

MOST_CENTS: Final = 10**13
"""The most that one act may name: a hundred thousand million units of currency."""
MOST_BALANCE: Final = 5 * 10**13
"""The most that a firm or an agent may own or save: a year's interest, in basis points, still fits into 64 bits."""
MOST_MONEY: Final = 2**61
"""The most that one transaction may move in all, the central bank have issued, and the government owe."""


class BooksDoNotBalance(ScenarioError):
    """An account changed without its other side, or went where it may not go; names the kind of transaction."""


class Accounts:
    """Money of the institutions, of firms that are rows, and of agents, in this order; int64 cents.

    The central bank's account is the other side of all money: it stands at minus what was issued, so that all
    `cents` add up to zero at every moment. `issued` (by kind), `month` (cents moved this month, by kind) and `moved`
    (since the start) are the record.
    """

    def __init__(self, firm_rows: int, agents: int) -> None:
        self.first_firm = len(INSTITUTIONS)
        self.first_agent = self.first_firm + firm_rows
        self.cents: Cents = np.zeros(self.first_agent + agents, np.int64)
        self.month: Cents = np.zeros(len(KINDS), np.int64)
        self.moved: Cents = np.zeros(len(KINDS), np.int64)
        self.touched: NDArray[np.bool_] = np.zeros(agents, np.bool_)

    @property
    def agents(self) -> Cents:
        """What agents own, by id: a view."""
        return self.cents[self.first_agent :]

    @property
    def issued(self) -> int:
        """Money that there is: all that the central bank ever issued."""
        return -int(self.cents[CENTRAL_BANK])

    def transfer(
        self,
        kind: str,
        payers: Places,
        payees: Places,
        cents: Cents | int,
        received: Cents | int | None = None,
        *,
        overdraft: int | None = 0,
    ) -> int:
        """Move `cents` (one amount, or one a row) from payers to payees, by place; gives the total.

        Where the two sides are not aligned, `received` holds the payees' amounts, and `cents` the payers'. No payer of
        more than nothing may end below minus `overdraft`; None sets no floor. Raises BooksDoNotBalance, with the kind,
        where what is paid is not what is received, for what is no whole or a negative amount, for money from the
        central bank by a kind that issues none, for a payer beyond its limit, and where totals would pass 64 bits.
        """
        at = KINDS.index(kind)
        paid = self._side(kind, payers, payees if received is None else None, cents)
        taken = paid if received is None else self._side(kind, payees, None, received)
        total = int(paid.sum())
        if total != int(taken.sum()):
            raise BooksDoNotBalance(f"'{kind}': {total} cents are paid and {int(taken.sum())} received")
        if not len(paid):
            return 0
        if np.any(np.asarray(payers) == CENTRAL_BANK):
            if kind not in ISSUES:
                raise BooksDoNotBalance(f"'{kind}' would issue money: only {', '.join(ISSUES)} may")
            if self.issued + total >= MOST_MONEY:
                raise BooksDoNotBalance(f"'{kind}': more than 2**61 cents were issued: use a larger unit of currency")
        self._add(payers, -paid, -total)
        self._add(payees, taken, total)
        self.month[at] += total
        if overdraft is not None and not np.any(np.asarray(payers) == CENTRAL_BANK):
            paying = np.broadcast_to(payers, paid.shape)[paid > 0]
            if len(paying) and int(self.cents[paying].min()) < -overdraft:
                worst = int(paying[np.argmin(self.cents[paying])])
                raise BooksDoNotBalance(
                    f"'{kind}' left {self.name(worst)} at {int(self.cents[worst])} cents: the limit is -{overdraft}"
                )
        return total

    def _side(self, kind: str, places: Places, others: Places | None, cents: Cents | int) -> Cents:
        """The amounts of one side, a row each. Raises BooksDoNotBalance for what cannot be one."""
        amounts = np.asarray(cents)
        if amounts.dtype.kind not in "iu":
            raise BooksDoNotBalance(f"'{kind}': amounts are whole cents (int64), not {amounts.dtype}")
        sizes = [np.size(places), amounts.size, *([] if others is None else [np.size(others)])]
        if 0 in sizes:
            return np.zeros(0, np.int64)
        amounts = np.broadcast_to(amounts.astype(np.int64), (max(sizes),))
        if int(amounts.min()) < 0:
            raise BooksDoNotBalance(f"'{kind}': an amount of {int(amounts.min())} cents: change the sides instead")
        if float(amounts.sum(dtype=np.float64)) >= MOST_MONEY:
            raise BooksDoNotBalance(f"'{kind}' would move 2**61 cents or more at once: use a larger unit of currency")
        return amounts

    def _add(self, places: Places, amounts: Cents, total: int) -> None:
        if isinstance(places, int | np.integer):
            self.cents[places] += total
            if places >= self.first_agent:
                self.touched[places - self.first_agent] = True
            return
        np.add.at(self.cents, places, amounts)
        own = places - self.first_agent
        self.touched[own[own >= 0]] = True

    def check(self, kind: str, month: int) -> None:
        """Raise BooksDoNotBalance, with the kind and the month, unless all accounts add up to zero within limits."""
        off = int(self.cents.sum())
        if off:
            raise BooksDoNotBalance(
                f"month {month}: after '{kind}' the accounts add up to {off} cents and not to 0, so an account changed "
                "on one side only. Move money by Accounts.transfer alone"
            )
        own = self.cents[self.first_firm :]
        if len(own) and int(own.max()) > MOST_BALANCE:
            raise BooksDoNotBalance(
                f"month {month}: after '{kind}' {self.name(self.first_firm + int(own.argmax()))} holds "
                f"{int(own.max())} cents, more than {MOST_BALANCE}: use a larger unit of currency"
            )
        if int(self.cents[GOVERNMENT]) < -MOST_MONEY:
            raise BooksDoNotBalance(
                f"month {month}: after '{kind}' the government owes more than {MOST_MONEY} cents: levy a tax, or use a "
                "larger unit of currency"
            )

    def close(self) -> None:
        """End the month: add its movements to those since the start."""
        self.moved += self.month
        self.month[:] = 0

    def name(self, place: int) -> str:
        """Whose account stands at a place, in words."""
        if place < self.first_firm:
            return f"the account of the {INSTITUTIONS[place].replace('_', ' ')}"
        if place < self.first_agent:
            return f"the account of firm {place - self.first_firm}"
        return f"the account of agent {place - self.first_agent}"

    def grow(self, agents: int) -> None:
        """Make room for newborn agents, whose accounts are empty."""
        self.cents = np.concatenate((self.cents, np.zeros(agents, np.int64)))
        self.touched = np.concatenate((self.touched, np.ones(agents, np.bool_)))

    def state(self) -> dict[str, Any]:
        """All accounts and the record."""
        return {"cents": self.cents, "moved": self.moved, "month": self.month}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.cents = state["cents"].copy()
        self.moved, self.month = state["moved"].copy(), state["month"].copy()
        self.touched = np.zeros(len(self.cents) - self.first_agent, np.bool_)


class Savings:
    """What agents have saved at the bank, and the interest that accrues on it.

    Interest accrues month by month at a twelfth of the year's rate and is paid each twelfth month. It is counted in
    units of cents x basis points: `index` is the sum of the months' rates so far, and an account that does not change
    is not touched, since what accrued is its balance times the index's growth since it was last looked at. A year's
    interest is `accrued // 120_000` cents; the remainder stays, so that no fraction of a cent is ever lost.
    """

    def __init__(self, agents: int) -> None:
        self.cents: Cents = np.zeros(agents, np.int64)
        self.accrued: Cents = np.zeros(agents, np.int64)
        self.seen: Cents = np.zeros(agents, np.int64)
        self.index = 0
        self.total = 0
        """What the bank owes to all savers: the other side of `cents`."""

    def add(self, agents: NDArray[np.integer], cents: Cents) -> None:
        """Add amounts (negative where withdrawn) to these agents' savings, after accruing on what was there."""
        ids = distinct(agents)
        self.accrue(ids)
        np.add.at(self.cents, agents, cents)
        self.total += int(np.sum(cents))

    def accrue(self, agents: NDArray[np.integer]) -> None:
        """Bring these (different) agents' accrued interest up to the index."""
        self.accrued[agents] += self.cents[agents] * (self.index - self.seen[agents])
        self.seen[agents] = self.index

    def due(self) -> tuple[NDArray[np.int64], Cents]:
        """Who is due interest and how many cents; what accrued is taken off. Called at a year's end."""
        savers = np.flatnonzero((self.cents > 0) | (self.accrued > 0))
        self.accrue(savers)
        due = self.accrued[savers] // 120_000
        self.accrued[savers] -= due * 120_000
        return savers, due

    def check(self, month: int) -> None:
        """Raise BooksDoNotBalance unless the bank owes what savers own, and nobody less than nothing or too much."""
        total = int(self.cents.sum())
        if len(self.cents) and int(self.cents.max()) > MOST_BALANCE:
            raise BooksDoNotBalance(
                f"month {month}: agent {int(self.cents.argmax())} has saved more than {MOST_BALANCE} cents: use a "
                "larger unit of currency"
            )
        if total != self.total or (len(self.cents) and int(self.cents.min()) < 0):
            raise BooksDoNotBalance(
                f"month {month}: after 'save' and 'withdraw' savings add up to {total} cents, the bank owes "
                f"{self.total}, and the least account holds {int(self.cents.min())}"
            )

    def grow(self, agents: int) -> None:
        """Make room for newborn agents."""
        none = np.zeros(agents, np.int64)
        self.cents, self.accrued = np.concatenate((self.cents, none)), np.concatenate((self.accrued, none))
        self.seen = np.concatenate((self.seen, none + self.index))

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {
            "saved": self.cents,
            "accrued": self.accrued,
            "seen": self.seen,
            "index": self.index,
            "saved_total": self.total,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.cents, self.accrued, self.seen = state["saved"].copy(), state["accrued"].copy(), state["seen"].copy()
        self.index, self.total = int(state["index"]), int(state["saved_total"])
