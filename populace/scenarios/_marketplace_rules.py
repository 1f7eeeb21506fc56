"""The rule mind of `marketplace`: satisficing customers, businesses that follow their policy, and how cheats show off.

Customers go by what they are shown; which businesses cheat, and how, they do not know.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

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


class Contacts(msgspec.Struct):
    """Whom a customer asks: numbers of listings."""

    listings: list[int]


class Decision(msgspec.Struct):
    """Which proposal a customer takes: its number, or -1."""

    proposal: int


class Offer(msgspec.Struct):
    """What a business proposes."""

    price_cents: int
    text: str


def manipulated(listing: dict[str, Any], kind: str) -> dict[str, Any]:
    """A listing as a business that cheats in this way shows it."""
    if kind == "claims":
        overstated = listing["quality"] + OVERSTATED * (1.0 - listing["quality"])
        return {**listing, "claimed_quality": overstated}
    if kind == "badges":
        return {**listing, "claimed_attributes": [*listing["attributes"], BADGE]}
    return {**listing, "reviews": FAKE_REVIEWS} if kind == "social_proof" else listing


def contact(facts: dict[str, Any], draw: Any) -> Contacts:
    """Ask every result that is read and seems to fit: what it is worth is seen in proposals only."""
    wanted, amenities = set(facts["items"].split(", ")), set(facts["amenities"].split(", "))
    read = facts["results"][: facts["attention"]]
    fit = [one["listing"] for one in read if wanted <= {*one["menu"]} and amenities <= {*one["attributes"]}]
    return Contacts(fit)


def choose(facts: dict[str, Any], draw: Any) -> Decision:
    """Satisficing (Simon 1955): the first proposal that is good enough; without patience, the best that is any good.

    A credulous customer thinks better of places with badges and many reviews, and may obey firm words.
    """
    gains = [(_gain(facts, one), one["proposal"]) for one in facts["proposals"]]
    for (gain, number), one in zip(gains, facts["proposals"], strict=True):
        obeys = FIRM_WORDS in one["text"] and draw.bernoulli(facts["credulity"])
        if gain >= facts["aspiration_cents"] or obeys:
            return Decision(number)
    gain, number = max(gains, key=lambda pair: pair[0])
    return Decision(number if facts["patience"] == 0 and gain > 0 else -1)


def _gain(facts: dict[str, Any], one: dict[str, Any]) -> float:
    """What a proposal seems to leave the customer, in cents."""
    fits = {*facts["items"].split(", ")} <= {*one["items"]} and {*facts["amenities"].split(", ")} <= {
        *one["attributes"]
    }
    impressed = BADGE_WEIGHT * (BADGE in one["attributes"])
    impressed += REVIEWS_WEIGHT * math.log10(1.0 + one["reviews"] / USUAL_REVIEWS)
    seems = min(1.0, one["claimed_quality"] + facts["credulity"] * impressed)
    return float(fits * facts["value_cents"] * seems - one["price_cents"])


def propose(facts: dict[str, Any], draw: Any) -> Offer:
    """The menu's price; or, by a pushing policy, half more and firm words."""
    pushes = facts["policy"] == TEXTS["pushing"]
    price = round(facts["menu_cents"] * (SURCHARGE if pushes else 1.0))
    return Offer(price, FIRM_WORDS if pushes else "We would be glad to serve you.")


RULES = {"contact": contact, "choose": choose, "propose": propose}
