"""The rule mind of `citizen`: where the evening goes by needs and food at home, and what is said by where one stands.

It goes by the facts of an ask alone, which the prompt says too; it knows neither what is closed nor who is paid what.
"""

from __future__ import annotations

import math
from typing import Any

from populace.core.draws import Stream
from populace.scenarios._citizen_day import EVENING


def evening(facts: dict[str, Any], draw: Stream) -> str:
    """A logit choice (Luce 1959) of what meets needs most: company, food for the days to come, or rest."""
    needs, few = facts["needs"], max(0.0, 1.0 - facts["meals"] / 6.0)
    worth = (3.0 * (1.0 - needs["social"]), 4.0 * few if facts["dollars"] >= 20 else 0.0, 2.0 * (1.0 - needs["energy"]))
    return str(draw.weighted(EVENING.labels, [math.exp(one) for one in worth]))


def say(facts: dict[str, Any], draw: Stream) -> str:
    """One's stance in words; what friends said is passed on now and then."""
    if facts["memories"] and draw.bernoulli(0.2):
        return f"A friend told me: {facts['memories'][0].removeprefix('A friend told me: ')}"
    return f"I am {facts['stance'].partition(' (')[0]}."


RULES = {"evening": evening, "say": say}
