"""master.svg: what the guests of the page's mansion try, and what comes of it. `python docs/pictures/master.py`."""

import json
import re
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

import populace

HERE = Path(__file__).parent
PAGE = HERE.parent / "worlds" / "master.md"
SOURCE = re.search(r'```python title="mansion.py"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL)

with tempfile.TemporaryDirectory() as folder:
    scenario = Path(folder, "mansion.py")
    scenario.write_text(SOURCE[1], encoding="utf-8")
    run = populace.run(str(scenario), model="rules", seed=2, ticks=16, out=f"{folder}/run", quiet=True)
    told = run.table("messages")
    tries = [(row.tick_sent, row.receiver, json.loads(row.body)) for row in told.itertuples() if "tried" in row.body]
    lit = run.outcomes.lit

words = sorted({body["refused"] for _, _, body in tries} - {""})
colours = dict(zip(["", *words], ["tab:green", "tab:orange", "tab:red", "tab:purple", "tab:brown"], strict=False))
mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 10})
figure, axes = plt.subplots(figsize=(9.0, 3.2), layout="constrained")
axes.fill_between(lit.index, -0.6, 3.6, where=lit > 0, step="pre", color="gold", alpha=0.3, label="the lamp burns")
for word, colour in colours.items():
    mine = [(tick, agent) for tick, agent, body in tries if body["refused"] == word]
    axes.plot(*zip(*mine, strict=True), "o", color=colour, label=f"refused: {word}" if word else "done")
for tick, agent, body in tries:
    axes.annotate(body["verb"], (tick, agent), (0, 7), textcoords="offset points", ha="center", fontsize=7)
axes.set(xlabel="tick", ylabel="guest", yticks=range(4), ylim=(-0.6, 3.6), xticks=range(0, 17, 2))
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
figure.savefig(HERE / "master.svg", metadata={"Date": None})
