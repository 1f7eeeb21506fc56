"""Draws docs/pictures/feed.svg: `python docs/pictures/feed.py`, about two minutes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import populace

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from verification.feed import cascade_sizes  # noqa: E402

ARMS, SEEDS = ("community", "third_party", "hybrid"), range(5)
SIZE = {"agents": 50, "ticks": 12}

mpl.rcParams.update({"svg.hashsalt": "feed", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def reach(seed: int, **parameters: object) -> float:
    """How often false posts were read in the society `newsfeed` on its rules."""
    with tempfile.TemporaryDirectory() as out:
        run = populace.run(
            "newsfeed", model="rules", seed=seed, quiet=True, out=Path(out) / "run", parameters=parameters, **SIZE
        )
        return float(run.outcomes["reach_of_false"].iloc[-1])


figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
none = [reach(seed) for seed in SEEDS]
for at, arm in enumerate(ARMS):
    changes = [100 * (reach(seed, moderation=arm) / base - 1) for seed, base in zip(SEEDS, none, strict=True)]
    left.plot([at] * len(changes), changes, "o", color="C0", ms=4, label="labels shown" if not at else None)
    left.plot([at - 0.15, at + 0.15], [np.mean(changes)] * 2, color="C0")
    off = 100 * (reach(0, moderation=arm, labels_shown=False) / none[0] - 1)
    left.plot(at, off, "s", color="C1", ms=4, label="labels not shown" if not at else None)
left.axhline(0, color="0.4", lw=0.8, ls=":")
left.set_xticks(range(len(ARMS)), [arm.replace("_", " ") for arm in ARMS])
left.set(ylabel="change of reach of false posts, %", title="newsfeed against no checking", xlim=(-0.5, 2.5))
left.legend(frameon=False, fontsize=8)
rates = np.linspace(0, 0.75, 60)
right.plot(rates, 1 / (1 - rates), color="0.5", label="1 / (1 - R)")
right.plot(rates, 1 + rates + rates**2, color="0.5", ls="--", label="at most two hops")
for limit, mark in ((0, "o"), (2, "s")):
    found = [cascade_sizes(400, rate, 5, hop_limit=limit).mean() for rate in (0.15, 0.3, 0.45, 0.6, 0.7)]
    right.plot((0.15, 0.3, 0.45, 0.6, 0.7), found, mark, color="C0", ms=4)
right.set(xlabel="shares that a share begets, R", ylabel="mean size of a cascade", title="cascades of 400 posts")
right.legend(frameon=False)
figure.tight_layout()
figure.savefig(HERE / "feed.svg", metadata={"Date": None})
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
