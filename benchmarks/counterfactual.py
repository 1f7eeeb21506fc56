"""What a fork saves, and what it gives: calls not made, and the variance of an effect measured in pairs.

For each replicate (a seed) polarization runs to its end, and is forked in its middle with a lever. The effect of the
lever on an outcome is the difference between fork and run: they share their past, their draws and every answer whose
ask did not change (common random numbers). Unpaired, the effect is the difference between a treated run and an
untreated run of another seed. The scripted model answers.

    python benchmarks/counterfactual.py --replicates 30
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import find_society
from populace.runs.courses import fork_course
from populace.settings import Checkpoint, Model, Settings
from populace.store.tables.tables import outcome_series

LEVERS = {
    "one citizen in twenty is banned from sending": "block={sender={share=0.05}}",
    "one in five is banned": "block={sender={share=0.2}}",
    "openness is halved": 'set={"society.openness"=0.15}',
    "an appeal to one in ten": 'send={to={share=0.1}, body="Hear the other side."}',
}
OUTCOMES = ("variance", "moderated")


def run(out: Path, seed: int, agents: int, ticks: int) -> dict[str, Any]:
    settings = Settings(
        agents=agents, ticks=ticks, seed=seed, model=Model(kind="scripted"), checkpoint=Checkpoint(every_s=None)
    )
    return asyncio.run(Coordinator(find_society("polarization"), settings, LocalTransport(), out).run())


def fork(parent: Path, out: Path, at_tick: int, lever: str) -> dict[str, Any]:
    going = fork_course(parent, at_tick, (), [lever])
    return asyncio.run(Coordinator(going.origin, going.settings, LocalTransport(), out, (), going.course).run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=30)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--ticks", type=int, default=8)
    parser.add_argument("--at-tick", type=int, default=4)
    options = parser.parse_args()
    size = (options.agents, options.ticks)
    table = Table(
        "lever", "calls saved", "of those after the fork", *(f"{name}: effect (s.e.)" for name in OUTCOMES),
        *(f"{name}: variance, unpaired/paired" for name in OUTCOMES),
        title=f"polarization, {size[0]} agents, {size[1]} ticks, forked before tick {options.at_tick}, "
        f"{options.replicates} replicates",
    )  # fmt: skip
    place = Path(tempfile.mkdtemp())
    try:
        seeds = range(options.replicates)
        made = [run(place / f"run-{seed}", seed, *size) for seed in seeds]
        base = [outcome_series(place / f"run-{seed}") for seed in seeds]
        for number, (name, lever) in enumerate(LEVERS.items()):
            saved, later, treated = [], [], []
            for seed in seeds:
                out = place / f"fork-{number}-{seed}"
                manifest = fork(place / f"run-{seed}", out, options.at_tick, lever)
                treated.append(outcome_series(out))
                calls, whole = manifest["saved"]["calls"], manifest["saved"]["calls"] + manifest["calls_billed"]
                saved.append(calls / whole)
                before = _before(place / f"run-{seed}", options.at_tick)
                later.append((calls - before) / (whole - before))
            effects, ratios = [], []
            for outcome in OUTCOMES:
                paired = [fork[outcome][-1] - run[outcome][-1] for fork, run in zip(treated, base, strict=True)]
                others = base[1:] + base[:1]
                unpaired = [fork[outcome][-1] - run[outcome][-1] for fork, run in zip(treated, others, strict=True)]
                error = statistics.stdev(paired) / len(paired) ** 0.5
                effects.append(f"{statistics.mean(paired):+.4f} ({error:.4f})")
                spread = statistics.variance(paired)
                ratios.append(f"{statistics.variance(unpaired) / spread:,.1f}" if spread else "no effect")
            table.add_row(name, f"{statistics.mean(saved):.1%}", f"{statistics.mean(later):.1%}", *effects, *ratios)
        Console(width=200).print(table)
        Console().print(f"A run made {statistics.mean(one['calls_billed'] for one in made):,.0f} calls on average.")
    finally:
        shutil.rmtree(place)


def _before(run: Path, at_tick: int) -> int:
    """How many calls the run had made before a tick."""
    from populace.store.tables.tables import read_table

    asks = read_table(run, "asks").to_pydict()
    return sum(calls for tick, calls in zip(asks["tick"], asks["calls"], strict=True) if tick < at_tick)


if __name__ == "__main__":
    main()
