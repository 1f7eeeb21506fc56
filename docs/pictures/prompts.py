"""The picture of docs/guides/memory.md: tokens of an agent's prompt over 1,000 ticks.

`python docs/pictures/prompts.py` writes prompts.svg beside this file.
"""

from pathlib import Path

import matplotlib as mpl

from populace.core.draws import Stream
from populace.mind import Memory, Prompt

mpl.use("svg")
import matplotlib.pyplot as plt

TICKS, BUDGET = 1000, 400


def sizes(budget: int | None, entries: int) -> list[int]:
    """Tokens of the prompt in each tick; with no budget all that is remembered stands in it."""
    memory, found = Memory(max_entries=entries), []
    draw = Stream(4, 0, 0, "happens")
    for tick in range(TICKS):
        topic = draw.choice(["rent", "wages", "the harbour", "a party"])
        text = f"{draw.choice(['Ada', 'Ben', 'Cleo'])} spoke of {topic}" + " at some length" * draw.integer(6)
        memory.note(tick, text, float(draw.integer(11)))
        items = memory.texts if budget is None else [one.text for one in memory.retrieve(tick, f"What of {topic}?", 30)]
        prompt = Prompt(budget or 10**9).add("You", "You are a nurse in Delft.").add("You remember", items, 1)
        found.append(prompt.build().tokens)
    return found


def main() -> None:
    """Draw it."""
    mpl.rcParams.update({"svg.hashsalt": "populace", "font.size": 8, "svg.fonttype": "none"})
    figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
    axes.plot(sizes(None, 10_000), color="#c44e52", lw=1.2, label="all of an unbounded memory")
    axes.plot(sizes(None, 300), color="#dd8452", lw=1.2, label="all of a memory of 300 entries")
    axes.plot(sizes(BUDGET, 300), color="#4c72b0", lw=1.2, label=f"30 found, budget of {BUDGET} tokens")
    axes.axhline(BUDGET, color="#4c72b0", lw=0.6, ls=":")
    axes.set(xlabel="tick", ylabel="tokens of the prompt (estimated)", yscale="log", xlim=(0, TICKS))
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
