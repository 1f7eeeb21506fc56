"""The rule mind of `polarization`: persuasive arguments, judged by how near they are to where one stands.

It goes by where a person stands, what it knows and what it has heard; who speaks to whom it isn't told.
"""

from __future__ import annotations

from typing import Any

from populace.agents.answers import Chosen
from populace.core.draws import Stream
from populace.mind import Attitude
from populace.scenarios._data import prompts

POSITIONS = {one["text"]: float(one["position"]) for one in prompts("polarization")["arguments"]}
"""Where each argument leads, from -1 (against) to 1 (in favour)."""
RATE = 0.5
"""How far a wholly new and fitting argument of strength 1 would move a person, of half the scale, before `openness`.

With the society's openness of 0.3, an argument of the mean strength (0.5) moves by 0.4 of the scale's 10 points. Group
discussions shift choices by about a point on scales of ten, on a handful of new arguments (Burnstein and Vinokur 1977,
doi:10.1016/0022-1031(77)90002-6): the order of magnitude is theirs, the figure a round one.
"""
ACCEPTANCE = 5.0
"""The latitude of acceptance where none is told, in points of the scale."""
REJECTION = 1.4
"""The least distance from which an argument moves nobody, of half the scale: in between its force falls linearly.

Sherif and Hovland (1961): what falls into the latitude of rejection doesn't persuade. A round figure.
"""


def weigh(facts: dict[str, Any], draw: Stream) -> Chosen:
    """Where a person stands once it has heard: each new argument moves it in its sign (Burnstein and Vinokur 1977).

    By how much goes by the argument's strength and by its fit with the latitude of acceptance (Sherif and Hovland
    1961). What is known already moves nothing. The chance to agree is where it then stands.
    """
    acceptance = facts.get("acceptance", ACCEPTANCE) / 5.0
    mind = Attitude(
        position=min(1.0, max(-1.0, facts["attitude"] / 5.0 - 1.0)),
        acceptance=acceptance,
        rejection=max(REJECTION, acceptance),
        rate=RATE,
        arguments=list(facts.get("known", [])),
    )
    for text in sorted((one for one in POSITIONS if one in facts["heard"]), key=facts["heard"].index):
        mind.weigh(text, POSITIONS[text], POSITIONS[text])
    agrees = (mind.position + 1.0) / 2.0
    return Chosen("agree" if agrees >= 0.5 else "disagree", {"agree": agrees, "disagree": 1.0 - agrees})


def tell(facts: dict[str, Any], draw: Stream) -> str:
    """One of the arguments that a person knows, likelier the nearer it leads to where it stands itself."""
    known = [one for one in facts.get("known", POSITIONS) if one in POSITIONS] or list(POSITIONS)
    stands = facts["attitude"] / 5.0 - 1.0
    return str(draw.weighted(known, [max(0.05, 1.0 - abs(POSITIONS[one] - stands)) for one in known]))


def persuade(facts: dict[str, Any], draw: Stream) -> str:
    """Any of the arguments of its side."""
    sign = 1.0 if facts["side"] == "for" else -1.0
    return str(draw.choice([text for text, position in POSITIONS.items() if sign * position > 0.0]))


RULES = {"verdict": weigh, "reason": tell, "persuade": persuade}
