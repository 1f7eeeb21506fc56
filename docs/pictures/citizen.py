"""The picture of docs/worlds/citizen.md: a week of 1,000 citizens on the rule mind, `python docs/pictures/citizen.py`.

It writes citizen.svg beside this file, and takes a minute.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl

import populace

mpl.use("svg")
import matplotlib.pyplot as plt

PANELS: dict[str, dict[str, str]] = {
    "needs met, 0 to 1": {"fed": "hunger", "company": "social"},
    "share at work": {"at_work": "at work"},
    "visits of the day so far": {"shop_visits": "shops", "leisure_visits": "places to go out"},
    "units bought, a citizen and day": {"consumption_units": "mean of the days so far"},
    "mood, -1 to 1": {"mood": "mean"},
    "variance of stances": {"attitude_variance": "all"},
}
SHUT: Any = [{"at": 0, "set": {"world.city.closed": ["leisure"]}}]


def main() -> None:
    """Run the week, as it is and with all places to go out shut, and draw both."""
    mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 8})
    arms = {
        arm: populace.run("citizen", model="rules", agents=1_000, seed=1, levers=levers, quiet=True).outcomes
        for arm, levers in (("", []), ("nothing to go out to", SHUT))
    }
    figure, axes = plt.subplots(3, 2, figsize=(7.2, 5.4), sharex=True, layout="constrained")
    for axis, (label, lines) in zip(axes.flat, PANELS.items(), strict=True):
        for at, (name, what) in enumerate(lines.items()):
            for arm, outcomes in arms.items():
                said = f"{what}, {arm}" if arm else what
                axis.plot(
                    outcomes.index / 24.0, outcomes[name], color=f"C{at}", lw=1.0, ls=":" if arm else "-", label=said
                )
        axis.set_ylabel(label)
        axis.set_xlim(0, 7)
        axis.spines[["top", "right"]].set_visible(False)
        for midnight in range(1, 7):
            axis.axvline(midnight, color="0.9", lw=0.6, zorder=0)
    for axis in axes[-1]:
        axis.set_xlabel("day, from Monday")
    for axis, top, columns in ((axes[0, 0], 1.3, 2), (axes[1, 0], 2_700, 1)):
        axis.set_ylim(0, top)
        axis.legend(frameon=False, loc="upper left", ncol=columns, fontsize=6)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
