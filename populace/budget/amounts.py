"""A hard ceiling on money and tokens: the worst case is reserved before a call and settled after it.

Allowances form a tree: an experiment lends to its runs, a run to its shards' dispatchers, and a dispatcher reserves for
single calls. What is lent or reserved is *held*, and at every allowance and every moment

    spent + held <= ceiling

so the sum over any number of shards can't pass the ceiling, without a shard asking anybody before each call. A
reservation that does not fit is refused at once; nothing waits here.

The promise is as good as the worst case: `worst_case` bounds the tokens of a prompt by its bytes (byte-level
tokenisers never make more tokens than bytes) and those of the answer by `max_tokens`. A server that bills more than
was reserved is booked in full all the same, and counted in `overruns`, so that it can't hide. A call whose outcome is
unknown (a connection lost in the body, a deadline) may have been billed: settle it at its worst case.

Money is in whole pico-dollars (1e-12 USD), rounded up, since sums of binary fractions don't add up and a ceiling
must: 1 USD for a million tokens is 1,000,000 pico-dollars a token, and 64 bits hold nine million dollars.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import msgspec

PICO_USD: Final = 10**12
"""Pico-dollars in a US dollar."""

_TOKENS_A_MESSAGE: Final = 16
_TOKENS_A_CALL: Final = 64


class Amount(msgspec.Struct, frozen=True):
    """Tokens (in and out together) and pico-dollars. None of either can be negative in an allowance."""

    tokens: int = 0
    pico_usd: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.pico_usd + other.pico_usd)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.pico_usd - other.pico_usd)

    def fits(self, room: Amount) -> bool:
        """True when both parts are within `room`."""
        return self.tokens <= room.tokens and self.pico_usd <= room.pico_usd

    def at_most(self, other: Amount) -> Amount:
        """The lesser of each part."""
        return Amount(min(self.tokens, other.tokens), min(self.pico_usd, other.pico_usd))

    def at_least(self, other: Amount) -> Amount:
        """The greater of each part."""
        return Amount(max(self.tokens, other.tokens), max(self.pico_usd, other.pico_usd))

    def or_nothing(self) -> Amount:
        """Each part, or 0 where it is negative."""
        return Amount(max(0, self.tokens), max(0, self.pico_usd))

    @property
    def usd(self) -> float:
        """The money in US dollars, for people to read; not to calculate with."""
        return self.pico_usd / PICO_USD


NOTHING: Final = Amount()
UNLIMITED: Final = Amount(2**62, 2**62)
"""A ceiling that is never reached."""


class Rate(msgspec.Struct, frozen=True):
    """What a model costs, in pico-dollars a token."""

    pico_usd_in: int = 0
    pico_usd_out: int = 0

    @classmethod
    def of(cls, usd_per_million_tokens_in: float, usd_per_million_tokens_out: float) -> Rate:
        """The rate of a price list, in US dollars for a million tokens, rounded up to whole pico-dollars.

        Raises ValueError for a price that is negative or not finite.
        """
        return cls(pico_usd(usd_per_million_tokens_in, 10**6), pico_usd(usd_per_million_tokens_out, 10**6))

    def cost(self, tokens_in: int, tokens_out: int) -> Amount:
        """What so many tokens come to."""
        money = tokens_in * self.pico_usd_in + tokens_out * self.pico_usd_out
        return Amount(tokens_in + tokens_out, money)


def pico_usd(usd: float, per: int = 1) -> int:
    """`usd / per` in pico-dollars, rounded up; the decimal that was written counts, not its binary neighbour.

    >>> pico_usd(0.15, 10**6)
    150000
    """
    if not (math.isfinite(usd) and usd >= 0.0):
        raise ValueError(f"an amount of money must be a finite number >= 0, got {usd}")
    return math.ceil(Fraction(repr(float(usd))) * PICO_USD / per)


def ceiling(usd: float | None = None, tokens: int | None = None) -> Amount:
    """A ceiling in US dollars and tokens; None leaves that part unlimited. Raises ValueError for a negative one."""
    if tokens is not None and tokens < 0:
        raise ValueError(f"a ceiling of tokens must be >= 0, got {tokens}")
    # Rounded up, a ceiling would allow a fraction of a pico-dollar too much; floats of money don't go that far.
    return Amount(
        UNLIMITED.tokens if tokens is None else min(tokens, UNLIMITED.tokens),
        UNLIMITED.pico_usd if usd is None else min(pico_usd(usd), UNLIMITED.pico_usd),
    )


def worst_tokens_in(text_bytes: int, messages: int = 1, schema_bytes: int = 0) -> int:
    """The most tokens that a prompt can be: its UTF-8 bytes, the schema's, and what a chat template adds."""
    return text_bytes + schema_bytes + _TOKENS_A_MESSAGE * messages + _TOKENS_A_CALL


def worst_case(rate: Rate, text_bytes: int, messages: int, max_tokens: int, schema_bytes: int = 0) -> Amount:
    """What one call can cost at most. Reserve it for each call, repairs and retries among them."""
    return rate.cost(worst_tokens_in(text_bytes, messages, schema_bytes), max_tokens)


