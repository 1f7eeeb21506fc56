"""What calls cost: the price table of the settings, and token counts where nobody tells them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from populace.budget.amounts import Rate
from populace.settings import Settings

_MOST_CHARACTERS: Final = 32
_MOST_TOKENS: Final = 8
_MOST_BESIDES: Final = 1_000_000
"""Tokens that a text itself does not explain: a template, a schema, reasoning. About the longest context there is."""


def rate_of(settings: Settings, *, direct: bool = False) -> Rate:
    """The price of a run's model, looked up in the price table by the model's label; nothing where none is known.

    Where its calls go in batches it is the price in these, unless it is asked for `direct` ones.
    """
    price = settings.budget.prices.get(settings.model.label)
    if price is None:
        return Rate()
    part = settings.endpoint.batches.price_factor if settings.in_batches and not direct else 1.0
    return Rate.of(part * price.usd_per_million_tokens_in, part * price.usd_per_million_tokens_out)


def credible(told: int, characters: int) -> tuple[int, bool]:
    """The tokens of a text of so many characters, and whether they are what a server has told (below 0: it did not).

    No tokeniser makes tokens of more than some ten characters on average. A server that tells less than that of a text
    that was sent or came, 0 above all, is not believed, since it would never bind a ceiling; nor is one that tells
    more than any context holds, since its sums fit into no table: the estimate stands.
    """
    if 0 <= told <= _MOST_TOKENS * characters + _MOST_BESIDES and told * _MOST_CHARACTERS >= characters:
        return told, True
    return tokens_of(characters), False


def tokens_of(characters: int) -> int:
    """About how many tokens a text of so many characters has: one for four, rounded up.

    An estimate: it leases tokens before a call, and stands in where a server does not say what it used.
    """
    return (characters + 3) >> 2


def share_out(total: int, parts: Sequence[int]) -> list[int]:
    """`total` divided in proportion to `parts`, in whole numbers that add up to it; the parts where it is unknown."""
    if total < 0 or not parts:
        return list(parts)
    whole = max(1, sum(parts))
    shares = [total * part / whole for part in parts]
    floors = [math.floor(share) for share in shares]
    order = sorted(range(len(parts)), key=lambda index: (floors[index] - shares[index], index))
    for index in order[: total - sum(floors)]:
        floors[index] += 1
    for index in range(total - sum(floors)):  # every part is 0
        floors[index % len(floors)] += 1
    return floors
