"""What calls cost: the price table of the settings, and token counts where nobody tells them."""

from __future__ import annotations

from populace.budget.amounts import Rate
from populace.settings import Model


def rate_of(model: Model) -> Rate:
    """The price of this model, looked up in its price table by its label; nothing where no price is known."""
    price = model.prices.get(model.label)
    if price is None:
        return Rate()
    return Rate.of(price.usd_per_million_tokens_in, price.usd_per_million_tokens_out)


def tokens_of(characters: int) -> int:
    """About how many tokens a text of so many characters has: one for four, rounded up.

    An estimate: it leases tokens before a call, and stands in where a server does not say what it used.
    """
    return (characters + 3) >> 2
