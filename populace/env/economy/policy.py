"""What levers may set, within which bounds; who is given a transfer, and who pays for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.economy.accounts import CENTRAL_BANK, GOVERNMENT, MOST_CENTS
from populace.env.economy.sharing import Ints, lowest, share_evenly, share_out
from populace.env.economy.taxes import Schedule

if TYPE_CHECKING:
    from populace.env.economy.base import Holdings

Funding = Literal["issue", "flat", "progressive", "debt"]

SETTABLE: Final[Mapping[str, Any]] = {
    "transfer_cents": int,
    "transfer_to": str,
    "transfer_funding": Funding,
    "brackets": list[tuple[float, float]],
    "flat_rate": float,
    "rebate_share": float,
    "interest_rate": float,
    "loan_rate": float,
    "credit_limit_cents": int,
    "minimum_wage_cents": float,
    "price_speed": float,
    "wage_speed": float,
    "separation_rate": float,
    "dismissal_speed": float,
    "dividend_share": float,
    "productivity": float,
    "full_hours": float,
    "most_hours": float,
    "inventory_months": float,
    "memory": float,
    "spoils": float,
    "visits": int,
    "firm_credit_cents": int,
}

_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "transfer_cents": (0, MOST_CENTS),
    "flat_rate": (0, 1),
    "rebate_share": (0, 1),
    "interest_rate": (0, 1),
    "loan_rate": (0, 1),
    "credit_limit_cents": (0, MOST_CENTS),
    "minimum_wage_cents": (0, 1e9),
    "price_speed": (0, 1),
    "wage_speed": (0, 1),
    "separation_rate": (0, 1),
    "dismissal_speed": (0, 1),
    "dividend_share": (0, 1),
    "productivity": (0, 1e9),
    "firm_credit_cents": (0, MOST_CENTS),
    "full_hours": (1, 744),
    "most_hours": (1, 744),
    "inventory_months": (0, 1200),
    "memory": (0, 1),
    "spoils": (0, 1),
    "visits": (1, 10),
    "employed": (0, 1),
    "keep_months": (13, 100_000),
    "month_ticks": (1, 1_000_000),
}

TARGETS: Final = ("all", "poorest_fifth", "lowest_paid_fifth", "unemployed")


def check(name: str, value: Any) -> None:
    """Raise ScenarioError for a value that a parameter of the economy cannot have."""
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        if type(value) not in (int, float) or not low <= value <= high:
            raise ScenarioError(f"Economy({name}={value!r}): it is a number from {low:g} to {high:g}")
        if type(value) is not int and (name in ("keep_months", "month_ticks") or SETTABLE.get(name) is int):
            raise ScenarioError(f"Economy({name}={value!r}): it is a whole number from {low:g} to {high:g}")
    elif name == "brackets":
        Schedule(value)
    elif name == "transfer_funding" and value not in ("issue", "flat", "progressive", "debt"):
        raise ScenarioError(f"Economy(transfer_funding={value!r}): it is one of issue, flat, progressive, debt")


def recipients(economy: Holdings, wages: Ints) -> NDArray[np.int64]:
    """The households that are given the month's transfer, sorted ids; `wages` are this month's, gross, by id."""
    target, ids = economy.transfer_to, economy.households
    if target == "all":
        return ids
    if target == "unemployed":
        return ids[economy.people.employer[ids] < 0]
    if target in ("poorest_fifth", "lowest_paid_fifth"):
        own = economy.accounts.agents[ids] + economy.savings.cents[ids]
        values = own if target == "poorest_fifth" else wages[ids]
        return ids[lowest(values, len(ids) // 5, economy.words("transfer", ids))]
    return ids[_flag(economy, target)]


def check_target(target: Any, flags: Collection[str]) -> None:
    """Raise ScenarioError where a transfer is meant for none of `TARGETS` and for none of these fields."""
    if target not in TARGETS and target not in flags:
        raise ScenarioError(
            f"economy.transfer_to = {target!r}: it is one of {', '.join(TARGETS)}, or the name of a public field of "
            "households, bool or int, which is true of those who are given it"
        )


def _flag(economy: Holdings, name: str) -> NDArray[np.bool_]:
    columns = economy.world.columns
    if economy.typed and economy.household_type is not None:
        columns = columns[economy.household_type]
    flags: NDArray[np.bool_] = columns[name].astype(np.bool_)
    return flags


def transfer(economy: Holdings, wages: Ints, net: Ints, add: Callable[[NDArray[np.integer], Ints], None]) -> int:
    """Pay the month's transfer, funded as `transfer_funding` says; gives the total in cents.

    A levy is shared out to the cent: 'flat' in proportion to this month's wages, 'progressive' in proportion to what
    `brackets` take of them; nobody pays more than the month's `net` wage. What a levy does not raise is debt.
    `add(ids, cents)` is told what each was given.
    """
    if not economy.transfer_cents:
        return 0
    to = recipients(economy, wages)
    total, accounts = len(to) * economy.transfer_cents, economy.accounts
    if not total:
        return 0
    if economy.transfer_funding == "issue":
        accounts.transfer("issue", CENTRAL_BANK, GOVERNMENT, total)
    elif economy.transfer_funding in ("flat", "progressive"):
        payers = np.flatnonzero(wages > 0)
        weights = wages[payers]
        if economy.transfer_funding == "progressive":
            weights = economy.schedule.tax(weights)
        if len(payers):
            group = np.zeros(len(payers), np.int64)
            share = share_out(np.array([total]), group, weights, economy.words("levy", payers))
            share = np.minimum(share, net[payers])
            accounts.transfer("levy", economy.places(payers), GOVERNMENT, share, overdraft=None)
            add(payers, -share)
    accounts.transfer("transfer", GOVERNMENT, economy.places(to), economy.transfer_cents, overdraft=None)
    add(to, np.full(len(to), economy.transfer_cents, np.int64))
    return total


def rebate(economy: Holdings, taxes: int, add: Callable[[NDArray[np.integer], Ints], None]) -> int:
    """Give `rebate_share` of the month's taxes back to all households in equal shares; gives the total in cents."""
    ids, total = economy.households, int(taxes * economy.rebate_share)
    if not total or not len(ids):
        return 0
    shares = share_evenly(total, len(ids), economy.word("rebate"))
    economy.accounts.transfer("rebate", GOVERNMENT, economy.places(ids), shares, overdraft=None)
    add(ids, shares)
    return total
