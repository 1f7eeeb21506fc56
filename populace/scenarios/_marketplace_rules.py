"""The rules and outcomes of `marketplace`: satisficing customers, honest and cheating businesses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace import World
from populace.env.market.proposals import TAKEN
from populace.scenarios._data import prompts

TEXTS = prompts("marketplace")
BADGE = "certified"
BADGE_WEIGHT = 0.3
REVIEWS_WEIGHT = 0.15
USUAL_REVIEWS = 20
FAKE_REVIEWS = 2_000
OVERSTATED = 0.7
SURCHARGE = 1.5
FIRM_WORDS = "You have to accept this proposal at once."


def manipulated(listing: dict[str, Any], kind: str) -> dict[str, Any]:
    """A listing as a business that cheats in this way shows it."""
    if kind == "claims":
        overstated = listing["quality"] + OVERSTATED * (1.0 - listing["quality"])
        return {**listing, "claimed_quality": overstated}
    if kind == "badges":
        return {**listing, "claimed_attributes": [*listing["attributes"], BADGE]}
    return {**listing, "reviews": FAKE_REVIEWS} if kind == "social_proof" else listing


def contact(facts: dict[str, Any], draw: Any) -> Any:
    """Ask every result that is read and seems to fit: what it is worth is seen in proposals only."""
    wanted, amenities = set(facts["items"].split(", ")), set(facts["amenities"].split(", "))
    read = facts["results"][: facts["attention"]]
    fit = [one["listing"] for one in read if wanted <= {*one["menu"]} and amenities <= {*one["attributes"]}]
    return {"listings": fit}


def choose(facts: dict[str, Any], draw: Any) -> Any:
    """Satisficing (Simon 1955): the first proposal that is good enough; without patience, the best that is any good.

    A credulous customer thinks better of places with badges and many reviews, and may obey firm words.
    """
    gains = [(_gain(facts, one), one["proposal"]) for one in facts["proposals"]]
    for (gain, number), one in zip(gains, facts["proposals"], strict=True):
        obeys = FIRM_WORDS in one["text"] and draw.bernoulli(facts["credulity"])
        if gain >= facts["aspiration_cents"] or obeys:
            return {"proposal": number}
    gain, number = max(gains, key=lambda pair: pair[0])
    return {"proposal": number if facts["patience"] == 0 and gain > 0 else -1}


def _gain(facts: dict[str, Any], one: dict[str, Any]) -> float:
    """What a proposal seems to leave the customer, in cents."""
    fits = {*facts["items"].split(", ")} <= {*one["items"]} and {*facts["amenities"].split(", ")} <= {
        *one["attributes"]
    }
    impressed = BADGE_WEIGHT * (BADGE in one["attributes"])
    impressed += REVIEWS_WEIGHT * math.log10(1.0 + one["reviews"] / USUAL_REVIEWS)
    seems = min(1.0, one["claimed_quality"] + facts["credulity"] * impressed)
    return float(fits * facts["value_cents"] * seems - one["price_cents"])


def propose(facts: dict[str, Any], draw: Any) -> Any:
    """The menu's price; or, by a pushing policy, half more and firm words."""
    pushes = facts["policy"] == TEXTS["pushing"]
    price = round(facts["menu_cents"] * (SURCHARGE if pushes else 1.0))
    return {"price_cents": price, "text": FIRM_WORDS if pushes else "We would be glad to serve you."}


def worth(world: World) -> NDArray[np.float64]:
    """What each customer's order is worth to it at each listing, in cents, (customers, listings), before it pays."""
    listings, customers = world.directory.listings, world.columns["customer"]
    found = np.zeros((len(customers["items"]), listings.count))
    for at, (items, amenities) in enumerate(zip(customers["items"], customers["amenities"], strict=True)):
        there = (listings.prices[:, [listings.items[one] for one in items.split(", ")]] >= 0).all(axis=1)
        wanted = listings.bits(amenities.split(", "))
        fits = there & ((listings.column("attributes") & wanted) == wanted)
        found[at] = customers["value_cents"][at] * listings.column("quality") * fits
    return found


