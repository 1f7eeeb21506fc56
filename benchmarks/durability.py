"""What durability costs: the journal for each answer, a checkpoint for each active agent; and what a replay takes.

Run it as `python benchmarks/durability.py [FOLDER] [--only parts|runs|checkpoints|replay]`.

`parts` are journal and checkpoints alone. The others are whole runs of a society, in one process: `runs` with each of
the journal's policies, against a server on loopback that answers at once, and with the scripted model; `checkpoints`
of 100,000 agents of which one in a hundred is active; `replay` of a run whose model takes 200 ms for a call.

Every figure of a table comes from one process and one disk, so read the ratios. FOLDER (default: a temporary one)
decides which disk is measured; on a tmpfs a sync costs nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from figures import figure
from gateway import SOCIETY, Clock, serve
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tune_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.saver import Saver
from populace.cluster.standing import Standing
from populace.core.records import Answer, Counts
from populace.data.societies import Origin
from populace.kernel.blocks import Rows
from populace.runs.courses import replay_course
from populace.runs.replay import replay_run
from populace.settings import Settings
from populace.store.checkpoint.generations import Checkpoints, Saved, latest
from populace.store.journal.index import JournalIndex
from populace.store.journal.read import read_journal
from populace.store.journal.write import Journal, Policy

AGENTS = 100_000
ACTIVE = 1_000
ROW_BYTES = 300
DECISION_S = 400e-6
"""CPU time of one decision on a bare aiohttp loop (docs: figures of the field), to set the journal's cost against."""


