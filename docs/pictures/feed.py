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


def outcomes(seed: int, **parameters: object) -> np.ndarray:
    """How often false posts were read in the society `newsfeed` on its rules, and all engagement."""
    with tempfile.TemporaryDirectory() as out:
        run = populace.run(
            "newsfeed", model="rules", seed=seed, quiet=True, out=Path(out) / "run", parameters=parameters, **SIZE
        )
        return run.outcomes[["reach_of_false", "engagement"]].iloc[-1].to_numpy(float)


figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
none = [outcomes(seed) for seed in SEEDS]
for at, arm in enumerate(ARMS):
    changes = np.array([100 * (outcomes(seed, moderation=arm) / none[seed] - 1) for seed in SEEDS])
    for nth, (name, color) in enumerate((("reach of false posts", "C0"), ("all engagement", "C2"))):
        place = at - 0.2 + 0.2 * nth
        left.plot([place] * len(changes), changes[:, nth], "o", color=color, ms=3, label=name if not at else None)
        left.plot([place - 0.08, place + 0.08], [changes[:, nth].mean()] * 2, color=color)
    off = 100 * (outcomes(0, moderation=arm, labels_shown=False, downrank=0.0) / none[0] - 1)
    left.plot([at + 0.2] * 2, off, "s", color="C1", ms=3, label="both, labels without effect" if not at else None)
left.axhline(0, color="0.4", lw=0.8, ls=":")
left.set_xticks(range(len(ARMS)), [arm.replace("_", " ") for arm in ARMS])
left.set(ylabel="change, %", title="newsfeed against no checking", xlim=(-0.5, 2.5), ylim=(-36, 22))
left.legend(frameon=False, fontsize=7, loc="upper center", ncols=2, columnspacing=1, handletextpad=0.2)
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
