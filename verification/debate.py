"""Debates against what their mind was made of: weights that are estimated from speech, and the length of a debate."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import populace
from populace.scenarios import _debate_rules as rules
from verification.verdicts import Verdict, check

PAIR: Mapping[str, Any] = {"size": 2, "protocol": "alternate", "ends": "one", "turns": 200, "receptiveness": 0.25}


def outcomes(agents: int, **parameters: Any) -> dict[str, float]:
    """Of one tick of the society on its rules."""
    with tempfile.TemporaryDirectory() as out:
        run = populace.run(
            "debate", model="rules", agents=agents, ticks=1, seed=1, quiet=True, out=Path(out) / "run",
            parameters=parameters,
        )  # fmt: skip
        found: dict[str, float] = run.outcomes.iloc[-1].to_dict()
        return found


@check("debate: the weights of the mind that spoke are found in what was said")
def estimated(full: bool) -> list[Verdict]:
    """Least squares over public stances gives back stubbornness, conformity and prior pull."""
    agents, verdicts = 400 if full else 48, []
    for a, c, pull in ((0.9, 0.15, 0.0), (0.1, 0.5, 0.0), (0.5, 0.5, 0.2)) if full else ((0.5, 0.5, 0.2),):
        found = outcomes(agents, stubbornness=a, conformity=c, prior_pull=pull, dissent_cost=0.0, trait_sd=0.0)
        error = 0.02 if full else 0.08
        where = f"a = {a}, c = {c}, b = {pull}"
        source = "the rule: a, c (1 - a), b (Friedkin and Johnsen 1990, with a prior)"
        verdicts += [
            Verdict(f"anchoring, {where}", found["anchoring"], a, error, source),
            Verdict(f"weight of the others, {where}", found["others_weight"], c * (1 - a), error, source),
            Verdict(f"prior pull, {where}", found["prior_pull"], pull, error, source),
        ]
    return verdicts


def expected_messages(toxicity: float) -> float:
    """Lines until one gives in, where each from the second on wins with a hazard; the first is never off the topic.

    Receptiveness differs among debaters by a fifth of itself, and two take turns: the mean of the inverse hazard is
    larger than the inverse of the mean by half the square of that.
    """
    first = float(PAIR["receptiveness"]) * rules.STRENGTH / 2 * (1.0 - rules.REACTANCE * toxicity)
    later = first * (1.0 - rules.OFF_TOPIC * toxicity)
    return 2.0 + (1.0 + 0.2**2 / 2 - first) / later


@check("debate: rude words lengthen debates by what they take off the chance to win one over")
def length(full: bool) -> list[Verdict]:
    """Lines until one gives in, both civil and both rude; a hazard's mean has a standard error of about itself."""
    agents = 2_000 if full else 200
    verdicts = []
    for toxicity in (0.0, 1.0):
        found = outcomes(agents, toxic=2, toxicity=toxicity, **PAIR)["messages"]
        expected = expected_messages(toxicity)
        error = 3.5 * expected / (agents / 2) ** 0.5
        verdicts.append(
            Verdict(f"lines of a debate, toxicity {toxicity:g}", found, expected, error, "geometric waiting time")
        )
    return verdicts
