"""What a few calls that never end cost all the others: turn times beside the same run without them.

    python benchmarks/slow_calls.py [--agents 200] [--asks 5] [--bad 0.05] [--repeats 5]

Whole runs in this process against the misbehaving server on loopback. A good call takes 50 ms; the calls of `bad`
agents hang, or drip a byte each 200 ms, until their deadline of 2 s. Runs alternate; printed are medians of the
repeats: how much longer the other agents' turns took on average, and when the slow calls ended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from asking import asker, asking, here
from misbehaving import DRIP, HANG, Act, Misbehaving, slow

from populace.monitoring.tables import read_table

DEADLINE_S = 2.0


def run(options: argparse.Namespace, act: Act | None) -> tuple[float, float]:
    """The mean time of a good agent's turn, and the latest end of a bad call, both in seconds."""
    every = round(1 / options.bad)
    good = slow(0.05)
    with Misbehaving(lambda seen: act if act and asker(seen) % every == 0 else good) as server:
        with tempfile.TemporaryDirectory() as folder:
            choices = asking(server, agents=options.agents, ticks=1, shards=2, society={"asks": options.asks})
            here(Path(folder), **choices, model__timeout_s=DEADLINE_S, model__throttle__concurrency=options.agents)
            late = [ask["latency_s"] for ask in read_table(Path(folder), "asks").to_pylist() if ask["reason"]]
        ended = {asker(seen): seen.arrived_s for seen in server.seen}
        turns = [at_s - server.seen[0].arrived_s for agent, at_s in ended.items() if agent % every]
    return sum(turns) / len(turns), max(late, default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--asks", type=int, default=5)
    parser.add_argument("--bad", type=float, default=0.05, help="the share of agents whose calls are slow")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for name, act in (("hang", HANG), ("drip", DRIP)):
        ratios, ends = [], []
        for _ in range(options.repeats):
            before, _ = run(options, None)
            during, end = run(options, act)
            ratios.append(during / before)
            ends.append(end)
        print(
            f"{name}: the others' turns took {median(ratios) - 1:+.1%} longer ({min(ratios) - 1:+.1%} to "
            f"{max(ratios) - 1:+.1%}); the last slow call ended {max(ends) - DEADLINE_S:.3f} s after its deadline"
        )


if __name__ == "__main__":
    main()