class Spent(msgspec.Struct):
    """What the calls of one arm and one purpose came to."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    pico_usd: int = 0

    def add(self, other: Spent) -> None:
        """Add another count to this one."""
        self.calls += other.calls
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.pico_usd += other.pico_usd


class Allowance(msgspec.Struct):
    """One node of the tree of budgets: what may be spent, what is held, what is spent and on what.

    `by` attributes what was settled here to (arm, purpose). `refused` counts reservations that did not fit.
    """

    ceiling: Amount = UNLIMITED
    spent: Amount = NOTHING
    held: Amount = NOTHING
    refused: int = 0
    overruns: int = 0
    by: dict[tuple[str, str], Spent] = {}

    @property
    def room(self) -> Amount:
        """What may still be reserved or lent; negative only after an overrun."""
        return self.ceiling - self.spent - self.held

    def fits(self, worst: Amount) -> bool:
        """Whether `worst` is within the room: the same, and quicker."""
        spent, held, ceiling = self.spent, self.held, self.ceiling
        return (
            spent.tokens + held.tokens + worst.tokens <= ceiling.tokens
            and spent.pico_usd + held.pico_usd + worst.pico_usd <= ceiling.pico_usd
        )

    def could_fit_later(self, worst: Amount) -> bool:
        """Whether `worst` would fit if all that is held came back unspent. False means: never again."""
        return worst.fits(self.ceiling - self.spent)

    # The calls of one dispatcher.

    def reserve(self, worst: Amount) -> bool:
        """Hold the worst case of one call; False, and nothing held, when it does not fit under the ceiling."""
        _check(worst)
        spent, held, ceiling = self.spent, self.held, self.ceiling
        tokens, pico_usd = held.tokens + worst.tokens, held.pico_usd + worst.pico_usd
        if spent.tokens + tokens > ceiling.tokens or spent.pico_usd + pico_usd > ceiling.pico_usd:
            self.refused += 1
            return False
        self.held = Amount(tokens, pico_usd)
        return True

    def settle(self, worst: Amount, rate: Rate, tokens_in: int, tokens_out: int, arm: str, purpose: str) -> Amount:
        """Book what a reserved call came to, and free the rest of its reservation. Gives back what was booked."""
        actual = rate.cost(tokens_in, tokens_out)
        self._free(worst)
        self.spent += actual
        if actual.tokens > worst.tokens or actual.pico_usd > worst.pico_usd:
            self.overruns += 1
        spent = self.by.get((arm, purpose))
        if spent is None:
            spent = self.by[arm, purpose] = Spent()
        spent.calls += 1
        spent.tokens_in += tokens_in
        spent.tokens_out += tokens_out
        spent.pico_usd += actual.pico_usd
        return actual

    def release(self, worst: Amount) -> None:
        """Free a reservation whose call certainly was not billed (it was never sent, or refused unread)."""
        self._free(worst)

    # Lending to the allowances below, and taking back.

    def lend(self, wanted: Amount, least: Amount) -> Amount:
        """Hold as much of `wanted` as there is room for, and give it back to be added to an allowance below.

        Nothing is lent when not even `least` (the worst case of one call) fits: that is the ceiling.
        """
        _check(wanted)
        grant = wanted.at_most(self.room.or_nothing())
        if not least.fits(grant):
            self.refused += 1
            return NOTHING
        self.held += grant
        return grant

    def take_back(self, lent: Amount, spent: Amount, unused: Amount) -> Amount:
        """An allowance below that was `lent` so much spent a part of it and gives `unused` back; what is still out.

        Spending beyond what was lent is booked in full, and counted in `overruns`; giving back more is a ValueError.
        """
        _check(spent)
        _check(unused)
        if not spent.fits(lent):
            self.overruns += 1
        left = (lent - spent).or_nothing()
        if not unused.fits(left):
            raise ValueError(f"{unused} was given back where only {left} is out: give back only what `hand_back` said")
        self._free(lent - left + unused)
        self.spent += spent
        return left - unused

    def borrow(self, grant: Amount) -> None:
        """What an allowance above lent raises this allowance's ceiling."""
        _check(grant)
        self.ceiling += grant

    def hand_back(self, keep: Amount) -> Amount:
        """Lower the ceiling by all room beyond `keep`, and say by how much: for `take_back` of the allowance above."""
        unused = (self.room - keep).or_nothing()
        self.ceiling -= unused
        return unused

    def _free(self, amount: Amount) -> None:
        _check(amount)
        tokens, pico_usd = self.held.tokens - amount.tokens, self.held.pico_usd - amount.pico_usd
        if tokens < 0 or pico_usd < 0:
            raise ValueError(f"{amount} was given back where only {self.held} is held: settle each reservation once")
        self.held = Amount(tokens, pico_usd)


def _check(amount: Amount) -> None:
    if amount.tokens < 0 or amount.pico_usd < 0:
        raise ValueError(f"an amount must not be negative, got {amount}")
