"""clinic.svg: accuracy by questions asked, with and without a short memory. `python docs/pictures/clinic.py`."""

import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

import populace

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
QUESTIONS = (0, 1, 2, 4, 6, 8, 12, 16, 24, 37)


def accuracy(**society: object) -> tuple[float, float]:
    """Mean accuracy and questions of 60 consultations under each seed."""
    ends = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            settings = {"agents.doctor": 12, "agents.patient": 12} | {f"society.{k}": v for k, v in society.items()}
            run = populace.run(
                "clinic", model="rules", seed=seed, ticks=5, settings=settings, out=f"{folder}/run", quiet=True
            )
            ends.append(run.outcomes.iloc[-1])
    mean = sum(ends) / len(ends)
    return float(mean.accuracy), float(mean.questions)


mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 10})
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for memory, said, marker in ((10, "10 findings in mind", "o"), (0, "all findings in mind", "s")):
    found = [accuracy(habit="always ask", questions=n, memory=memory)[0] for n in QUESTIONS]
    axes.plot(QUESTIONS, found, marker=marker, label=f"always asks, {said}")
for bias, said, marker in ((0.0, "asks until 80% sure", "*"), (4.0, "the same, biased", "X")):
    right, asked = accuracy(questions=37, bias=bias)
    axes.plot([asked], [right], marker, color="black", markersize=10, label=f"{said}, 10 in mind")
axes.set(xlabel="questions a case", ylabel="share of right diagnoses", ylim=(0, 1.02))
axes.legend(frameon=False, fontsize=9, loc="lower left")
figure.savefig(HERE / "clinic.svg", metadata={"Date": None})
