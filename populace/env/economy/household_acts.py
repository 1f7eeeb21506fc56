"""What households may do, and payments between any two agents."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.accounts import BANK, MOST_CENTS, Cents
from populace.env.economy.arguments import number, whole
from populace.env.economy.base import Holdings
from populace.env.economy.people import GONE
from populace.env.economy.sharing import Ints, distinct
from populace.env.part import Batch, action


class HouseholdActs(Holdings):
    """Acts of households, in columns; see `part.Economy`."""

    @action
    def work(self, tick: int, batch: Batch) -> None:
        """`work(hours=)`: offer the employer so many hours, 0 to `most_hours`, in this month."""
        hours, bad = number(batch, "hours", 0, self.most_hours)
        fit = self._only(batch, True, bad)
        self._work(batch, fit, hours)

    def _work(self, batch: Batch, fit: NDArray[np.bool_], hours: NDArray[np.float64]) -> None:
        employed = self.people.employer[batch.agents] >= 0
        batch.refuse_all(fit & ~employed, "no_job")
        fit = fit & employed
        self.pending.hours.append((batch.agents[fit].astype(np.int64), hours[fit]))

    @action
    def consume(self, tick: int, batch: Batch) -> None:
        """`consume(cents=)`: spend up to so much at firms; cut to what is in the wallet as the market opens."""
        cents, bad = whole(batch, "cents", 0, MOST_CENTS)
        fit = self._only(batch, True, bad)
        self.pending.spend.append((batch.agents[fit].astype(np.int64), cents[fit]))

    @action
    def consume_share(self, tick: int, batch: Batch) -> None:
        """`consume_share(share=)`: spend this share, 0 to 1, of what is in the wallet as the market opens."""
        share, bad = number(batch, "share", 0, 1)
        fit = self._only(batch, True, bad)
        self.pending.shares.append((batch.agents[fit].astype(np.int64), share[fit]))

    @action
    def buy_from(self, tick: int, batch: Batch) -> None:
        """`buy_from(firm=, cents=)`: spend up to so much at this firm."""
        cents, bad = whole(batch, "cents", 0, MOST_CENTS)
        handle, bad_firm = whole(batch, "firm", 0, 2**31 - 1)
        fit = self._only(batch, True, bad | bad_firm)
        firm = self._firm_rows(handle)
        batch.refuse_all(fit & (firm < 0), "unknown_firm")
        fit = fit & (firm >= 0)
        self.pending.orders.append((batch.agents[fit].astype(np.int64), firm[fit], cents[fit]))

    @action
    def apply(self, tick: int, batch: Batch) -> None:
        """`apply(firm=)`: apply for a job there, or with -1 where somebody hires, by lot; hired as the month ends."""
        handle, bad = whole(batch, "firm", -1, 2**31 - 1)
        fit = self._only(batch, True, bad)
        firm = np.where(handle < 0, -1, self._firm_rows(np.maximum(handle, 0)))
        unknown = (handle >= 0) & (firm < 0)
        batch.refuse_all(fit & unknown, "unknown_firm")
        fit = fit & ~unknown
        self.pending.sought.append((batch.agents[fit].astype(np.int64), firm[fit]))

    @action
    def resign(self, tick: int, batch: Batch) -> None:
        """`resign()`: leave one's job as the month ends."""
        fit = self._only(batch, True, np.zeros(len(batch), np.bool_))
        employed = self.people.employer[batch.agents] >= 0
        batch.refuse_all(fit & ~employed, "no_job")
        self.pending.quits.append(batch.agents[fit & employed].astype(np.int64))

    @action
    def save(self, tick: int, batch: Batch) -> None:
        """`save(cents=)`: put so much of one's wallet into savings, now."""
        cents, bad = whole(batch, "cents", 0, MOST_CENTS)
        self._save(batch, self._only(batch, True, bad), cents)

    @action
    def withdraw(self, tick: int, batch: Batch) -> None:
        """`withdraw(cents=)`: take so much out of one's savings, now."""
        cents, bad = whole(batch, "cents", 0, MOST_CENTS)
        self._save(batch, self._only(batch, True, bad), -cents)

    def _save(self, batch: Batch, fit: NDArray[np.bool_], cents: Cents) -> NDArray[np.bool_]:
        """Save (below 0: withdraw), each agent's acts one after another; gives a mask of what was done."""
        done = np.zeros(len(batch), np.bool_)
        for rows in _once_each(batch.agents, np.flatnonzero(fit & (cents != 0))):
            ids, amount = batch.agents[rows], cents[rows]
            enough = np.where(amount > 0, self.accounts.agents[ids] >= amount, self.savings.cents[ids] >= -amount)
            for row, much in zip(rows[~enough].tolist(), amount[~enough].tolist(), strict=True):
                batch.refuse(row, "not_on_account" if much > 0 else "not_saved")
            rows, ids, amount = rows[enough], ids[enough], amount[enough]
            into, out = np.maximum(amount, 0), np.maximum(-amount, 0)
            self.accounts.transfer("save", self.places(ids), BANK, into)
            self.accounts.transfer("withdraw", BANK, self.places(ids), out)
            self.savings.add(ids, amount)
            done[rows] = True
        done |= fit & (cents == 0)
        return done

    @action
    def month(self, tick: int, batch: Batch) -> None:
        """`month(hours=, consume_cents=, save_cents=, search=)`: `save`, `work`, `consume` and `apply` in one act.

        `save_cents` below 0 withdraws; what cannot be saved or withdrawn refuses the act. `hours` of those without a
        job come to nothing. `search` is 1 for an application to any firm that is hiring, and else 0.
        """
        hours, bad = number(batch, "hours", 0, self.most_hours)
        cents, bad_cents = whole(batch, "consume_cents", 0, MOST_CENTS)
        saved, bad_saved = whole(batch, "save_cents", -MOST_CENTS, MOST_CENTS)
        search, bad_search = whole(batch, "search", 0, 1)
        fit = self._save(batch, self._only(batch, True, bad | bad_cents | bad_saved | bad_search), saved)
        ids = batch.agents.astype(np.int64)
        at_work = fit & (hours > 0) & (self.people.employer[batch.agents] >= 0)
        self.pending.hours.append((ids[at_work], hours[at_work]))
        spends, seeks = fit & (cents > 0), fit & (search > 0)
        self.pending.spend.append((ids[spends], cents[spends]))
        self.pending.sought.append((ids[seeks], np.full(int(seeks.sum()), -1)))

    @action
    def pay(self, tick: int, batch: Batch) -> None:
        """`pay(to=, cents=)`: pay another agent, now, out of one's account and credit."""
        cents, bad = whole(batch, "cents", 0, MOST_CENTS)
        to, bad_to = whole(batch, "to", 0, 2**31 - 1)
        batch.refuse_all(bad | bad_to, "bad_arguments")
        known = (to < len(self.people.role)) & ~(bad | bad_to)
        known[known] = self.people.role[to[known]] != GONE
        batch.refuse_all(~(bad | bad_to) & ~known, "unknown_agent")
        rows = self._in_order(batch, np.flatnonzero(known), to, cents)
        payers, payees = self.places(batch.agents[rows]), self.places(to[rows])
        self.accounts.transfer("pay", payers, payees, cents[rows], overdraft=None)

    def _in_order(self, batch: Batch, rows: Ints, to: Ints, cents: Cents) -> Ints:
        """The rows of payments that can be made, one after another: what one is paid, it may pay with."""
        payers = batch.agents[rows]
        limit = np.where(self.people.role[payers] >= 0, self.firm_credit_cents, self.credit_limit_cents)
        involved = distinct(np.concatenate((payers, to[rows])))
        room = dict(zip(involved.tolist(), self.accounts.agents[involved].tolist(), strict=True))
        made = []
        given = zip(
            rows.tolist(), payers.tolist(), to[rows].tolist(), cents[rows].tolist(), limit.tolist(), strict=True
        )
        for row, payer, payee, amount, most in given:
            if room[payer] + most < amount:
                batch.refuse(row, "not_on_account")
                continue
            room[payer] -= amount
            room[payee] += amount
            made.append(row)
        return np.array(made, np.int64)


def _once_each(agents: NDArray[np.int32], rows: Ints) -> Iterable[Ints]:
    """The rows in rounds, each agent's first acts in the first round: within one no agent stands twice."""
    while len(rows):
        if len(distinct(agents[rows])) == len(rows):
            yield rows
            return
        _, first = np.unique(agents[rows], return_index=True)
        first.sort()
        yield rows[first]
        rows = np.delete(rows, first)