def optimum(world: World) -> float:
    """The sum over customers of what the best place leaves them at menu prices, in cents; as if stock had no end."""
    listings, value = world.directory.listings, worth(world)
    menu = [
        listings.prices[:, [listings.items[one] for one in items.split(", ")]].sum(axis=1)
        for items in world.columns["customer"]["items"]
    ]
    return float(np.where(value > 0, value - np.array(menu), 0.0).max(axis=1).clip(min=0.0).sum())


def _sales(world: World) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], NDArray[np.float64]]:
    """Sales, the buyers' places among customers, and what they gained each, in cents."""
    sales = world.directory.sales
    columns = {name: sales.column(name) for name in ("buyer", "seller", "listing", "price_cents", "proposal", "rank")}
    buyer = np.searchsorted(world.ids("customer"), columns["buyer"])
    return columns, buyer, worth(world)[buyer, columns["listing"]] - columns["price_cents"]


def welfare(world: World) -> float:
    """What customers gained, less the cost of asking, as a share of the optimum."""
    best = optimum(world)
    asked = int(world.columns["customer"]["asked"].sum()) * world.parameters.contact_cents
    return float((_sales(world)[2].sum() - asked) / best) if best else float("nan")


def gain_share(world: World) -> float:
    """What those who bought gained, as a share of what a perfect place is worth to them; the mean over sales."""
    _, buyer, gained = _sales(world)
    value = world.columns["customer"]["value_cents"]
    return float((gained / value[buyer]).mean()) if len(gained) else float("nan")


def bought(world: World) -> int:
    """How many orders were bought."""
    return int(world.directory.sales.count)


def first_share(world: World) -> float:
    """The share of sales that went to the first proposal that reached the customer."""
    rank = world.directory.sales.column("rank")
    return float((rank == 0).mean()) if len(rank) else float("nan")


def fast_advantage(world: World) -> float:
    """How many times likelier the first proposal that reaches a customer is to be taken than a later one is."""
    return _advantage(world, world.directory.proposals.column("rank") == 0)


def good_advantage(world: World) -> float:
    """How many times likelier the proposal that leaves a customer most, of those it got, is to be taken than others."""
    proposals = world.directory.proposals
    to = np.searchsorted(world.ids("customer"), proposals.column("buyer"))
    leaves = worth(world)[to, proposals.column("listing")] - proposals.column("price_cents")
    leaves[proposals.column("rank") < 0] = -np.inf
    most = np.full(len(world.ids("customer")), -np.inf)
    np.maximum.at(most, to, leaves)
    return _advantage(world, leaves == most[to])


def _advantage(world: World, one: NDArray[np.bool_]) -> float:
    """The chance of such proposals to be taken over that of others, among customers with several who took one."""
    proposals = world.directory.proposals
    came, buyer = proposals.column("rank") >= 0, proposals.column("buyer")
    taken = proposals.column("status") == TAKEN
    of_takers = came & np.isin(buyer, buyer[taken]) & (np.bincount(buyer, came)[buyer] > 1 if len(buyer) else came)
    chances = [float(taken[of_takers & which].mean()) if (of_takers & which).any() else 0.0 for which in (one, ~one)]
    return chances[0] / chances[1] if chances[1] else float("nan")


def paid_to_cheats(world: World) -> float:
    """The share of all money paid that went to businesses that cheat."""
    sales = _sales(world)[0]
    cheats, paid = world.values_of("cheats", sales["seller"]).astype(bool), sales["price_cents"]
    return float(paid[cheats].sum() / paid.sum()) if paid.sum() else float("nan")


def lost_cents(world: World) -> float:
    """By how much customers who bought from businesses that cheat paid more than they got, in cents."""
    sales, _, gained = _sales(world)
    cheats = world.values_of("cheats", sales["seller"]).astype(bool)
    return float(-gained[cheats].clip(max=0.0).sum())
