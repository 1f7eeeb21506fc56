"""The rule mind of `basic_income`: saving for a buffer, less work where income comes without, distress by strain.

It goes by a household's own accounts and by prices; of policies it knows what they do to these. The figures were fixed
before the first run.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from populace.core.draws import Stream
from populace.probes import CESD10

BUFFER_MONTHS = 3.0
"""How much a household wants to have, in months of its usual income: a round figure of buffer-stock saving (Carroll
1997, doi:10.1162/003355397555109)."""
ADJUSTS = 0.08
"""The share of what lacks to the buffer, or is beyond it, that is saved or spent in a month: a quarter's propensity to
consume out of a windfall is then about a fifth, as in surveys of such estimates (Jappelli and Pistaferri 2010)."""
LEAST_SPENT = 0.3
"""The least share of its usual income that a household spends, if it has money: rent, food. A round figure."""
LESS_EARNED = 0.11
"""Dollars that are earned less for a dollar of income that isn't of work (Imbens, Rubin and Sacerdote 2001, lottery
winners, doi:10.1257/aer.91.4.778)."""
CALM = 0.4
"""An item's answer (0 to 3) of those without strain: a round figure; sums of ten are 5 to 8 in surveys."""
STRAIN = 0.5
"""What wholly missing the buffer adds to each item's answer: a round figure."""
JOBLESS = 0.25
"""What being without a job adds: half a standard deviation of about 5 points over ten items (Paul and Moser 2009,
doi:10.1016/j.jvb.2009.01.001: d = 0.51)."""
NOISE = 0.6
"""The standard deviation of an answer to an item: a round figure."""
Answer = Literal[0, 1, 2, 3]


class Month(msgspec.Struct):
    """Hours of work that are wanted in a month, and dollars to spend."""

    hours: float
    spend_usd: float


Mood: Any = msgspec.defstruct("Mood", [(name, Answer) for name in CESD10.item_names])
"""Answers to the ten items of the CES-D, 0 to 3 each."""


def month(facts: dict[str, Any], draw: Stream) -> Month:
    """Full time less what unearned income buys of leisure; usual income, more with a full buffer and less without."""
    wage, usual, wealth = max(facts["wage_usd"], 0.01), facts["usual_usd"], facts["wealth_usd"]
    hours = facts["full"] - LESS_EARNED * facts["unearned_usd"] / wage if facts["job"] == "employed" else 0.0
    spend = usual + ADJUSTS * (wealth - BUFFER_MONTHS * usual)
    return Month(min(facts["full"], max(0.0, hours)), min(max(spend, LEAST_SPENT * usual), max(wealth + usual, 0.0)))


def mood(facts: dict[str, Any], draw: Stream) -> Any:
    """Distress by financial strain and the loss of work: each item by a noisy answer, 0 to 3, reversed where it is."""
    target = BUFFER_MONTHS * max(facts["usual_usd"], 1.0)
    strain = min(1.0, max(0.0, 1.0 - facts["wealth_usd"] / target))
    level = CALM + STRAIN * strain + JOBLESS * (facts["job"] != "employed") + facts["temper"] - 0.5
    key = CESD10.scale("depression").key
    said = {name: min(3, max(0, round(level + draw.normal(0.0, NOISE)))) for name in CESD10.item_names}
    return Mood(**{name: one if key[name] > 0 else 3 - one for name, one in said.items()})


def opinion(facts: dict[str, Any], draw: Stream) -> str:
    """Who has less than the mean income gains by redistribution (Meltzer and Richard 1981); inflation costs support."""
    mean = max(facts["mean_usd"], 1.0)
    odds = 2.0 * (mean - facts["usual_usd"]) / mean - 0.1 * facts["inflation"]
    return "support" if draw.random() < 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, odds)))) else "oppose"


RULES = {"month": month, "mood": mood, "opinion": opinion}
