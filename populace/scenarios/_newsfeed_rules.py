"""The rule mind of `newsfeed`: doubt by how odd news sounds, limited attention, emotion as a chain of three states.

It goes by the post, its label as it is shown, and the reader; it knows neither how the platform moderates nor what is
true.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from populace.core.draws import Stream
from populace.scenarios._data import prompts

UNLABELLED = prompts("newsfeed")["labels"]["none"]
MOODS = ("calm", "moderate", "intense")
ACTS = ("like", "share", "comment", "flag", "ignore")


class Feeling(msgspec.Struct):
    """How a user feels, and where it stands from -1 (liberal) to 1 (conservative)."""

    emotion: Literal["calm", "moderate", "intense"]
    attitude: float


def react(facts: dict[str, Any], draw: Stream) -> str:
    """Limited attention and signal detection (Green and Swets 1966): what sounds odd is doubted, by skill.

    Agreement and arousal make one engage; doubt, and a label as far as the platform is trusted, keep one from it. One
    flags what one doubts, more readily where it goes against one's lean.
    """
    heard = facts["oddness"] + draw.normal(0.0, 0.5 * (1.0 - facts["skill"]))
    doubt = 1.0 / (1.0 + math.exp(-8.0 * (heard - 0.65)))
    if facts["label"] != UNLABELLED:
        doubt = 1.0 - (1.0 - doubt) * (1.0 - facts["trust"])
    apart = abs(facts["lean"] - facts["post_lean"]) / 2.0
    arousal = 0.5 + 0.25 * (MOODS.index(facts["emotion"]) + MOODS.index(facts["tone"])) / 2.0
    engages = arousal * (1.0 - doubt) * (1.0 - 0.7 * apart)
    weights = [0.5 * engages, 0.35 * engages, 0.15 * engages, 0.5 * doubt * facts["skill"] * (0.3 + 0.7 * apart)]
    return str(draw.weighted(ACTS, [*weights, max(0.0, 1.0 - sum(weights))]))


def feel(facts: dict[str, Any], draw: Stream) -> Feeling:
    """Emotion as a chain of three states that exposure drives (S3, 2307.14984); attitude as bounded confidence.

    A tone above one's emotion lifts it by one state, a calmer stream lets it fall; posts within 0.8 of one's attitude
    draw it a tenth of the way (Deffuant et al. 2000).
    """
    now, tones = MOODS.index(facts["emotion"]), [MOODS.index(tone) for tone in facts["tones"]]
    mean = sum(tones) / len(tones)
    step = (mean > now) - (mean < now)
    mood = now + step * draw.bernoulli(min(1.0, abs(mean - now) / 2.0))
    near = [lean for lean in facts["leans"] if abs(lean - facts["attitude"]) < 0.8]
    pull = 0.1 * (sum(near) / len(near) - facts["attitude"]) if near else 0.0
    return Feeling(emotion=MOODS[mood], attitude=facts["attitude"] + pull)  # type: ignore[arg-type]


def comment(facts: dict[str, Any], draw: Stream) -> str:
    """The same words by all: nothing here goes by what a comment says."""
    return "I have something to say about this."


RULES = {"react": react, "comment": comment, "feel": feel}
