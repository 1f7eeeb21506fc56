"""What each part of the world costs at scale: a tick's actions, its end, its digest; bytes an agent; a feed's ranking.

Run it as `python benchmarks/worlds.py [--only PART ...] [--scale F] [--ticks N] [--readers N] [--rows FILE.json]
[--plot FILE.svg] [--smoke]`.

A part is measured alone, as the world that closes a tick has it: `acts` is the time to apply the tick's actions, which
are given, `end` that of the part's `advance`, `digest` that of its digest. Turns, kernel, fair order, mail and tables
are not in it. The same number of agents is active in each tick, others every time. First the share of active agents
varies among all there are, then the number of all agents beside the same number of active ones: what follows activity
grows in the first and stands still in the second. Times are medians of this process's seconds on one core.

`bytes an agent` is what tracemalloc finds once a world is made and has had a tick and a digest, at a tenth of the
agents, but ten thousand at least; of the feed it is what its columns take, without posts. `ranking` is that of
`feed_ranking.py`: ten posts for each of 10,000 readers, among as many posts as there are agents. `city.py` has trips by
kind of place, `rounds.py` rounds within a tick and asks by the world, by which a game master's cost goes.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from feed_ranking import bytes_an_agent, ranking_seconds
from rich.console import Console
from rich.table import Table
from worlds_cases import ALL, Case

from populace.env import World

SHARES = (0.001, 0.01, 0.1)
SMALLER = (100, 10, 1)
AIM_S = 0.3
Row = dict[str, Any]


def ticks(case: Case, world: World, active: int, rounds: int) -> Row:
    """Median seconds of a tick with so many active agents. Raises RuntimeError where hardly an action was applied."""
    spans: list[tuple[float, float, float]] = []
    applied = acted = 0
    for _ in range(rounds):
        draw = np.random.default_rng([world.tick, active])
        who = np.sort(draw.choice(world.agents, active, replace=False)).astype(np.int32)
        acts = case.acts(world, who, draw)
        marks = [time.process_time()]
        begun = world.apply(acts)
        marks.append(time.process_time())
        resolved = world.finish(begun)
        marks.append(time.process_time())
        world.digests()
        marks.append(time.process_time())
        spans.append((marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]))
        applied, acted = applied + resolved.applied, acted + len(acts)
    if applied < case.least * acted:
        raise RuntimeError(f"{case.part}: {applied} of {acted} actions were applied, so the figures say nothing")
    middle = [median(span) for span in zip(*spans, strict=True)]
    whole = median([sum(span) for span in spans])
    return {"part": case.part, "agents": world.agents, "active": active, "acts": acted / rounds,
            "acts_s": middle[0], "end_s": middle[1], "digest_s": middle[2], "all_s": whole}  # fmt: skip


def memory(case: Case, agents: int) -> float:
    """Bytes an agent."""
    if case.part == "feed":
        world = case.make(agents)
        world.digests()
        return bytes_an_agent(world)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    world = case.make(agents)
    world.digests()
    who = np.arange(0, agents, 100, dtype=np.int32)
    world.finish(world.apply(case.acts(world, who, np.random.default_rng(1))))
    world.digests()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / agents


def measured(case: Case, many: int, rounds: int, readers: int, console: Console) -> tuple[list[Row], dict[str, float]]:
    """All rows of a part, and the ranking of a feed."""
    rows: list[Row] = []
    ranking: dict[str, float] = {}
    for fewer in SMALLER:
        agents = many // fewer
        world = case.make(agents)
        world.digests()
        active = [many // 100] if fewer > 1 else [int(share * many) for share in SHARES]
        for some in active:
            ticks(case, world, min(some, agents), 1)
            rows.append(ticks(case, world, min(some, agents), rounds))
        if case.part == "feed" and fewer == 1:
            ranking = ranking_seconds(world, min(readers, agents), rounds)
        del world
        gc.collect()
        console.print(f"{case.part}, {agents:,} agents: {rows[-1]['all_s']:.3f} s", style="dim")
    return rows, ranking


def plot(rows: list[Row], path: Path) -> None:
    """Seconds of a tick by the number of active agents, and by that of all beside the same number of active ones."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "populace", "font.size": 9})
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    marks = "osD^vP*X<>"
    for at, case in enumerate(case for case in ALL if any(row["part"] == case.part for row in rows)):
        of = [row for row in rows if row["part"] == case.part]
        many = max(row["agents"] for row in of)
        whole = [row for row in of if row["agents"] == many]
        same = [row for row in of if row["active"] == many // 100 or row["agents"] < many]
        style = {"color": f"C{at}", "marker": marks[at], "markersize": 4, "linewidth": 1.2}
        left.plot([row["active"] for row in whole], [1e3 * float(row["all_s"]) for row in whole], **style)
        right.plot([row["agents"] for row in same], [1e3 * float(row["all_s"]) for row in same],
                   label=f"{case.part} ({int(many) // 100:,} active)", **style)  # fmt: skip
    for axis, label in ((left, "active agents"), (right, "all agents")):
        axis.axhline(1e3 * AIM_S, color="0.6", linestyle=":", linewidth=1)
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("ms a tick, of the part alone")
    figure.legend(*right.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[case.part for case in ALL], metavar="PART")
    parser.add_argument("--scale", type=float, default=1.0, help="agents are as many times this")
    parser.add_argument("--ticks", type=int, default=5, help="measured for each row, after one that is not")
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument(
        "--rows", type=Path, help="keeps the rows; those of parts left out now are drawn with the others"
    )
    parser.add_argument("--plot", type=Path, help="an SVG file to write")
    parser.add_argument("--smoke", action="store_true", help="small worlds, to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.ticks, options.readers = 1, 50
    console = Console(width=120)
    table = Table("part", "agents", "active", "acts, s", "end, s", "digest, s", "all, s")
    rows: list[Row] = []
    rankings: dict[str, float] = {}
    notes = []
    chosen = [one for one in ALL if not options.only or one.part in options.only]
    for case in chosen:
        many = 5_000 if options.smoke else max(5_000, int(options.scale * case.many))
        found, ranking = measured(case, many, options.ticks, options.readers, console)
        notes.append(f"{case.part} {memory(case, min(many, max(many // 10, 10_000))):,.0f}")
        rows, rankings = rows + found, rankings | ranking
        for row in found:
            shown = [f"{row[name]:.4f}" for name in ("acts_s", "end_s", "digest_s", "all_s")]
            late = "" if float(row["all_s"]) < AIM_S else " *"
            table.add_row(case.part, f"{row['agents']:,}", f"{row['active']:,}", *shown[:3], shown[3] + late)
    console.print(table)
    console.print(f"* over {AIM_S} s. In a tick active agents {'; '.join(f'{one.part}: {one.does}' for one in chosen)}")
    console.print(f"bytes an agent: {', '.join(notes)}")
    for name, span_s in rankings.items():
        console.print(f"ranking by {name} for {options.readers:,} readers: {span_s:.3f} s")
    if options.rows:
        kept = json.loads(options.rows.read_text()) if options.rows.exists() else []
        rows += [row for row in kept if row["part"] not in {case.part for case in chosen}]
        options.rows.write_text(json.dumps(rows, indent=1))
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
