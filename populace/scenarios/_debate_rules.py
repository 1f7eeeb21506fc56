"""The rule mind of `debate`: anchoring and conformity, the pull of a mind's own prior, and the cost of rude words.

In each turn the private stance becomes a start + (1 - a) now + c (1 - a) (mean - now) + b (prior - now) + N(0, 0.15),
with stubbornness a, conformity c and prior pull b (Friedkin and Johnsen 1990, doi:10.1080/0022250X.1990.9990069, with a
prior of the mind's own). In public it leans to what is heard by the cost of dissent. An argument wins the hearer over
with a chance of receptiveness times a strength U(0, 1.2), less a fifth where it is rude, and a rude word draws an
off-topic answer with a chance of a tenth, which persuades nobody.
"""

from __future__ import annotations

import re
from typing import Any

from populace.core.draws import Stream
from populace.scenarios._debate_text import Turn, stances

NOISE = 0.15
STRENGTH = 1.2
REACTANCE = 0.2
OFF_TOPIC = 0.1
RUDE = frozenset({"fool", "idiot", "stupid", "nonsense", "liar", "shut"})


def rude(text: str) -> bool:
    """Whether a text holds a rude word."""
    return not RUDE.isdisjoint(re.findall(r"[a-z]+", text.lower()))


def argues(text: str) -> bool:
    """Whether a text gives a reason."""
    return "because" in text.lower()


def turn(facts: dict[str, Any], draw: Stream) -> Turn:
    """One turn, as the module says."""
    heard: list[str] = facts["heard"]
    a, c, start, now = (facts[name] for name in ("stubbornness", "conformity", "start", "stance"))
    others = stances(heard)
    mean = (now + sum(others)) / (1 + len(others))
    private = now
    if others:
        private = a * start + (1 - a) * now + c * (1 - a) * (mean - now) + draw.normal(0.0, NOISE)
    private += facts["prior_pull"] * (facts["prior"] - now)
    gives_in = False
    for text in heard:
        chance = facts["receptiveness"] * draw.uniform(0.0, STRENGTH) * (1 - REACTANCE * rude(text))
        gives_in |= draw.bernoulli(chance) and argues(text)
    if gives_in:
        private = others[-1] if others else private
    private = min(max(private, 1.0), 6.0)
    public = private + facts["dissent_cost"] * (mean - private) if others else private
    strays = draw.bernoulli(OFF_TOPIC) and any(map(rude, heard))
    words = "That is no way to talk" if strays else "I think so because it is right"
    insult = ", you fool" if draw.bernoulli(facts["toxicity"]) else ""
    return Turn(argument=f"{words}{insult}.", private=private, public=public, gives_in=gives_in)


RULES = {"turn": turn}
