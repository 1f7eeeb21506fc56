"""A fork that begins where its parent kept its state, and not at tick 0. Shell: files.

What the parent had by then is put into the fork's folder as the fork itself would have left it, had it recomputed those
ticks: the answers in its journal and the rows of its tables, as replayed, and the state as its first checkpoint. From
there on the fork is a run that is gone on with. The state comes last, so a fork that is killed before it is whole
begins at tick 0, from its parent's journal, and comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from populace.core.errors import CheckpointDamaged, StorageError
from populace.core.records import Answer, Counts, Position
from populace.kernel.snapshot import from_blocks, to_blocks
from populace.store.checkpoint.generations import Checkpoints, latest
from populace.store.folder import CHECKPOINTS, JOURNAL, Graft
from populace.store.journal.index import JournalIndex
from populace.store.journal.read import read_journal
from populace.store.journal.recording import taken_over
from populace.store.journal.write import Journal, Policy
from populace.store.tables.files import write_part
from populace.store.tables.tables import read_table

_BATCH: Final = 1000
_PAID: Final = ("calls", "tokens_in", "tokens_out", "cost_usd")


def take_over(out: Path, run: str, graft: Graft, hashes: tuple[str, ...], policy: Policy) -> list[Position]:
    """Put what the parent had before `graft.tick` into the folder of the fork `run`, which has begun nothing yet.

    Gives where the parent's journals stood then. Raises StorageError (CheckpointDamaged among them) where the state is
    not good, is not of the run with these trace `hashes`, or the rows before it are not there: the fork then begins at
    tick 0.
    """
    found = latest(graft.kept, run=graft.run)
    if found is None:
        raise CheckpointDamaged(f"{graft.kept}: holds no checkpoint (any more)")
    state = from_blocks(found.tick, found.blocks)
    if state.tick != graft.tick or tuple(state.hashes) != hashes[: graft.tick] or state.rows is None:
        raise CheckpointDamaged(f"{graft.kept}: is not of this run before tick {graft.tick}")
    for name, rows in state.rows.items():
        _take_rows(graft.parent, out, name, rows, state.tick)
    position, saved = _take_answers(out / JOURNAL, run, graft, policy)
    total = _replayed(state.total, *saved)
    own = msgspec.structs.replace(state, positions=[position], parts=1, total=total, wall_s=0.0)
    Checkpoints(out / CHECKPOINTS, run=run).save(own.tick, to_blocks(own))
    return state.positions


def _take_rows(parent: Path, out: Path, name: str, rows: int, tick: int) -> None:
    """The first rows of a table of the parent, as the first part of the fork's; asks as replayed."""
    if not rows:
        return
    table = read_table(parent, name)
    if table.num_rows < rows:
        raise StorageError(f"{parent}: {table.num_rows:,} of the first {rows:,} rows of {name} are there")
    table = table.slice(0, rows)
    write_part(out, name, _asks_replayed(table) if name == "asks" else table, 0, tick)


def _asks_replayed(table: Any) -> Any:
    """Rows of asks as they are where the answers come from another run: replayed, and at no cost."""
    settled = table.column("settled")
    changed = {"settled": pc.if_else(pc.equal(settled, "abstained"), settled, "replayed")}
    for name in (*_PAID, "latency_s"):
        kind = table.schema.field(name).type
        changed[name] = pa.array([0] * table.num_rows, kind)
    for name, column in changed.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    return table


def _take_answers(folder: Path, run: str, graft: Graft, policy: Policy) -> tuple[Position, tuple[int, float]]:
    """Put the parent's answers of the ticks before on the fork's record; gives where it ends, and what they had cost.

    They stand as a first attempt, as of a life of the fork that asked nobody.
    """
    calls, usd = 0, 0.0
    batch: list[tuple[bytes, Answer]] = []
    with Journal(folder, run=run, shard=0, attempt=0, policy=policy) as journal:
        for key, answer in _answers_before(graft):
            calls += answer.calls or int(answer.settled == "replayed")
            usd += answer.cost_usd
            batch.append((key, taken_over(answer)))
            if len(batch) == _BATCH:
                journal.append(batch)
                batch = []
        journal.append(batch)
        journal.sync()
        return journal.position, (calls, usd)


def _answers_before(graft: Graft) -> Iterator[tuple[bytes, Answer]]:
    records = read_journal(graft.parent / JOURNAL, run=graft.run, salvage=graft.salvaged)
    with JournalIndex(records) as index:
        for one in index.before(graft.tick):
            yield one.key, one.answer


def _replayed(total: Counts, saved_calls: int, saved_usd: float) -> Counts:
    """What a run counted, as counted by one that had all its answers from it."""
    free = msgspec.convert(msgspec.to_builtins(total), Counts)  # a copy of all that is in it
    free.replayed += free.answered + free.cached
    free.answered = free.cached = 0
    for name in (*_PAID, "latency_s", "estimated_tokens", "estimated_usd"):
        setattr(free, name, 0)
    for purposes in (free.purposes, *free.roles.values()):
        for purpose in purposes.values():
            for name in _PAID:
                setattr(purpose, name, 0)
    free.latency, free.traffic = [], None
    free.cost_usd, free.latency_s, free.estimated_usd = 0.0, 0.0, 0.0
    free.saved_calls, free.saved_usd = saved_calls, saved_usd
    return free
