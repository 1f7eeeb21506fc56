"""smalltown.svg: who knows and who comes, by the faculties that villagers have. `python docs/pictures/smalltown.py`."""

import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

import populace

HERE = Path(__file__).parent
SEEDS = (0, 1, 2, 3, 4)
ARMS = {
    "full": {},
    "no reflection": {"reflection": False},
    "no reflection,\nno planning": {"reflection": False, "planning": False},
    "no memory": {"reflection": False, "planning": False, "memory": False},
}
SHOWN = {"knows_party": "know of the party", "knows_candidate": "know of the candidacy", "came": "came to the party"}


def outcomes(seed: int, **society: object) -> object:
    """The outcomes of two days of 25 villagers on rules, by tick."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {f"society.{name}": value for name, value in society.items()}
        run = populace.run("smalltown", model="rules", seed=seed, settings=settings, out=f"{folder}/run", quiet=True)
        return run.outcomes


mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 10})
figure, axes = plt.subplots(figsize=(6.8, 3.6), layout="constrained")
found = {arm: [outcomes(seed, **society).iloc[-1] for seed in SEEDS] for arm, society in ARMS.items()}
for nth, (name, said) in enumerate(SHOWN.items()):
    means = [sum(one[name] for one in ends) / len(ends) for ends in found.values()]
    at = [place + 0.26 * (nth - 1) for place in range(len(ARMS))]
    axes.bar(at, means, width=0.24, label=said, color=f"C{nth}", alpha=0.75)
    for x, ends in zip(at, found.values(), strict=True):
        axes.plot([x] * len(ends), [one[name] for one in ends], "o", color="black", markersize=2.5)
axes.set(ylabel="share of villagers", ylim=(0, 1.0))
axes.set_xticks(range(len(ARMS)), ARMS)
axes.legend(frameon=False, fontsize=9)
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(HERE / "smalltown.svg", metadata={"Date": None})
