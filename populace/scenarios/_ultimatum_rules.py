"""The rule mind of `ultimatum`: inequity aversion (Fehr and Schmidt 1999, doi:10.1162/003355399556151).

A share is worth what it pays less `envy` times what the other gets more, less `guilt` times what it gets less. Who
answers takes what is worth more than nothing; who proposes knows how people are, not whom it meets, and offers what is
worth most on average. Tastes and their frequencies are those of the paper's Table III. They were fixed before the first
run. A rule is told neither the arm nor who set the offer.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from populace.core.draws import Stream
from populace.scenarios._data import prompts

TEXTS = prompts("ultimatum")
PIE = 10
ENVY = {0.0: 0.3, 0.5: 0.3, 1.0: 0.3, 4.0: 0.1}
GUILT = {0.0: 0.3, 0.25: 0.3, 0.6: 0.4}
WORDS = {name: {text: float(at) for at, text in TEXTS[name].items()} for name in ("envy", "guilt")}
"""What is said of a taste, and what it is."""


class Amount(msgspec.Struct):
    """So many dollars."""

    dollars: Annotated[int, msgspec.Meta(ge=0, le=PIE)]


def worth(own: float, other: float, envy: float, guilt: float) -> float:
    """What a split is worth to one who gets `own` of it."""
    return own - envy * max(0.0, other - own) - guilt * max(0.0, own - other)


def takes(offer: int, pie: int, envy: float) -> float:
    """The chance that an offer is accepted by a person of this taste; who is indifferent tosses a coin."""
    at = worth(offer, pie - offer, envy, 0.0)
    return 0.5 if at == 0.0 else float(at > 0.0)


def accepted(offer: int, pie: int) -> float:
    """The chance that an offer is accepted by anybody."""
    return sum(share * takes(offer, pie, envy) for envy, share in ENVY.items())


def tastes(facts: dict[str, Any]) -> tuple[float, float]:
    """How a person takes to getting less, and to getting more, than the other."""
    return WORDS["envy"][facts["envy"]], WORDS["guilt"][facts["guilt"]]


def offer(facts: dict[str, Any], draw: Stream) -> Amount:
    """The offer that is worth most on average; the smallest of such."""
    pie, (envy, guilt) = facts["pie"], tastes(facts)
    return Amount(max(range(pie + 1), key=lambda at: (accepted(at, pie) * worth(pie - at, at, envy, guilt), -at)))


def least(facts: dict[str, Any], draw: Stream) -> Amount:
    """The smallest offer that is worth something."""
    pie, (envy, _) = facts["pie"], tastes(facts)
    return Amount(next(at for at in range(pie + 1) if takes(at, pie, envy) == 1.0))


def answer(facts: dict[str, Any], draw: Stream) -> str:
    """Whether this offer is worth something."""
    return "accept" if draw.random() < takes(facts["offer"], facts["pie"], tastes(facts)[0]) else "reject"


RULES = {"offer": offer, "least": least, "answer": answer}
