"""The rule mind of `games`: reinforcement that weighs losses, and a weight on the partner's payoff that words move.

Experience decays by 0.9 a play and choice is logit with temperature 2 (Erev and Roth 1998; Camerer and Ho 1999). A win
reinforces the move by its size; a loss takes off and gives as much to the move that won, times the loss aversion
(Kahneman and Tversky 1979; imitation of what did better, Vega-Redondo 1997); a draw is worth 0.15 of a loss averted.
Before any experience a move is worth what it brings, oneself and by the weight the partner, if the partner's moves are
equally likely.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from populace.core.draws import Stream

DECAY = 0.9
TEMPERATURE = 2.0
DRAW = 0.15
SHARING = frozenset({"community", "together", "team", "share", "friend", "neighbour"})
MARKET = frozenset({"wall", "broker", "market", "profit", "rival", "compete"})


def tone(frame: str) -> float:
    """How the words of a frame speak of others: 1 of sharing with them, -1 of a market among them, 0 of neither."""
    words = re.findall(r"[a-z]+", frame.lower())
    return float(np.sign(sum(word in SHARING for word in words) - sum(word in MARKET for word in words)))


def move(facts: dict[str, Any], draw: Stream) -> str:
    """A move by logit choice over its worth."""
    table, aversion = facts["payoffs"], facts["loss_aversion"]
    weight = facts["social_value"] + facts["suggestibility"] * tone(facts["frame"])
    labels = list(table)
    worth = {one: float(np.mean([own + weight * other for own, other in table[one].values()])) for one in labels}
    spread = max(abs(own - other) for row in table.values() for own, other in row.values()) or 1.0
    for age, past in enumerate(reversed(facts["history"])):
        mine, theirs = past["own"], past["others"][0]
        if mine is None or theirs is None:
            continue
        own, other = table[mine][theirs]
        fades, gain = DECAY**age, (own - other) / spread
        if gain > 0:
            worth[mine] += fades * gain
        elif gain < 0:
            worth[mine] += fades * aversion * gain
            worth[theirs] -= fades * aversion * gain
        else:
            worth[mine] += fades * DRAW * aversion
    best = max(worth.values())
    chosen: str = draw.weighted(labels, [float(np.exp((worth[one] - best) / TEMPERATURE)) for one in labels])
    return chosen


RULES = {"move": move}
