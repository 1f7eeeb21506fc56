"""What a checkpoint takes as shards grow: each host writes its piece, against all bytes through the driver.

Run it as `python benchmarks/pieces.py [--agents N] [--kilobytes K] [--shards 1,2,4,8] [--ticks N] [--ray]`.

Every agent takes a turn in each tick and remembers other text, so each checkpoint (one a tick) has them all. The first
two of a run, which are whole in any case, are left out.

The first table needs no cores: one process does the hosts' work one after another, with what Ray would carry packed and
unpacked, and counts the CPU time of the longest way, the slowest host's and then the driver's. Where each host has a
core, that is what the run waits for, but for the disk and the network. With `--ray` the same runs go on a real Ray:
wall time from the edge until the checkpoint is whole, for which these runs wait, what of it any run's edge waits, and
the driver's CPU time of it, which a loaded machine moves least.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import ray
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tuned_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.pieces import PieceWriter
from populace.cluster.ray import RayTransport
from populace.cluster.saver import Saver
from populace.cluster.transport import Exported
from populace.cluster.wire import pack, unpack_export, unpack_piece, unpack_positions
from populace.data.societies import Origin
from populace.kernel.snapshot import pack_world_state, unpack_world_state
from populace.settings import Settings, load_settings
from populace.store.checkpoint.file import Piece
from populace.store.journal.recording import join_positions

SOCIETY = """
from populace import Agent, Population, Society


