"""Draws docs/pictures/debate.svg: `python docs/pictures/debate.py`, about a minute."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from verification.debate import PAIR, expected_messages, outcomes  # noqa: E402

mpl.rcParams.update({"svg.hashsalt": "debate", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})

figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
weights = (0.1, 0.3, 0.5, 0.7, 0.9)
for at, (conformity, size) in enumerate(((0.5, 4), (0.5, 2), (0.15, 4))):
    found = [outcomes(60, stubbornness=a, conformity=conformity, size=size)["private_sd_change"] for a in weights]
    left.plot(weights, found, "o-", ms=4, lw=1, color=f"C{at}", label=f"conformity {conformity:g}, groups of {size}")
left.axhline(0, color="0.4", lw=0.8, ls=":")
left.set(xlabel="stubbornness", ylabel="change of SD within groups", title="twelve turns of debate")
left.legend(frameon=False, fontsize=8)
rudeness = np.linspace(0, 1, 50)
right.plot(rudeness, [expected_messages(one) for one in rudeness], color="0.6", label="geometric waiting time")
for toxicity in (0.0, 0.25, 0.5, 0.75, 1.0):
    found = outcomes(500, toxic=2, toxicity=toxicity, **PAIR)["messages"]
    error = found / np.sqrt(250)
    label = "society, one standard error" if toxicity == 0 else None
    right.errorbar([toxicity], [found], [error], fmt="o", ms=4, color="C0", label=label)
right.set(
    xlabel="share of rude turns, both rude", ylabel="lines until one gives in", ylim=(0, 14), title="civil and rude"
)
right.legend(frameon=False, loc="lower right", fontsize=8)
figure.tight_layout()
figure.savefig(HERE / "debate.svg", metadata={"Date": None})
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
