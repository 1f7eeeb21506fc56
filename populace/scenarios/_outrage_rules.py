"""The rule mind of `outrage`: arousal builds up with what is heard, and arousal and duty make one pass it on.

It goes by the messages and the person; who moderates, and how, it isn't told. The figures below are round ones; what is
taken from sources is which way they point. They were fixed before the first run.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from populace.core.draws import Stream

PER_AROUSAL = 4.0
"""Log-odds of passing on that full arousal adds: content that arouses is passed on more (Berger and Milkman 2012,
doi:10.1509/jmr.10.0353)."""
PER_DUTY = 2.0
"""Log-odds that a full sense of duty adds: AgentSociety's agents named emotion and civic duty as their motives."""
COST = 4.0
"""Log-odds against: without arousal or duty one in fifty passes a message on."""
TELLS = 2
"""How many friends a person tells at a time."""


class Reaction(msgspec.Struct):
    """How stirred one is (0 to 1), how many friends one tells, with how much heat (0 to 1), and in what words."""

    arousal: float
    tell: int
    heat: float
    text: str


def react(facts: dict[str, Any], draw: Stream) -> Reaction:
    """Complex contagion (Centola 2010): each message takes heat x tie of what is left of calm, so several add up."""
    arousal = facts["arousal"]
    for one in facts["heard"]:
        arousal += facts["stirs"] * one["heat"] * one["tie"] * (1.0 - arousal)
    arousal = min(1.0, max(0.0, arousal))
    odds = PER_AROUSAL * arousal + PER_DUTY * facts["duty"] - COST
    tells = bool(facts["told"]) or draw.random() < 1.0 / (1.0 + math.exp(-odds))
    hottest = max(facts["heard"], key=lambda one: one["heat"])
    heat = hottest["heat"] if facts["told"] else (hottest["heat"] + arousal) / 2.0
    return Reaction(arousal, min(TELLS, facts["friends"]) if tells else 0, heat, hottest["text"])


def motive(facts: dict[str, Any], draw: Stream) -> str:
    """What weighed more as it passed the news on."""
    return "emotion" if PER_AROUSAL * facts["felt"] > PER_DUTY * facts["duty"] else "duty"


RULES = {"react": react, "motive": motive}
