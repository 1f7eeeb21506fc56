"""Listings and wishes by lot, for sellers and buyers that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from populace.core.draws import Stream


def random_listing(
    draw: Stream,
    items: Sequence[str],
    attributes: Sequence[str] = (),
    *,
    name: str = "",
    menu: int = 6,
    price_cents: float = 1_000.0,
    price_spread: float = 0.5,
    attribute_share: float = 0.6,
    reviews: int = 20,
    delay_ticks: float = 0.0,
    stock: int | None = None,
) -> dict[str, Any]:
    """A listing that `Directory` takes, drawn.

    `menu` of the items, each at a price that is uniform within `price_spread` (a share) of `price_cents`; each
    attribute with a chance of `attribute_share`; a quality that is uniform from 0 to 1; fewer than `reviews` reviews;
    an exponential delay with a mean of `delay_ticks`; `stock` units of each item (None: enough for all).
    """
    chosen = draw.sample(items, min(menu, len(items)))
    low, high = 1.0 - price_spread, 1.0 + price_spread
    listing = {
        "name": name,
        "prices": {item: round(price_cents * draw.uniform(low, high)) for item in chosen},
        "attributes": [one for one in attributes if draw.bernoulli(attribute_share)],
        "quality": draw.random(),
        "reviews": draw.integer(reviews),
        "delay": draw.exponential(1.0) * delay_ticks,
    }
    return listing if stock is None else {**listing, "stock": dict.fromkeys(chosen, stock)}


def random_lists(draw: Stream, rows: int, names: Sequence[str], most: int) -> list[str]:
    """A column of wishes: one to `most` of the names in each row, parted by commas, as `Wants.of` reads them."""
    return [", ".join(draw.sample(names, 1 + draw.integer(most))) for _ in range(rows)]
