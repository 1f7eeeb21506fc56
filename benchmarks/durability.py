"""What durability costs: the journal for each answer, a checkpoint for each active agent.

Run it as `python benchmarks/durability.py [FOLDER]`.

Every figure of a table comes from one process and one disk, so read the ratios. FOLDER (default: a temporary one)
decides which disk is measured; on a tmpfs a sync costs nothing.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from populace.cluster.checkpoint import Checkpoints, Saved, latest
from populace.cluster.checkpoint_blocks import Rows
from populace.cluster.journal import Journal, Policy
from populace.cluster.journal_index import JournalIndex
from populace.cluster.journal_read import read_journal
from populace.core.records import Answer

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
        (rng.randbytes(16), Answer(n, n // 1000, 0, "answered", rng.randbytes(100).hex(), calls=1, tokens_in=400,
                                   tokens_out=50, cost_usd=1e-4, latency_s=0.2))
        for n in range(count)
    ]


def journal_costs(parent: Path | None) -> Table:
    table = Table("policy", "batch", "answers", "us an answer", f"share of a {DECISION_S * 1e6:.0f} us decision",
                  title="Journal: append and commit, 200 characters an answer")
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
    table = Table("save", "ms", "bytes", "share of full, time", "share of full, bytes",
                  title=f"Checkpoint: {AGENTS} agents of {ROW_BYTES} bytes, {ACTIVE} active a tick, one float64 column")
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


def main() -> None:
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    console = Console(width=110)
    console.print(journal_costs(parent))
    console.print(checkpoint_costs(parent))


if __name__ == "__main__":
    main()
