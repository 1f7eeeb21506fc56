"""The rule mind of `anes`: everybody answers by party alone, the simplest of the theories of voting.

A vote goes to the candidate of one's party, by lot where one has none (Campbell, Converse, Miller and Stokes 1960, The
American Voter). Self-placement is 4 and two thirds of a point for each step of identification away from the middle;
Clinton is placed at 3 and Dole at 5 by independents, each half a point nearer to the pole by the other party's people
for each step. All are rounded. Without party, votes and places are those of an independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from populace.core.draws import Stream
from populace.scenarios._data import prompts


def lean(facts: dict[str, Any]) -> float:
    """Steps of identification away from the middle: -3 strong Democrat to 3 strong Republican, 0 where none is told."""
    for step, party in enumerate(prompts("anes96")["parties"], -3):
        if f"{party}." in facts["party"]:
            return float(step)
    return 0.0


def vote(facts: dict[str, Any], draw: Stream) -> str:
    """The candidate of one's party."""
    side = lean(facts)
    dole = draw.bernoulli(0.5) if side == 0 else side > 0
    return "Dole" if dole else "Clinton"


def placed(middle: float, slope: float) -> Callable[[dict[str, Any], Stream], str]:
    """A place on the scale, linear in the lean and rounded."""

    def place(facts: dict[str, Any], draw: Stream) -> str:
        return str(min(max(math.floor(middle + slope * lean(facts) + 0.5), 1), 7))

    return place


RULES = {"vote": vote, "selfLR": placed(4.0, 2 / 3), "ClinLR": placed(3.0, -0.5), "DoleLR": placed(5.0, -0.5)}
