"""Draws docs/pictures/games.svg: `python docs/pictures/games.py`, about a minute."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

import populace

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from verification.games import plain_draws  # noqa: E402

AVERSIONS, SEEDS, TICKS = (0.0, 1.0, 2.25, 4.0, 6.0), (1, 2, 3), 30
FRAMES = ("wall_street", "neutral", "community")

mpl.rcParams.update({"svg.hashsalt": "games", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def last(outcome: str, seed: int, ticks: int, **parameters: object) -> float:
    """An outcome of the society `games` on its rules, at its end."""
    with tempfile.TemporaryDirectory() as out:
        run = populace.run(
            "games", model="rules", agents=60, ticks=ticks, seed=seed, quiet=True, out=Path(out) / "run",
            parameters=parameters,
        )  # fmt: skip
        return float(run.outcomes[outcome].iloc[-1])


figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
left.plot(AVERSIONS, [plain_draws(one, 4_000, TICKS) for one in AVERSIONS], color="0.6", label="plain simulation")
for seed in SEEDS:
    found = [last("draws", seed, TICKS, loss_aversion=one) for one in AVERSIONS]
    left.plot(AVERSIONS, found, "o", color="C0", ms=4, label="society, three seeds" if seed == 1 else None)
left.axhline(1 / 3, color="0.4", lw=0.8, ls=":")
left.set(xlabel="loss aversion", ylabel="share of draws", ylim=(0, 1), title="repeated rock-paper-scissors")
left.legend(frameon=False, loc="lower right")
for at, suggestibility in enumerate((0.8, 0.0)):
    for nth, frame in enumerate(FRAMES):
        same = {"game": "prisoners_dilemma", "frame": frame, "repeated": False, "loss_aversion": 0.0}
        found = [last("cooperation", seed, 6, suggestibility=suggestibility, **same) for seed in SEEDS]
        right.plot([nth] * len(found), found, "os"[at], color=("C0", "C1")[at], ms=4,
                   label=f"suggestibility {suggestibility:g}" if nth == 0 else None)  # fmt: skip
right.set_xticks(range(len(FRAMES)), [name.replace("_", " ") for name in FRAMES])
right.set(xlabel="name of the game", ylabel="cooperation", ylim=(0, 1), title="a prisoner's dilemma with strangers")
right.legend(frameon=False)
figure.tight_layout()
figure.savefig(HERE / "games.svg", metadata={"Date": None})
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
