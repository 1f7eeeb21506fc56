"""What is measured of a directory: what buyers gained, of what there was to gain, and who was paid. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.env.market.directory import Directory
from populace.env.market.proposals import TAKEN
from populace.env.world import World

NAN = float("nan")


class Wants(NamedTuple):
    """What buyers want: a row a buyer.

    `ids` are the buyers' ids, ascending; `items` and `attributes` lists of names for each; `value_cents` what all of
    the items are worth to it at a quality of 1, where all attributes are there. It is worth nothing elsewhere.
    """

    ids: NDArray[Any]
    items: Sequence[Sequence[str]]
    attributes: Sequence[Sequence[str]]
    value_cents: NDArray[Any]
    spent_cents: float = 0.0
    """What the search cost them all, beside prices."""

    @classmethod
    def of(
        cls,
        ids: NDArray[Any],
        items: Iterable[str],
        attributes: Iterable[str],
        value_cents: NDArray[Any],
        spent_cents: float = 0.0,
    ) -> Wants:
        """Wants from public fields in which names are parted by commas: 'soup, salad'."""
        wished, liked = ([one.split(", ") if one else [] for one in column] for column in (items, attributes))
        return cls(ids, wished, liked, value_cents, spent_cents)

    def places(self, directory: Directory, at: int) -> list[int]:
        """The columns of a buyer's items in the directory's menus."""
        return [directory.listings.items[one] for one in self.items[at]]


def worth_cents(directory: Directory, wants: Wants) -> NDArray[np.float64]:
    """What each buyer's items are worth to it at each listing, in cents, (buyers, listings), before it pays."""
    listings = directory.listings
    found = np.zeros((len(wants.ids), listings.count))
    for at, attributes in enumerate(wants.attributes):
        bits = listings.bits(attributes)
        there = (listings.prices[:, wants.places(directory, at)] >= 0).all(axis=1)
        fits = there & ((listings.column("attributes") & bits) == bits)
        found[at] = wants.value_cents[at] * listings.column("quality") * fits
    return found


def optimum_cents(directory: Directory, wants: Wants) -> float:
    """The sum over buyers of what the best listing leaves them at menu prices, in cents; as if stock had no end."""
    prices, value = directory.listings.prices, worth_cents(directory, wants)
    menu = np.array([prices[:, wants.places(directory, at)].sum(axis=1) for at in range(len(wants.ids))])
    return float(np.where(value > 0, value - menu, 0.0).max(axis=1).clip(min=0.0).sum())


def gained_cents(directory: Directory, wants: Wants) -> NDArray[np.float64]:
    """What each kept sale left its buyer, in cents, (sales,): what the order is worth there, less the price."""
    sales = directory.sales
    buyer = np.searchsorted(wants.ids, sales.column("buyer"))
    worth = worth_cents(directory, wants)[buyer, sales.column("listing")]
    return np.asarray(worth - sales.column("price_cents"), np.float64)


def welfare(directory: Directory, wants: Wants) -> float:
    """What buyers gained, less what they spent on the search, as a share of the optimum; NaN without an optimum."""
    best = optimum_cents(directory, wants)
    return float((gained_cents(directory, wants).sum() - wants.spent_cents) / best) if best else NAN


def gain_share(directory: Directory, wants: Wants) -> float:
    """What who bought gained, as a share of `value_cents`; the mean over sales."""
    gained = gained_cents(directory, wants)
    value = np.asarray(wants.value_cents)[np.searchsorted(wants.ids, directory.sales.column("buyer"))]
    return float((gained / value).mean()) if len(gained) else NAN


def first_share(directory: Directory) -> float:
    """The share of sales that went to the first proposal that reached the buyer."""
    rank = directory.sales.column("rank")
    return float((rank == 0).mean()) if len(rank) else NAN


def advantage(directory: Directory, which: NDArray[np.bool_]) -> float:
    """How many times likelier these proposals are to be taken than others, of buyers with several who took one.

    `which` is a mask of the kept proposals. NaN where no other was taken.
    """
    proposals = directory.proposals
    came, buyer = proposals.column("rank") >= 0, proposals.column("buyer")
    taken = proposals.column("status") == TAKEN
    of_takers = came & np.isin(buyer, buyer[taken]) & (np.bincount(buyer, came)[buyer] > 1 if len(buyer) else came)
    chances = [float(taken[of_takers & one].mean()) if (of_takers & one).any() else 0.0 for one in (which, ~which)]
    return chances[0] / chances[1] if chances[1] else NAN


def fast_advantage(directory: Directory) -> float:
    """The `advantage` of the first proposal that reaches a buyer."""
    return advantage(directory, directory.proposals.column("rank") == 0)


def good_advantage(directory: Directory, wants: Wants) -> float:
    """The `advantage` of the proposal that leaves a buyer most, of those it got."""
    proposals = directory.proposals
    to = np.searchsorted(wants.ids, proposals.column("buyer"))
    leaves = worth_cents(directory, wants)[to, proposals.column("listing")] - proposals.column("price_cents")
    leaves[proposals.column("rank") < 0] = -np.inf
    most = np.full(len(wants.ids), -np.inf)
    np.maximum.at(most, to, leaves)
    return advantage(directory, leaves == most[to])


def paid_share(directory: Directory, sellers: ArrayLike) -> float:
    """The share of all money paid that went to these sellers, by id; NaN where nothing was paid."""
    paid, theirs = directory.sales.column("price_cents"), np.isin(directory.sales.column("seller"), sellers)
    return float(paid[theirs].sum() / paid.sum()) if paid.sum() else NAN


def lost_cents(directory: Directory, wants: Wants, sellers: ArrayLike) -> float:
    """By how much buyers from these sellers paid more than they got, in cents, over the sales that cost them."""
    theirs = np.isin(directory.sales.column("seller"), sellers)
    return float(-gained_cents(directory, wants)[theirs].clip(max=0.0).sum())


def outcomes(wants: Callable[[World], Wants], part: str = "directory") -> dict[str, Callable[[World], float]]:
    """Outcomes of a society with such a part, by name: measures of this module, and two more.

    They are welfare, gain_share, first_share, fast_advantage and good_advantage; `served` is sales a buyer, and
    `money_cents` what is on all accounts.
    """
    return {
        "welfare": lambda world: welfare(world.parts[part], wants(world)),
        "gain_share": lambda world: gain_share(world.parts[part], wants(world)),
        "first_share": lambda world: first_share(world.parts[part]),
        "fast_advantage": lambda world: fast_advantage(world.parts[part]),
        "good_advantage": lambda world: good_advantage(world.parts[part], wants(world)),
        "served": lambda world: world.parts[part].sales.count / len(wants(world).ids),
        "money_cents": lambda world: int(world.parts[part].ledger.cents.sum()),
    }
