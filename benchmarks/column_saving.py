"""What checkpoints of agents in columns cost where few of them are at work: bytes and seconds of a generation.

Run it as `python benchmarks/column_saving.py [--agents N] [--share F] [--ticks N]`.

A whole run in one process, with a checkpoint after every tick: columnar agents with three fields, two of them public,
of which a share is due in each tick. `whole` writes every array that changed whole in each generation, as it was before
arrays were saved as what changed in them. A generation's seconds are wall time of `Checkpoints.save`; the first two of
a run are whole in any case, and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from figures import figure
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tuned_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.settings import load_settings
from populace.store.checkpoint import frozen
from populace.store.checkpoint.generations import Checkpoints, Saved

SOCIETY = """
from populace import ColumnarAgent, Population, Public, Society, Sometimes


class Worker(ColumnarAgent):
    wealth: Public[float] = 1.0
    moves: Public[int] = 0
    mood: float = 0.5

    def turns(self, ctx):
        self.wealth *= ctx.draw("gain").uniform(0.9, 1.2)
        self.moves += 1
        self.mood = ctx.draw("mood").random()


society = Society(name="workers", agent=Worker, population=lambda setup: Population.of_defaults(setup.agents),
                  activation=Sometimes(SHARE))
"""


def measured(agents: int, share: float, ticks: int, *, whole: bool) -> list[tuple[int, int, float]]:
    """Of each generation after the first two: bytes written, bytes of the state, seconds."""
    found: list[tuple[int, int, float]] = []
    save = Checkpoints.save

    def timed(self: Checkpoints, *args: Any, **options: Any) -> Saved:
        began_s = time.perf_counter()
        saved = save(self, *args, **options)
        found.append((saved.written_bytes, saved.state_bytes, time.perf_counter() - began_s))
        return saved

    out = Path(tempfile.mkdtemp())
    off = dict.fromkeys(("record__messages", "record__asks", "record__actions"), False)
    settings = load_settings(
        agents=agents, ticks=ticks, model__kind="scripted", record__agents="none", checkpoint__every_ticks=1, **off
    )
    run = Coordinator(Origin("s.py", SOCIETY.replace("SHARE", str(share))), settings, LocalTransport(), out, [])
    least = 2**62 if whole else frozen.PATCHED_BYTES
    try:
        with (
            tuned_collector(),
            patch.object(Checkpoints, "save", timed),
            patch.object(frozen, "PATCHED_BYTES", least),
        ):
            asyncio.run(run.run())
    finally:
        shutil.rmtree(out)
    return found[2:]


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--ticks", type=int, default=10)
    options = parser.parse_args()
    table = Table("arrays", "state, MB", "written a generation, MB: median", "most", "seconds: median")
    for name, whole in (("whole", True), ("what changed", False)):
        rows = measured(options.agents, options.share, options.ticks, whole=whole)
        written, state, took_s = zip(*rows, strict=True)
        figure(f"a checkpoint of {options.agents:,}, {name}", statistics.median(took_s), "s")
        figure(f"written of {options.agents:,}, {name}", statistics.median(written) / 1e6, "MB")
        table.add_row(
            name, f"{state[-1] / 1e6:.1f}", f"{statistics.median(written) / 1e6:.2f}", f"{max(written) / 1e6:.2f}",
            f"{statistics.median(took_s):.3f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
