"""pass_hat.svg: pass^k of the helpdesk, and the power of its pass^1. `python docs/pictures/pass_hat.py`."""

import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

import populace

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
KS = range(1, 9)


def curve(desk: str) -> list[float]:
    """Mean pass^1 to pass^8 of 20 tasks, each tried eight times, under each seed."""
    ends = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            settings = {"agents.clerk": 20, "agents.customer": 20, "society.tasks": 20, "society.desk": desk}
            run = populace.run(
                "helpdesk", model="rules", seed=seed, ticks=8, settings=settings, out=f"{folder}/run", quiet=True
            )
            ends.append(run.outcomes.iloc[-1])
    mean = sum(ends) / len(ends)
    return [float(mean[f"pass_{k}"]) for k in KS]


mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 10})
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for desk, colour in (("shop", "tab:blue"), ("airline", "tab:orange")):
    found = curve(desk)
    axes.plot(KS, found, "o-", color=colour, label=desk)
    axes.plot(KS, [found[0] ** k for k in KS], ":", color=colour, label=f"{desk}, were all tasks alike")
axes.set(xlabel="k", ylabel="pass^k", ylim=(0, 0.75))
axes.legend(frameon=False)
figure.savefig(HERE / "pass_hat.svg", metadata={"Date": None})
