"""The rule mind of `crowd`: what people know, and how far they go along with what they hear.

A first answer from memory is one that a person gave (`data/crowd.md`), by lot; of one that is looked up no error is
left. After that a person keeps most of its own answer and goes the rest of the way to what it hears, on a scale of
ratios: people put about 0.7 on their own opinion (egocentric discounting: Yaniv and Kleinberger 2000, Organizational
Behavior and Human Decision Processes 83, 260-281), and estimates are spread as their logarithms are. Of many answers it
takes the middle one. Who hears nothing stays with its own. The figures were fixed before the first run; no rule is told
the arm.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import msgspec

from populace.core.draws import Stream
from populace.scenarios._data import prompts

TEXTS = prompts("crowd")
QUESTIONS: dict[str, str] = TEXTS["questions"]
TRUTH = {"bones": 206.0, "aluminium": 660.0, "fahrenheit": 212.0, "mars": 687.0, "sound": 343.0}
IGNORANCE = {TEXTS["knows"]["memory"]: 1.0, TEXTS["knows"]["books"]: 0.0}
"""What is left of the logarithm of a person's error, by how it answers."""
LEAST_OWN = 0.4
"""The weight on one's own answer is anywhere from this to 1 in a round: 0.7 on average."""

Estimate = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Estimates = msgspec.defstruct("Estimates", [(name, Estimate) for name in QUESTIONS])
"""An answer to each question."""


@cache
def people() -> dict[str, list[float]]:
    """What people answered by themselves, by question; answers that aren't above zero are left out."""
    with (Path(__file__).parent / "data" / "crowd.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name] and float(row[name]) > 0.0] for name in QUESTIONS}


def shown(value: float) -> float:
    """A number as a person would say it: four digits."""
    return float(f"{value:.4g}")


def estimate(facts: dict[str, Any], draw: Stream) -> Any:
    """An answer to each question."""
    before, ignorance = facts.get("before", {}), IGNORANCE[facts["knows"]]
    own = LEAST_OWN + (1.0 - LEAST_OWN) * draw.random()
    found = {}
    for name, text in facts["questions"].items():
        if text != QUESTIONS.get(name):
            found[name] = 0.0
        elif name not in before:
            found[name] = shown(TRUTH[name] * (draw.choice(people()[name]) / TRUTH[name]) ** ignorance)
        else:
            found[name] = shown(_moved(before[name]["own"], before[name].get("others"), own))
    return Estimates(**found)


def _moved(mine: float, others: float | list[float] | None, own: float) -> float:
    """Where a person goes from its own answer: towards a mean that it was told, or the middle of others' answers."""
    towards = median(others) if isinstance(others, list) and others else others
    if not isinstance(towards, float) or mine <= 0.0 or towards <= 0.0:
        return mine
    return float(mine**own * towards ** (1.0 - own))


RULES = {"estimate": estimate}
