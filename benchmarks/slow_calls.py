"""What a few calls that never end cost all the others: turn times beside the same run without them.

    python benchmarks/slow_calls.py [--agents 40] [--asks 15] [--bad 0.1] [--repeats 5]

Whole runs in this process against the misbehaving server on loopback. A good call takes 200 ms; the first two calls of
`bad` agents hang, or drip a byte each 200 ms, until their deadline of 1 s. Runs alternate. Printed are medians of the
repeats: how much longer the other agents' turns took on average, and when the slow calls ended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from figures import figure
from support.asking import asker, asking, here
from support.misbehaving import DRIP, HANG, Act, Misbehaving, Seen, slow

from populace.store.tables.tables import read_table

DEADLINE_S = 1.0


def run(options: argparse.Namespace, act: Act | None) -> tuple[float, float]:
    """The mean time of a good agent's turn, and the latest end of a bad call, both in seconds."""
    every = round(1 / options.bad) | 1  # odd, so that both shards have some
    good = slow(0.2)
    with Misbehaving(lambda seen: act if act and asker(seen) % every == 0 and asked(seen) < 2 else good) as server:
        with tempfile.TemporaryDirectory() as folder:
            choices = asking(server, agents=options.agents, ticks=1, shards=2, society={"asks": options.asks})
            here(Path(folder), **choices, endpoint__timeout_s=DEADLINE_S, endpoint__concurrency=options.agents)
            late = [ask["latency_s"] for ask in read_table(Path(folder), "asks").to_pylist() if ask["reason"]]
        ended = {asker(seen): seen.arrived_s for seen in server.seen}
        turns = [at_s - server.seen[0].arrived_s for agent, at_s in ended.items() if agent % every]
    return sum(turns) / len(turns), max(late, default=0.0)


def asked(seen: Seen) -> int:
    """Which of its agent's asks a request is, from 0."""
    assert seen.body is not None
    return int(seen.body["messages"][-1]["content"].split("question ")[1].split(":")[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=40)
    parser.add_argument("--asks", type=int, default=15)
    parser.add_argument("--bad", type=float, default=0.1, help="the share of agents whose calls are slow")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for name, act in (("hang", HANG), ("drip", DRIP)):
        ratios, ends = [], []
        for _ in range(options.repeats):
            before, _ = run(options, None)
            during, end = run(options, act)
            ratios.append(during / before)
            ends.append(end)
        figure(f"calls that {name}: the others' turns longer", median(ratios) - 1, "", least=min(ratios) - 1,
               most=max(ratios) - 1)  # fmt: skip
        print(
            f"{name}: the others' turns took {median(ratios) - 1:+.1%} longer ({min(ratios) - 1:+.1%} to "
            f"{max(ratios) - 1:+.1%}); the last slow call ended {max(ends) - DEADLINE_S:.3f} s after its deadline",
            flush=True,
        )


if __name__ == "__main__":
    main()
