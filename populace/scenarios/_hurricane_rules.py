"""The rule mind of `hurricane`: a trip is worth the need it meets, less the danger that it exposes one to.

It goes by a person's needs, the hour and the danger it perceives; whether there was a warning it knows by what that did
to the danger. The figures are round ones, of utility in units of a meal out after two days at home; they were fixed
before the first run.
"""

from __future__ import annotations

import math
from typing import Any

from populace.core.draws import Stream

PLACES = ("home", "work", "shop", "leisure", "shelter")
WORK = 2.0
"""What keeping to one's hours of work is worth."""
FOOD = 3.0
"""What shopping is worth with nothing left in the house: needs that are more basic weigh more (Maslow 1943)."""
LEISURE = 1.5
"""What going out is worth to who has long not been out."""
DANGER = 4.0
"""What full danger takes from each trip that isn't to safety (protective action decision model, Lindell and Perry 2012,
doi:10.1111/j.1539-6924.2011.01647.x)."""
HOME = 0.5
"""What an evening at home is worth."""
ORDER = 4.0
"""What an order to leave is worth to who trusts officials wholly: warnings and orders act through trust (ibid.)."""
NOISE = 0.5
"""The scale of a logit's noise."""


def go(facts: dict[str, Any], draw: Stream) -> str:
    """The place of the highest worth, by a logit: discretionary trips stop before those for food."""
    hour, danger = facts["hour"], facts["danger"]
    worth = {
        "home": HOME,
        "work": WORK - DANGER * danger if facts["works"] == "yes" and hour < 18 else -10.0,
        "shop": FOOD * (1.0 - facts["food"]) - DANGER * danger,
        "leisure": LEISURE * (1.0 - facts["leisure"]) - DANGER * danger,
        "shelter": ORDER * facts["trust"] if facts["order"] else -10.0,
    }
    top = max(worth.values())
    return str(draw.weighted(PLACES, [math.exp((worth[one] - top) / NOISE) for one in PLACES]))


RULES = {"go": go}
