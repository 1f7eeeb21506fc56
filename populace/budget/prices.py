"""What calls cost: the price table of the settings, and token counts where nobody tells them."""

from __future__ import annotations

from populace.budget.amounts import Rate
from populace.settings import Settings


def rate_of(settings: Settings) -> Rate:
    """The price of a run's model, looked up in the price table by the model's label; nothing where none is known."""
    price = settings.budget.prices.get(settings.model.label)
    if price is None:
        return Rate()
    return Rate.of(price.usd_per_million_tokens_in, price.usd_per_million_tokens_out)


def tokens_of(characters: int) -> int:
    """About how many tokens a text of so many characters has: one for four, rounded up.

    An estimate: it leases tokens before a call, and stands in where a server does not say what it used.
    """
    return (characters + 3) >> 2
