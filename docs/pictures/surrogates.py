"""The picture of docs/minds.md: what a surrogate saves and errs, how soon its audit sees a shift, false alarms.

`python docs/pictures/surrogates.py` writes surrogates.svg beside this file and prints the figures; some minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np

from populace.agents.surrogate.audit import Audit
from populace.agents.surrogate.policy import UNIT, Observed, Policy
from populace.agents.surrogate.surrogate import Surrogate
from populace.core.draws import Stream

mpl.use("svg")
import matplotlib.pyplot as plt

TICK = 100
"""Asks a tick: a surrogate changes between two ticks only."""
CELLS = [(band, heard) for band in range(6) for heard in range(2)]
CHANCES = {cell: 0.1 + 0.13 * cell[0] + 0.15 * cell[1] for cell in CELLS}
"""The known answer function: with what probability the model says yes to these facts."""


class Played(NamedTuple):
    """What became of a surrogate: calls, what it answered, its mean total variation then, and when alarms were."""

    calls: int
    answered: int
    variation: float
    alarms: list[int]


def play(policy: Policy, seed: int, asks: int, chance: Callable[[tuple[int, int], int], float]) -> Played:
    """Asks of agents with facts drawn at random, to a model that says yes with a known chance."""
    surrogate, calls, off, alarms = Surrogate(policy), 0, [], []
    for tick in range(asks // TICK):
        observed = []
        for agent in range(TICK):
            draw = Stream(seed, agent, tick, "ask")
            cell = draw.choice(CELLS)
            facts = f'{{"band":{cell[0]},"heard":{cell[1]}}}'
            p = chance(cell, tick * TICK + agent)
            q = None if surrogate.fit is None else surrogate.fit.predict(facts)
            if q is not None and draw.random() >= policy.audit:
                off.append(abs(q.get("yes", 0.0) - p))
                continue
            calls += 1
            observed.append(Observed(agent, 0, facts, {"yes" if draw.random() < p else "no": UNIT}, q is not None))
        if surrogate.close(observed).alarms:
            alarms.append((tick + 1) * TICK)
    return Played(calls, len(off), float(np.mean(off)) if off else 0.0, alarms)


def steady(cell: tuple[int, int], _at: int) -> float:
    """The model does not change."""
    return CHANCES[cell]


def shifted(by: float, when: int) -> Callable[[tuple[int, int], int], float]:
    """From ask `when` on, the chance is `by` higher or lower, away from the nearer end."""

    def chance(cell: tuple[int, int], at: int) -> float:
        p = CHANCES[cell]
        return p if at < when else (p + by if p < 0.5 else p - by)

    return chance


def false_alarms(runs: int, asks: int, level: float, tolerance: float) -> float:
    """The share of audits that alarm at `level`, of a surrogate that is off by just the tolerance at every ask."""
    ended = 0
    for seed in range(runs):
        audit, draw = Audit(tolerance, ["no", "yes"]), Stream(seed, 0, 0, "null")
        for _ in range(asks):
            p = 0.2 + 0.5 * draw.random()
            audit.take(f"{draw.integer(12)}", {"yes" if draw.random() < p else "no": UNIT},
                       {"yes": p + tolerance, "no": 1.0 - p - tolerance})  # fmt: skip
            if audit.evidence >= 1.0 / level:
                ended += 1
                break
    return ended / runs


def delays(by: float, audit: float, runs: int) -> list[int]:
    """After how many asks trust is withdrawn, once the model has shifted; 10,000 where it is not within as many."""
    when, found = 4_000, []
    for seed in range(runs):
        alarms = play(Policy(audit=audit, sample=600), seed, 14_000, shifted(by, when)).alarms
        found.append(next((at - when for at in alarms if at > when), 10_000))
    return found


def say(text: str) -> None:
    """A figure, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, print, draw."""
    mpl.rcParams.update({"svg.hashsalt": "populace", "font.size": 8, "svg.fonttype": "none"})
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
    colours = {0.05: "#4c72b0", 0.1: "#dd8452", 0.3: "#55a868"}
    for kind, style in (("table", "-o"), ("logit", "--s")):
        for audit, colour in colours.items():
            saved, error = [], []
            for sample in (100, 300, 600, 1200, 2400):
                policy = Policy(kind=kind, sample=sample, audit=audit, cell=10, tolerance=0.3)
                runs = [play(policy, seed, 10_000, steady) for seed in range(3)]
                saved.append(100 * float(np.mean([one.answered for one in runs])) / 10_000)
                error.append(float(np.mean([one.variation for one in runs])))
            say(f"{kind}, audit {audit}: saved % {np.round(saved, 1)}, variation {np.round(error, 3)}")
            left.plot(saved, error, style, color=colour, ms=3, lw=1, label=f"{kind}, audit {audit:.0%}")
    left.set(xlabel="calls saved (% of 10,000 asks)", ylabel="total variation, mean", xlim=(25, 100), ylim=(0, None))
    left.legend(frameon=False, fontsize=6.5)
    sizes = (0.3, 0.4, 0.5, 0.6)
    for audit, colour in list(colours.items())[1:]:
        times = [delays(by, audit, 20) for by in sizes]
        middle = [float(np.median(one)) for one in times]
        say(f"delay, audit {audit}: " + ", ".join(f"{by}: {int(np.median(t))} (most {max(t)})"
                                                    for by, t in zip(sizes, times, strict=True)))  # fmt: skip
        right.fill_between(sizes, [min(t) for t in times], [max(t) for t in times], color=colour, alpha=0.15, lw=0)
        right.plot(sizes, middle, "-o", color=colour, ms=3, lw=1, label=f"audit {audit:.0%}: median, and range of 20")
    right.set(xlabel="shift of the model (total variation)", ylabel="asks until trust is withdrawn", yscale="log")
    right.legend(frameon=False, fontsize=6.5)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})
    say(f"false alarms at level 0.05, off by the tolerance: {false_alarms(1_000, 400, 0.05, 0.1)}")


if __name__ == "__main__":
    main()
