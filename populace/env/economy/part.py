"""An economy: households, firms, a bank, a government and a statistics office on accounts that lose no cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests, state_digest
from populace.env.economy import policy
from populace.env.economy.accounts import BANK, CENTRAL_BANK, GOVERNMENT, MOST_CENTS, Accounts, Savings
from populace.env.economy.closing import close, count_workers
from populace.env.economy.firm_acts import FirmActs
from populace.env.economy.firms import Firms
from populace.env.economy.household_acts import HouseholdActs
from populace.env.economy.looks import Looks
from populace.env.economy.pending import Pending
from populace.env.economy.people import COLUMNS, GONE, HOUSEHOLD, People
from populace.env.economy.policy import Funding
from populace.env.economy.sharing import Ints
from populace.env.economy.statistics import Statistics
from populace.env.economy.taxes import US_2019, Schedule
from populace.env.part import Opening

_COLUMNS = ("cents", "saved", "accrued", "seen", *COLUMNS)


class Economy(HouseholdActs, FirmActs, Looks):
    """A closed economy in months (of `month_ticks` ticks each), with money in whole cents and goods in whole units.

    A tick is a month unless `month_ticks` says that one takes several: then acts of its ticks are gathered, and the
    month ends with the last of them. A society of hours may settle its accounts each day that way, with a day in the
    place of a month wherever the text below says month (hours to work, brackets, rates).

    **Who is who.** `firms` is a number of firms that act by the rules below, or the name of a type of agents who play
    them; `households` is the name of the households' type, or None for all other agents. A firm is called by its
    number from 0, or by its agent's id where agents play.

    **A month.** Agents see the state of the month's start and act. As the tick ends, in this order: (1) firms pay the
    hours that were worked, as far as they have money (short time, shared in proportion), less income tax; of hours come
    goods. (2) The government gives `rebate_share` of the tax back and pays the transfer. (3) Households buy, first from
    firms that they named, then each from the cheapest of `visits` firms drawn by lot, and from the next where that was
    sold out; a firm short of stock shares it in proportion to what was asked. `spoils` of what is left goes bad.
    (4) Firms pay `dividend_share` of what they own beyond a month's wages to all households. (5) Overdrafts pay a
    twelfth of `loan_rate`; each twelfth month savings are credited `interest_rate` and the government pays on its debt.
    (6) Workers quit, are separated (`separation_rate`), dismissed and hired. (7) The month's figures are put down.
    Who says nothing in a month neither works nor buys in it.

    **Acts of households.** `work(hours=)`; `consume(cents=)`, or `consume_share(share=)` of what is in the wallet as
    the market opens; `buy_from(firm=, cents=)`; `apply(firm=)`, -1 for any that hires; `resign()`; `save(cents=)`
    and `withdraw(cents=)`, at once; `pay(to=, cents=)` to an agent, at once; `month(hours=, consume_cents=,
    save_cents=, search=)`, the usual ones in one act, for agents in columns (`save_cents` below 0 withdraws, `search`
    is 0 or 1).
    **Acts of firms.** `set_price(cents=)`, `set_wage(cents=)` an hour at skill 1, `post_vacancies(count=)`,
    `dismiss(agent=)`, `pay`. Refusals: `bad_arguments`, `no_household`, `no_firm`, `no_job`, `not_on_account`,
    `not_saved`, `unknown_firm`, `unknown_agent`, `not_employed`, `below_minimum`.

    **Rules of firms that nobody plays.** Prices follow excess demand (`Firms.move_prices`, `price_speed`), wages the
    excess demand for labour (`Firms.move_wages`, `wage_speed`), and a firm wants the workers who make what it reckons
    to sell and to hold in stock (`Firms.plan`, `memory`, `inventory_months`), as far as it can pay them; it dismisses
    `dismissal_speed` of those beyond, and posts a vacancy for each that lacks.

    **The state.** `brackets` (from_cents a month, rate) and `flat_rate` tax wages. `transfer_cents` a month go to each
    of `transfer_to`: 'all', 'poorest_fifth' (wallet and savings), 'lowest_paid_fifth' (this month's wage),
    'unemployed', or households whose public field of that name is true. `transfer_funding` is 'issue' (new money),
    'flat' or 'progressive' (a levy in proportion to wages, or to what `brackets` take of them, exact to the cent), or
    'debt' (the government's account goes below zero).

    **Money** comes from the central bank alone: as endowment, as issue, and where the bank owes more to savers than it
    holds. The bank hands its surplus to the government at a year's end. `accounts` and `savings` say where it all is;
    at each step of a month's end `BooksDoNotBalance` names the transaction that was not double.

    **Seen**: `wallet_cents`, `savings_cents`, `employer` (-1 for none), `wage_cents` (one's own, an hour), `hours`,
    `income_cents`, `spent_cents`, `bought_units` (of last month), `months_jobless`, `price_cents`, `inflation_year`,
    `unemployment_rate`, `vacancies`, `interest_rate`, `transfer_cents` (what those entitled are given
    a month). Where agents play firms: also `stock_units`, `demand_units`, `sold_units`, `revenue_cents`,
    `workers`, `own_price_cents`, `own_wage_cents`, which are 0 for households.
    **Looks**: `offers(n=5)`, `figures(ago=0)`, `firm(firm=)`, `workers(firm=)`.

    **Signals** for levers with triggers: `unemployment_rate`, `inflation_year`, and of each agent `wealth_cents`.

    Levers set what stands in `settable`, at a month's start.
    """

    name = "economy"
    unsaved = ("pending", "_schedule", "_digests")
    settable: Mapping[str, Any] = policy.SETTABLE

    def __init__(
        self,
        firms: int | str = 5,
        households: str | None = None,
        *,
        wallet_cents: int | ArrayLike = 500_000,
        firm_cents: int = 10_000_000,
        stock_units: int = 1_000,
        price_cents: float = 100.0,
        wage_cents: float = 2_000.0,
        skill: float | ArrayLike = 1.0,
        employed: float = 0.95,
        productivity: float = 20.0,
        full_hours: float = 168.0,
        most_hours: float = 300.0,
        price_speed: float = 0.1,
        wage_speed: float = 0.05,
        memory: float = 0.5,
        inventory_months: float = 0.25,
        spoils: float = 0.0,
        visits: int = 2,
        dismissal_speed: float = 0.25,
        separation_rate: float = 0.01,
        dividend_share: float = 0.5,
        firm_credit_cents: int = 3_000_000,
        minimum_wage_cents: float = 0.0,
        brackets: Sequence[tuple[float, float]] = US_2019,
        flat_rate: float = 0.0,
        rebate_share: float = 1.0,
        transfer_cents: int = 0,
        transfer_to: str = "all",
        transfer_funding: Funding = "issue",
        interest_rate: float = 0.03,
        loan_rate: float = 0.05,
        credit_limit_cents: int = 0,
        keep_months: int = 1_200,
        month_ticks: int = 1,
        name: str | None = None,
    ) -> None:
        """Amounts and skills are one for all, or one for each household. Raises ScenarioError for what cannot be."""
        super().__init__(name)
        self.price_speed, self.wage_speed, self.memory = price_speed, wage_speed, memory
        self.productivity, self.full_hours, self.most_hours = productivity, full_hours, most_hours
        self.inventory_months, self.spoils, self.visits = inventory_months, spoils, visits
        self.dismissal_speed, self.separation_rate = dismissal_speed, separation_rate
        self.dividend_share, self.firm_credit_cents = dividend_share, firm_credit_cents
        self.minimum_wage_cents, self.brackets, self.flat_rate = (
            minimum_wage_cents,
            Schedule(brackets).brackets,
            flat_rate,
        )
        self.rebate_share, self.transfer_cents, self.transfer_to = rebate_share, transfer_cents, transfer_to
        self.transfer_funding, self.interest_rate, self.loan_rate = transfer_funding, interest_rate, loan_rate
        self.credit_limit_cents = credit_limit_cents
        given = {"employed": employed, "keep_months": keep_months, "month_ticks": month_ticks}
        for key, value in {**vars(self), **given}.items():
            policy.check(key, value)
        self.month_ticks = month_ticks
        if isinstance(firms, bool) or not isinstance(firms, int | str) or (isinstance(firms, int) and firms < 0):
            raise ScenarioError(f"Economy(firms={firms!r}): a number of firms, or the name of the type that plays them")
        amounts = {"firm_cents": firm_cents, "stock_units": stock_units, "price_cents": price_cents}
        for key, amount in {**amounts, "wage_cents": wage_cents}.items():
            least = 0.1 if key in ("price_cents", "wage_cents") else 0
            if not least <= amount <= 1e13:
                raise ScenarioError(f"Economy({key}={amount!r}): from {least} to 1e13")
        if not isinstance(households, str | None):
            raise ScenarioError(f"Economy(households={households!r}): the type whose agents are households, or None")
        self.household_type = households
        self._firms = firms
        self._opening = {**amounts, "wage_cents": wage_cents, "employed": employed}
        self._wallets, self._skills = np.asarray(wallet_cents), np.asarray(skill)
        self.typed = False
        self.debt_due = (0, 0)
        self.pending = Pending()
        self.statistics = Statistics(keep_months)
        self._schedule = Schedule(brackets)
        self._digests = RowDigests("economy", *_COLUMNS)

    def open(self, opening: Opening) -> None:
        """Open accounts, pay in endowments, and give jobs to `employed` of the households, dealt evenly by lot."""
        self.typed = bool(opening.counts)
        edges = np.cumsum([0, *opening.counts.values()])
        ids = {of: np.arange(*edges[at : at + 2]) for at, of in enumerate(opening.counts)}
        for of in (self._firms, self.household_type):
            if isinstance(of, str) and of not in ids:
                there = ", ".join(ids) or "none"
                raise ScenarioError(f"part '{self.name}': there is no type of agents {of!r}; there are: {there}")
        players = ids[self._firms] if isinstance(self._firms, str) else np.zeros(0, np.int64)
        rows = 0 if isinstance(self._firms, str) else self._firms
        self.accounts, self.savings = Accounts(rows, opening.agents), Savings(opening.agents)
        self.people = People(opening.agents)
        if self.household_type is None:
            self.people.role[:] = HOUSEHOLD
        else:
            self.people.role[ids[self.household_type]] = HOUSEHOLD
        self.people.role[players] = np.arange(len(players))
        who = np.flatnonzero(self.people.role == HOUSEHOLD)
        places = np.concatenate((self.accounts.first_firm + np.arange(rows), self.accounts.first_agent + players))
        self.firms = Firms(places, np.concatenate((np.full(rows, -1), players)))
        self._endow(opening, who)
        own = opening.fields.get(self.household_type, {}) if self.typed and self.household_type else opening.fields
        self._flags = [name for name, kind in own.items() if kind in (bool, int)]
        policy.check_target(self.transfer_to, self._flags)

    def _endow(self, opening: Opening, who: Ints) -> None:
        first, firms, accounts = self._opening, self.firms, self.accounts
        wallets = self._per_household("wallet_cents", self._wallets, len(who), 0, MOST_CENTS)
        self.people.skill[who] = self._per_household("skill", self._skills, len(who), 0, 1_000)
        accounts.transfer(
            "endowment", CENTRAL_BANK, accounts.first_agent + who, wallets.astype(np.int64), overdraft=None
        )
        accounts.transfer("endowment", CENTRAL_BANK, firms.account, int(first["firm_cents"]), overdraft=None)
        firms.stock[:], firms.price[:] = int(first["stock_units"]), first["price_cents"]
        firms.wage[:] = max(first["wage_cents"], self.minimum_wage_cents)
        if len(firms):
            words = opening.draw.words(f"{self.name}.first_jobs", who)
            hired = who[np.argsort(words, kind="stable")[: round(first["employed"] * len(who))]]
            self.people.employer[hired] = np.arange(len(hired)) % len(firms)
        count_workers(self)
        firms.expected[:] = firms.workers * self.full_hours * self.productivity
        accounts.close()
        accounts.check("endowment", -1)
        self._digest_all()

    def _per_household(self, key: str, values: NDArray[Any], count: int, low: float, high: float) -> NDArray[Any]:
        fits = values.dtype.kind in ("iu" if key == "wallet_cents" else "iuf") and values.shape in ((), (count,))
        if not fits or (values.size and not low <= float(values.min()) <= float(values.max()) <= high):
            kind = "whole cents" if key == "wallet_cents" else "a number"
            raise ScenarioError(
                f"Economy({key}=...): {kind} from {low:g} to {high:g}, one for all or for each of {count} households"
            )
        return np.broadcast_to(values, (count,))

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that the constructor would refuse."""
        policy.check(name, value)
        if name == "transfer_to":
            policy.check_target(value, self._flags)
        setattr(self, name, Schedule(value).brackets if name == "brackets" else value)

    def advance(self, tick: int) -> None:
        """End the month, if this is its last tick; see the class."""
        if (tick + 1) % self.month_ticks == 0:
            close(self, tick)
            self.pending = Pending()
        self._digest_touched()

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Newborns: households without a job and with empty accounts, or firms at the mean price and wage."""
        self.accounts.grow(len(ids))
        self.savings.grow(len(ids))
        self.people.grow(len(ids), self.world.tick + 1)
        types = self.world.roster.types_of(ids)
        names = np.array(self.world.roster.names)[types]
        firms = ids[names == self._firms].astype(np.int64) if isinstance(self._firms, str) else ids[:0].astype(np.int64)
        if len(firms):
            self.people.role[firms] = len(self.firms) + np.arange(len(firms))
            self.firms.grow(self.places(firms), firms)
        homes = names == self.household_type if self.household_type is not None else ~np.isin(ids, firms)
        self.people.role[ids[homes]] = HOUSEHOLD
        self._digest_touched()

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Those who leave: what they own goes to the government, a firm's workers lose their job, its stock is lost."""
        tick, accounts = self.world.tick, self.accounts
        self.people.leave_job(ids, tick)
        rows = self.people.role[ids]
        rows = rows[rows >= 0]
        self.people.role[ids] = GONE
        self.firms.alive[rows] = False
        self.firms.stock[rows], self.firms.vacancies[rows] = 0, 0
        out = np.flatnonzero(np.isin(self.people.employer, rows)) if len(rows) else rows
        self.people.leave_job(out, tick)
        saved = self.savings.cents[ids]
        accounts.transfer("withdraw", BANK, self.places(ids), saved)
        self.savings.add(ids, -saved)
        own = accounts.agents[ids]
        accounts.transfer("estate", self.places(ids), GOVERNMENT, np.maximum(own, 0))
        accounts.transfer("estate", GOVERNMENT, self.places(ids), np.maximum(-own, 0), overdraft=None)
        accounts.check("estate", tick)
        accounts.touched[ids], accounts.touched[out] = True, True
        count_workers(self)
        self._digest_touched()

    def _digest_all(self) -> None:
        self.accounts.touched[:] = True
        self._digest_touched()

    def _digest_touched(self) -> None:
        rows = np.flatnonzero(self.accounts.touched)
        saved = self.savings
        columns = (self.accounts.agents, saved.cents, saved.accrued, saved.seen, *self.people.columns())
        self._digests.put(rows, rows, *(column[rows] for column in columns))
        self.accounts.touched[:] = False

    def _rest(self) -> dict[str, Any]:
        """What the digest of agents' rows leaves out."""
        accounts = self.accounts
        return {
            "institutions": accounts.cents[: accounts.first_agent],
            "moved": accounts.moved,
            "month": accounts.month,
            "savings": [self.savings.index, self.savings.total],
            "firms": self.firms.state(),
            "statistics": self.statistics.state(),
            "debt_due": list(self.debt_due),
            **({} if self.month_ticks == 1 else {"pending": self.pending.state()}),
        }

    def digest(self) -> bytes:
        """Of agents' rows as they change, and of firms, institutions and statistics as a whole."""
        return join_digests(self._digests.digest(), state_digest(self._rest()))

    def state(self) -> dict[str, Any]:
        """All accounts, what is known of agents and firms, and the statistics."""
        return {
            "accounts": self.accounts.state(),
            "savings": self.savings.state(),
            "people": self.people.state(),
            "firms": self.firms.state(),
            "statistics": self.statistics.state(),
            "debt_due": list(self.debt_due),
            "pending": self.pending.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave. Raises ScenarioError for the state of another number of agents."""
        if len(state["people"]["role"]) != self.world.agents:
            raise ScenarioError(
                f"part '{self.name}' is of {self.world.agents} agents, the checkpoint of {len(state['people']['role'])}"
            )
        self.accounts.restore(state["accounts"])
        self.savings.restore(state["savings"])
        self.people.restore(state["people"])
        self.firms.restore(state["firms"])
        self.statistics.restore(state["statistics"])
        self.debt_due = (int(state["debt_due"][0]), int(state["debt_due"][1]))
        self.pending = Pending()
        self.pending.restore(state.get("pending", {}))
        self._digests = RowDigests("economy", *_COLUMNS)
        self._digest_all()
