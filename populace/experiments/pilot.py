"""How many replicates an effect needs, by the pairs of an experiment that was played as a pilot. Shell: its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from populace.core.errors import SettingsError
from populace.core.text import shown_line
from populace.experiments.inference.arrays import LEAST
from populace.experiments.inference.power import Needed, needed, power_of
from populace.experiments.inference.sequential import looks_to_clear

if TYPE_CHECKING:
    from populace.experiments.results import Results

_STEPS: Final = (5, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 500, 1000)


@dataclass(frozen=True)
class Plan:
    """What an arm needs. `curve` is (replicates, power, power to be safe), `tests` how many comparisons.

    Where the experiment has a stopping rule (`stops`) and the outcome bounds, `sequential` are the replicates at which
    it is clear by that rule's intervals in half of the cases and in 80 of a hundred, None for more than a thousand.
    """

    arm: str
    control: str
    outcome: str
    tests: int
    needed: Needed
    curve: tuple[tuple[int, float, float], ...]
    stops: bool = False
    sequential: tuple[int | None, int | None] | None = None


def plan_from(
    results: Results,
    outcome: str,
    difference: float,
    *,
    arm: str | None = None,
    power: float = 0.8,
    level: float = 0.95,
    tests: int | None = None,
) -> list[Plan]:
    """The replicates that each arm needs to find `difference`, in the outcome's unit, from the pilot's complete pairs.

    Raises SettingsError for an arm or outcome that it has not, and where fewer than two pairs have values.
    """
    design = results.design
    bounds = design.outcome(outcome).bounds
    arms = [one.name for one in design.treatments] if arm is None else [design.arm(arm).name]
    if arm == design.control:
        raise SettingsError(f"{arm!r} is the control; others are compared with it")
    wanted = len(design.treatments) * len(design.outcomes) if tests is None else tests
    plans = []
    for name in arms:
        pairs = results.paired(outcome, name)
        pairs = pairs[np.isfinite(pairs)]
        if len(pairs) < LEAST:
            raise SettingsError(
                f"{results.name}: {len(pairs)} pairs of {name!r} have a value of {outcome!r}, and a pilot needs {LEAST}"
            )
        made = needed(pairs, difference, power=power, level=level, tests=wanted)
        rule = design.stopping is not None
        looks: tuple[int | None, int | None] | None = None
        if rule and bounds is not None:
            width, many = bounds[1] - bounds[0], sum(one.bounds is not None for one in design.outcomes)
            held = len(design.treatments) * many if tests is None else tests
            looks = looks_to_clear(pairs, difference, -width, width, level=level, tests=held)
        plans.append(Plan(name, design.control, outcome, wanted, made, _curve(made, wanted), rule, looks))
    return plans


def _curve(made: Needed, tests: int) -> tuple[tuple[int, float, float], ...]:
    last = made.safe_replicates or made.replicates or _STEPS[-1]
    own = {made.pilot, *(one for one in (made.replicates, made.safe_replicates) if one)}
    steps = sorted(own | {one for one in _STEPS if one <= max(2 * last, 20)})
    deviations = made.deviation, made.safe_deviation
    curves = [[power_of(made.difference, one, n, made.level, tests) for n in steps] for one in deviations]
    return tuple(zip(steps, *curves, strict=True))


def told(plan: Plan) -> str:
    """A plan in words, with its curve as a small table."""
    made = plan.needed
    tests = f", adjusted for {plan.tests} comparisons" if plan.tests > 1 else ""
    wanted = f"to find a difference of {made.difference:g} with a chance of {made.power:.0%}"
    spread = f"{made.pilot} pairs, standard deviation {made.deviation:.3g}"
    safe = f"with a chance of {made.assurance:.0%} the true standard deviation is at most {made.safe_deviation:.3g}"
    lines = [
        f"{plan.arm} against {plan.control}, {plan.outcome}: {wanted} (level {made.level:g}{tests}) it takes",
        f"{_many(made.replicates)}, if pairs differ as they do in the pilot ({spread});",
        f"{_many(made.safe_replicates)} to be safe: {safe}.",
        f"{made.pilot} pairs would find a difference of {made.detectable:.3g}.",
        *_by_the_rule(plan),
        "",
        "replicates  power  power to be safe",
        *(f"{n:>10}  {one:>5.2f}  {cautious:>16.2f}" for n, one, cautious in plan.curve),
    ]
    return "\n".join(map(shown_line, lines))


def _by_the_rule(plan: Plan) -> list[str]:
    """What holds instead where the experiment claims by intervals that hold at every look."""
    if not plan.stops:
        return []
    fixed = "All of this is for a number that is fixed beforehand. This experiment stops when it is clear, and"
    if plan.sequential is None:
        return [fixed, f"claims nothing of {plan.outcome!r}, for which no bounds are declared."]
    half, more = ("over 1,000" if one is None else f"{one:,}" for one in plan.sequential)
    return [
        fixed,
        f"claims by intervals that hold at every look: with its bounds that takes {half} replicates in half of the",
        f"cases, {more} in 80 of a hundred.",
    ]


def _many(replicates: int | None) -> str:
    return "over 100,000 replicates" if replicates is None else f"{replicates:,} replicates"