@contextmanager
def folder_in(parent: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def answers(count: int) -> list[tuple[bytes, Answer]]:
    rng = random.Random(1)
    return [
        (
            rng.randbytes(16),
            Answer(
                n,
                n // 1000,
                0,
                "answered",
                rng.randbytes(100).hex(),
                calls=1,
                tokens_in=400,
                tokens_out=50,
                cost_usd=1e-4,
                latency_s=0.2,
            ),
        )
        for n in range(count)
    ]


def journal_costs(parent: Path | None) -> Table:
    table = Table(
        "policy",
        "batch",
        "answers",
        "us an answer",
        f"share of a {DECISION_S * 1e6:.0f} us decision",
        title="Journal: append and commit, 200 characters an answer",
    )
    made = answers(60_000)
    policies: list[tuple[Policy, int]] = [("process", 60_000), ("machine", 0)]
    for policy, count in policies:
        for batch in (1, 16, 256):
            pairs = made[: count or min(60_000, 300 * batch)]
            with folder_in(parent) as folder:
                journal = Journal(folder, run="bench", shard=0, attempt=0, policy=policy)
                begin = time.perf_counter()
                for at in range(0, len(pairs), batch):
                    journal.append(pairs[at : at + batch])
                    journal.commit()
                spent = (time.perf_counter() - begin) / len(pairs)
                journal.close()
            table.add_row(policy, str(batch), str(len(pairs)), f"{spent * 1e6:.1f}", f"{spent / DECISION_S:.1%}")
    with folder_in(parent) as folder:
        with Journal(folder, run="bench", shard=0, attempt=0) as journal:
            journal.append(made)
        begin = time.perf_counter()
        index = JournalIndex(read_journal(folder))
        spent = (time.perf_counter() - begin) / len(made)
        table.add_row("(read and index)", "", str(len(made)), f"{spent * 1e6:.1f}", "")
        begin = time.perf_counter()
        for _, answer in made:
            assert index.find(answer.agent, answer.tick, answer.nth) is not None
        spent = (time.perf_counter() - begin) / len(made)
        index.close()
        table.add_row("(look up)", "", str(len(made)), f"{spent * 1e6:.1f}", "")
    return table


def checkpoint_costs(parent: Path | None) -> Table:
    rng = random.Random(2)
    rows = {n: rng.randbytes(ROW_BYTES) for n in range(AGENTS)}
    opinions = np.random.default_rng(2).random(AGENTS)
    table = Table(
        "save",
        "ms",
        "bytes",
        "share of full, time",
        "share of full, bytes",
        title=f"Checkpoint: {AGENTS} agents of {ROW_BYTES} bytes, {ACTIVE} active a tick, one float64 column",
    )
    with folder_in(parent) as folder:
        store = Checkpoints(folder, run="bench")

        def save(tick: int, **options: Any) -> tuple[float, Saved]:
            begin = time.perf_counter()
            done = store.save(tick, **options)
            return time.perf_counter() - begin, done

        full_s, full = save(0, blocks={"agents": Rows(rows, whole=True), "opinions": opinions})
        second_s, second = save(1, blocks={"agents": Rows({})}, unchanged=["opinions"])
        table.add_row("full", f"{full_s * 1e3:.1f}", str(full.written_bytes), "100 %", "100 %")
        add_share(table, "second (the other line, copied)", second_s, second.written_bytes, full_s, full)
        for name, given in (("1 % active", False), ("1 % active, column changed too", True)):
            times, sizes = [], []
            for tick in range(2, 102):
                delta = {row: rng.randbytes(ROW_BYTES) for row in rng.sample(range(AGENTS), ACTIVE)}
                rows.update(delta)
                blocks: dict[str, Any] = {"agents": Rows(delta)}
                if given:
                    opinions[list(delta)] += 1.0
                    blocks["opinions"] = opinions
                spent, done = save(tick, blocks=blocks, unchanged=[] if given else ["opinions"])
                times.append(spent)
                sizes.append(done.written_bytes)
            for what, pick in (("median", 50), ("worst", 100)):
                row = f"{name}, {what} of 100"
                add_share(table, row, np.percentile(times, pick), int(np.percentile(sizes, pick)), full_s, full)
            add_share(table, f"{name}, mean of 100", np.mean(times), int(np.mean(sizes)), full_s, full)
        disk = sum(path.stat().st_size for path in folder.iterdir())
        begin = time.perf_counter()
        found = latest(folder)
        spent = time.perf_counter() - begin
        assert found is not None
        assert found.blocks["agents"] == rows
        add_share(table, "read back, all checked", spent, 0, full_s, full)
        table.caption = f"on disk at the end, two generations: {disk / full.written_bytes:.1f} times a full state"
    return table


def add_share(table: Table, name: str, spent: Any, size: int, full_s: float, full: Saved) -> None:
    share = f"{size / full.written_bytes:.1%}" if size else ""
    table.add_row(name, f"{spent * 1e3:.1f}", str(size or ""), f"{spent / full_s:.1%}", share)


@contextmanager
def model_server(latency_s: float) -> Iterator[dict[str, Any]]:
    """Settings of a model that a process of its own serves."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, latency_s), daemon=True)
    server.start()
    try:
        yield {"kind": "openai", "name": "m", "base_url": f"http://127.0.0.1:{mine.recv()}/v1", "max_tokens": 60}
    finally:
        server.terminate()
        server.join()


def run_costs(parent: Path | None, rounds: int = 4) -> Table:
    """Decisions a second from the end of the first tick on, of whole runs that alternate; the best of the rounds."""
    table = Table(
        "model",
        "journal",
        "decisions/s of CPU",
        "of off",
        "decisions/s of wall",
        "of off",
        title="Whole runs, 1,500 agents, 4 ticks, one ask each; no checkpoint",
    )
    with model_server(0.0) as served:
        for name, model, agents in (("server", served, 1500), ("scripted", {"kind": "scripted"}, 5000)):
            best: dict[str, tuple[float, float]] = {}
            for nth in range(rounds + 1):
                for journal in ("off", "process", "machine"):
                    clock = Clock()
                    with folder_in(parent) as folder:
                        settings = Settings(
                            agents=agents, ticks=4, seed=1, model=model, journal=journal, checkpoint={"every_s": None}
                        )  # type: ignore[arg-type]
                        run = Coordinator(Origin("deciders", SOCIETY), settings, LocalTransport(), folder, [clock])
                        tune_collector()
                        asyncio.run(run.run())
                    if nth:  # the first round warms up
                        rates = clock.decisions / clock.took[1], clock.decisions / clock.took[0]
                        known = best.get(journal, (0.0, 0.0))
                        best[journal] = max(known[0], rates[0]), max(known[1], rates[1])
            for journal, (cpu, wall) in best.items():
                shares = cpu / best["off"][0], wall / best["off"][1]
                table.add_row(name, journal, f"{cpu:,.0f}", f"{shares[0]:.2f}", f"{wall:,.0f}", f"{shares[1]:.2f}")
    return table


SPARSE = """
import numpy as np

from populace.agents.agent import Agent, Public
from populace.agents.population import Population
from populace.agents.society import Society

class Dormant(Agent):
    opinion: Public[float] = 0.0
    memory: list[str] = []

    async def turn(self, ctx):
        self.opinion += 0.1
        self.memory = [*self.memory[-3:], f"in tick {ctx.tick} I thought about it again, and about what you had said"]

class OneInAHundred:
    def due(self, seed, tick, ids):
        return np.ones(len(ids), bool) if tick == 0 else ids % 100 == tick % 100

society = Society(name="sparse", agent=Dormant, activation=OneInAHundred(),
                  population=lambda setup: Population({"opinion": [0.0] * setup.agents}))
"""


def timed(saver: Saver, folder: Path, saves: list[tuple[float, int]]) -> None:
    """Have the run wait for each checkpoint, and it noted how long that took, and how many bytes it wrote."""
    save = saver.save

    async def noted(standing: Standing, unrecorded: Counts) -> None:
        began_s, before = time.perf_counter(), set((folder / "checkpoints").glob("*"))
        await save(standing, unrecorded)
        await saver.settled()
        took_s = time.perf_counter() - began_s
        if new := set((folder / "checkpoints").glob("*")) - before:
            saves.append((took_s, max(new).stat().st_size))

    saver.save = noted  # type: ignore[method-assign]


def saved_runs(parent: Path | None) -> Table:
    table = Table(
        "save, from the edge until it is whole",
        "ms",
        "bytes",
        "share of the first, time",
        "bytes",
        title=f"Checkpoints of a run: {AGENTS} agents, all active in tick 0, then {ACTIVE} a tick",
    )
    with folder_in(parent) as folder:
        record = {"agents": "none", "messages": False, "asks": False}
        settings = Settings(
            agents=AGENTS, ticks=42, seed=1, model={"kind": "scripted"}, checkpoint={"every_ticks": 1}, record=record
        )  # type: ignore[arg-type]
        run = Coordinator(Origin("sparse", SPARSE), settings, LocalTransport(), folder)
        saves: list[tuple[float, int]] = []
        timed(run._saver, folder, saves)
        tune_collector()
        asyncio.run(run.run())
    first_s, first_bytes = saves[0]
    second, later = saves[1], saves[2:]
    times, sizes = zip(*later, strict=True)
    for name, spent, size in (
        ("first, whole", first_s, first_bytes),
        ("second (the other line, copied)", *second),
        (f"1 % active, median of {len(later)}", float(np.median(times)), int(np.median(sizes))),
        ("1 % active, worst", max(times), max(sizes)),
    ):
        figure(f"a checkpoint of {AGENTS:,}: {name}", spent * 1e3, "ms")
        table.add_row(name, f"{spent * 1e3:.1f}", str(size), f"{spent / first_s:.1%}", f"{size / first_bytes:.1%}")
    return table


def replay_costs(parent: Path | None) -> Table:
    table = Table("what", "s", "times as fast", title="400 agents, 10 ticks, 64 calls of 200 ms at once")
    with model_server(0.2) as model, folder_in(parent) as folder:
        settings = Settings(agents=400, ticks=10, seed=1, model=model)  # type: ignore[arg-type]
        began_s = time.perf_counter()
        run = Coordinator(Origin("deciders", SOCIETY), settings, LocalTransport(), folder / "run")
        asyncio.run(run.run())
        run_s = time.perf_counter() - began_s
        table.add_row("the run", f"{run_s:.2f}", "1")
        best_s = float("inf")
        for nth in range(3):
            began_s = time.perf_counter()
            replayed = replay_run(replay_course(folder / "run"), folder / "run", folder / str(nth))
            best_s = min(best_s, time.perf_counter() - began_s)
            assert replayed.diverged is None
        table.add_row("its replay, best of 3", f"{best_s:.2f}", f"{run_s / best_s:.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", choices=("parts", "runs", "checkpoints", "replay"))
    options = parser.parse_args()
    tables = {
        "parts": (journal_costs, checkpoint_costs), "runs": (run_costs,), "checkpoints": (saved_runs,),
        "replay": (replay_costs,),
    }  # fmt: skip
    console = Console(width=120)
    for name, measures in tables.items():
        if options.only in (None, name):
            for measure in measures:
                console.print(measure(options.folder))


if __name__ == "__main__":
    main()
