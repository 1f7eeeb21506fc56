"""Checkpoints of which each host writes its piece: the run is the same, resumed on any hosts, with any of them far."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support import all_parts
from support.attempts import go, same_tables
from support.checkpoint_support import same
from support.full_disk import file_size_limit
from support.pieces import InPieces

from populace.cluster.job import Job
from populace.cluster.pieces import PieceWriter
from populace.cluster.ray_actors import EnvironmentActor, ShardActor
from populace.cluster.wire import unpack_piece
from populace.core.errors import DiskFull
from populace.kernel.blocks import Rows
from populace.runs.courses import fork_course, resume_course
from populace.store.checkpoint import file as checkpoint_file
from populace.store.checkpoint import generations, pieces
from populace.store.checkpoint.file import Author, read_contents
from populace.store.checkpoint.file import generations as listed
from populace.store.checkpoint.generations import Checkpoints, latest
from populace.store.folder import CHECKPOINTS
from populace.store.kept import kept_ticks

FAR = {"none": (), "a shard": (1,), "the world": (2,), "two shards": (0, 1)}


def newest(out: Path) -> list[str]:
    """The files of the pieces of the newest generation."""
    return [one.file for one in read_contents(next(iter(listed(out / CHECKPOINTS).values()))).pieces]


@pytest.mark.parametrize("far", FAR.values(), ids=FAR.keys())
def test_invariant_2_a_run_saved_in_pieces_and_resumed_elsewhere_is_the_same(tmp_path, reference, asked, far):
    whole, folder = reference
    first = InPieces(far)
    assert go(tmp_path, stop_at=5, shards=2, checkpoint__every_ticks=1, transport=first) is None
    assert first.wrote >= 5 * (3 - len(far))
    assert len(newest(tmp_path)) == 3 - len(far)
    assert go(tmp_path, stop_at=6, going=resume_course(tmp_path, shards=3), transport=InPieces((0, 3))) is None
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=1))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    assert manifest["began_at_tick"] == 6
    same_tables(tmp_path, folder)
    assert len(asked) == len(set(asked)) == whole["calls_billed"]
    assert not (tmp_path / CHECKPOINTS).exists()


def test_control_where_a_shards_piece_is_left_out_the_run_is_another(tmp_path, reference, monkeypatch):
    join = pieces.join_blocks
    monkeypatch.setattr(generations, "join_blocks", lambda blocks, written: join(blocks, written[1:]))
    assert go(tmp_path, stop_at=5, shards=2, checkpoint__every_ticks=1, transport=InPieces()) is None
    going = resume_course(tmp_path)
    assert go(tmp_path, going=going)["trace_hashes"] != reference[0]["trace_hashes"]


def test_a_state_in_pieces_holds_what_one_process_would_have_written(tmp_path):
    """Types in columns and of coroutines, births and exits, timers, mail: block by block, in value and in type."""
    for name, transport in (("one", None), ("pieces", InPieces()), ("some", InPieces((1,)))):
        options = {"shards": 2, "checkpoint__every_ticks": 1, "checkpoint__kept_at": [4], "transport": transport}
        assert go(tmp_path / name, stop_at=6, scenario=all_parts.__file__, **options) is None
    found = {name: latest(tmp_path / name / CHECKPOINTS) for name in ("one", "pieces", "some")}
    for name in ("pieces", "some"):
        assert found[name].blocks.keys() == found["one"].blocks.keys()
        assert any(block.startswith("columns/") for block in found[name].blocks)
        for block, value in found["one"].blocks.items():
            if block != "facts":  # how long it took
                assert same(found[name].blocks[block], value), block
        kept = [latest(kept_ticks(tmp_path / one)[4]).blocks for one in ("one", name)]
        assert all(same(kept[0][block], kept[1][block]) for block in kept[0] if block != "facts")
        assert kept[0].keys() == kept[1].keys()


def test_a_fork_begins_at_a_state_that_was_kept_in_pieces(tmp_path, reference):
    go(tmp_path / "run", shards=2, checkpoint__kept_at=[4], transport=InPieces())
    forked = go(tmp_path / "fork", going=fork_course(tmp_path / "run", 5, (), ()))
    assert forked["began_at_tick"] == 4
    assert forked["trace_hashes"] == reference[0]["trace_hashes"]
    assert forked["calls_billed"] == 0


class Filling(InPieces):
    """The disk is full as the hosts write their pieces of one generation."""

    async def write(self, number):
        if number != 3:
            return await super().write(number)
        with file_size_limit(200):  # the loop waits, so that nothing else is written meanwhile
            return [writer.write(number) for writer in self._writers.values()]


def test_a_full_disk_at_one_host_leaves_the_generation_before_and_the_run_goes_on_from_it(tmp_path, reference):
    with pytest.raises(DiskFull):
        go(tmp_path, shards=2, checkpoint__every_ticks=1, transport=Filling())
    found = latest(tmp_path / CHECKPOINTS)
    assert found.skipped == ()
    assert found.tick == 2
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=2), transport=InPieces())
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    same_tables(tmp_path, reference[1])


@pytest.mark.parametrize("named", [True, False], ids=["fenced", "control"])
def test_a_piece_of_an_attempt_that_is_over_takes_nobodys_place(tmp_path, monkeypatch, named):
    """It comes once the next attempt has written its own. The control leaves the attempt out of the names."""
    if not named:
        name = checkpoint_file.file_name
        nameless = lambda number, tick, author=None: name(number, tick, author and Author(0, author.shard))  # noqa: E731
        monkeypatch.setattr(checkpoint_file, "file_name", nameless)
        monkeypatch.setattr(generations, "file_name", nameless)
    driver, old, new = (Checkpoints(tmp_path, run="r") for _ in range(3))

    def state(byte: bytes) -> dict[str, object]:
        none = np.empty(0, np.int64)
        return {"agents": Rows({1: byte}, whole=True), "timers/tick": none, "timers/agent": none.astype(np.int32)}

    def save(tick: int) -> None:
        number = driver.next_number
        piece = new.write_piece(Author(1, 0), number, tick, state(b"new"), whole=True)
        driver.save(tick, {"world": {}}, pieces=[piece])

    save(1)
    save(2)
    late = old.write_piece(Author(0, 0), driver.next_number - 1, 2, state(b"old"), whole=True)
    found = latest(tmp_path)
    assert found.blocks["agents"] == {1: b"new"}, "nothing false is read in either case"
    assert (found.tick, found.skipped == ()) == ((2, True) if named else (1, False))
    if named:
        save(3)
        assert not (tmp_path / late.file).exists()
        assert len(list(tmp_path.iterdir())) == 4


class SlowDisk:
    """A host whose journal is synced once it is `released`; `begun` once that waits."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def sync(self) -> None:
        self.begun.set()
        assert self.released.wait(240)


def taken(folder: Path, attempt: int) -> PieceWriter:
    """The writer of an attempt, which has taken aside a state that says whose it is."""
    job = Job(origin="", source="", settings="", run="r", ticks=9, agents=1, counts={}, attempt=attempt)
    writer = PieceWriter(job, 0, folder)
    writer.take(2, {"agents": Rows({1: b"%d" % attempt}, whole=True)}, whole=True, live=False)
    return writer


@pytest.mark.parametrize("kind", [ShardActor, EnvironmentActor])
def test_a_host_whose_disk_was_slow_writes_nothing_of_the_attempt_that_has_begun_meanwhile(tmp_path, kind):
    actor, host = kind.__new__(kind), SlowDisk()
    old, new = taken(tmp_path, 0), taken(tmp_path, 1)
    actor._host, actor._writer = host, old
    write = kind.write
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(lambda: asyncio.run(write(actor, 1)) if kind is ShardActor else write(actor, 1))
        assert host.begun.wait(240)
        actor._writer = new
        host.released.set()
        assert unpack_piece(late.result()).author == Author(0, 0)
    assert new.write(2).author == Author(1, 0), "it has still what it took aside"