class Rememberer(Agent):
    memory: str = ""

    async def turn(self, ctx):
        self.memory = f"{ctx.tick:08}" * (BYTES // 8)


society = Society(name="rememberers", agent=Rememberer, population=lambda setup: Population.of_defaults(setup.agents))
"""


class Timed(LocalTransport):
    """Notes the CPU time of each host's part in a checkpoint, and of what the driver does to take it in."""

    def __init__(self, *, pieces: bool) -> None:
        super().__init__()
        self.in_pieces = pieces
        self.hosts_s: list[float] = []
        self.taking_s = 0.0
        self._job: Any = None
        self._writers: list[PieceWriter] = []

    async def start(self, job: Any) -> Any:
        self._job, self._writers = job, []
        return await super().start(job)

    async def reach(self, checkpoints: Path) -> None:
        if self.in_pieces:
            self._writers = [PieceWriter(self._job, who, checkpoints) for who in range(len(self.hosts) + 1)]

    async def export(self, tick: int, whole: bool) -> Exported:
        self.hosts_s, self.taking_s = [], 0.0
        packed = []
        assert self._world is not None
        for who, host in enumerate((*self.hosts, self._world)):
            began_s = time.process_time()
            if self.in_pieces:
                packed.append(pack(host.freeze(self._writers[who], tick, whole=whole)))
            elif host is self._world:
                packed.append(pack((pack_world_state(host.environment.export(tick)), pack(host.positions(tick)))))
            else:
                packed.append(pack(host.export(tick, whole=whole)))
            self.hosts_s.append(time.process_time() - began_s)
        began_s = time.process_time()
        try:
            if self.in_pieces:
                return Exported([], {}, join_positions(map(unpack_positions, packed)))
            states = [unpack_export(one) for one in packed[:-1]]
            world, at = msgspec.msgpack.decode(packed[-1], type=tuple[bytes, bytes])
            positions = join_positions([*(at for _, at in states), unpack_positions(at)])
            return Exported([state for state, _ in states], unpack_world_state(world), positions)
        finally:
            self.taking_s = time.process_time() - began_s

    async def write(self, number: int) -> list[Piece]:
        assert self._world is not None
        pieces = []
        for who, host in enumerate((*self.hosts, self._world)):
            began_s = time.process_time()
            host.sync()
            if self.in_pieces:
                pieces.append(unpack_piece(pack(self._writers[who].write(number))))
            self.hosts_s[who] += time.process_time() - began_s
        return [piece for piece in pieces if piece is not None]


def longest_way(agents: int, size: int, shards: int, ticks: int, *, pieces: bool) -> tuple[list[float], list[float]]:
    """CPU seconds of the slowest host, and of the driver, for each checkpoint after the first two."""
    slowest: list[float] = []
    driver: list[float] = []
    save, transport = Saver.save, Timed(pieces=pieces)

    async def timed(self: Saver, *args: Any) -> None:
        began_s = time.process_time()
        await save(self, *args)
        await self.settled()
        slowest.append(max(transport.hosts_s))
        driver.append(time.process_time() - began_s - sum(transport.hosts_s))

    out = Path(tempfile.mkdtemp())
    run = Coordinator(society(size), settings_of(agents, ticks, shards, "local"), transport, out, [])
    try:
        with patch.object(Saver, "save", timed), tuned_collector():
            asyncio.run(run.run())
    finally:
        shutil.rmtree(out)
    return slowest[2:], driver[2:]


def society(size: int) -> Origin:
    return Origin("s.py", SOCIETY.replace("BYTES", str(size)))


def settings_of(agents: int, ticks: int, shards: int, transport: str) -> Settings:
    off = dict.fromkeys(("record__messages", "record__asks", "record__actions"), False)
    return load_settings(
        agents=agents, ticks=ticks, shards=shards, transport=transport, model__kind="scripted", record__agents="none",
        checkpoint__every_ticks=1, **off,
    )  # fmt: skip


def measured(
    agents: int, size: int, shards: int, ticks: int, *, pieces: bool
) -> tuple[list[float], list[float], list[float], int]:
    """Wall seconds, those at the edge, CPU seconds of each checkpoint after the first two; the bytes of the last."""
    walls: list[float] = []
    edges: list[float] = []
    cpus: list[float] = []
    written: list[int] = []
    save, reach = Saver.save, RayTransport.reach

    async def timed(self: Saver, *args: Any) -> None:
        began_s, cpu_s, before = time.perf_counter(), time.process_time(), self.upkeep.checkpoint_bytes
        await save(self, *args)
        edges.append(time.perf_counter() - began_s)
        await self.settled()
        walls.append(time.perf_counter() - began_s)
        cpus.append(time.process_time() - cpu_s)
        written.append(self.upkeep.checkpoint_bytes - before)

    async def nobody(self: RayTransport, checkpoints: Path) -> None:
        if pieces:
            await reach(self, checkpoints)
            assert len(self._writing) == shards + 1

    out = Path(tempfile.mkdtemp())
    run = Coordinator(society(size), settings_of(agents, ticks, shards, "ray"), RayTransport(), out, [])
    try:
        with patch.object(Saver, "save", timed), patch.object(RayTransport, "reach", nobody):
            asyncio.run(run.run())
    finally:
        shutil.rmtree(out)
    return walls[2:], edges[2:], cpus[2:], written[-1]


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=40_000)
    parser.add_argument("--kilobytes", type=float, default=1.0)
    parser.add_argument("--shards", default="1,2,4,8")
    parser.add_argument("--ticks", type=int, default=10)
    parser.add_argument("--ray", action="store_true")
    options = parser.parse_args()
    size, numbers = int(options.kilobytes * 1000), list(map(int, options.shards.split(",")))
    ways = (("through the driver", False), ("in pieces", True))
    console = Console()
    table = Table("checkpoint", "shards", "CPU s: slowest host", "driver", "together", title="The longest way, medians")
    for shards in numbers:
        for name, pieces in ways:
            hosts, driver = longest_way(options.agents, size, shards, options.ticks, pieces=pieces)
            parts = statistics.median(hosts), statistics.median(driver)
            table.add_row(name, str(shards), *(f"{part:.3f}" for part in (*parts, sum(parts))))
    console.print(table)
    if options.ray:
        os.environ["PYTHONHASHSEED"] = "0"
        ray.init("local", include_dashboard=False, log_to_driver=False, configure_logging=False, num_cpus=8)
        table = Table(
            "checkpoint", "shards", "MB", "wall s, median", "least", "at the edge", "driver's CPU s", title="On Ray"
        )
        for shards in numbers:
            for name, pieces in ways:
                walls, edges, cpus, written = measured(options.agents, size, shards, options.ticks, pieces=pieces)
                table.add_row(
                    name, str(shards), f"{written / 1e6:.1f}", f"{statistics.median(walls):.3f}", f"{min(walls):.3f}",
                    f"{statistics.median(edges):.3f}", f"{statistics.median(cpus):.3f}",
                )  # fmt: skip
        console.print(table)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
