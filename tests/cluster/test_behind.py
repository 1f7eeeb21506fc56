"""Checkpoints are written behind the next tick: they hold the edge, count once they are whole, and are waited for."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import all_parts
from support.attempts import go, same_tables
from support.checkpoint_support import same
from support.pieces import InPieces
from support.running import SOCIETIES, settings_of

from populace.cluster import coordinator, saver
from populace.cluster.controlled import Controlled
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.saver import Saver
from populace.core.errors import ActorLost, Interrupted, StorageError
from populace.data.societies import find_society
from populace.kernel.blocks import Rows
from populace.runs import courses
from populace.runs.courses import resume_course
from populace.store.checkpoint.frozen import Freezer, Frozen
from populace.store.checkpoint.generations import latest
from populace.store.folder import CHECKPOINTS
from populace.store.kept import kept_ticks
from populace.store.manifest import MANIFEST, read_manifest

HELD = 4
"""The edge whose checkpoint is held up."""


class Holding:
    """Holds up what is written of the checkpoint before tick HELD, until `released`: as that tick closes or before."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.held = asyncio.Event()
        self.opened: list[int] = []
        self.closing_releases = True
        self.once_held: Callable[[], None] = lambda: None
        self.tick = 0

    async def export(self, tick: int, whole: bool) -> Any:
        self.tick = tick
        return await super().export(tick, whole)  # type: ignore[misc]

    async def write(self, number: int) -> Any:
        if self.tick == HELD and not self.held.is_set():
            self.held.set()
            self.once_held()
            await self.released.wait()
        return await super().write(number)  # type: ignore[misc]

    async def open_tick(self, shard: int, tick: int, envelope: Any) -> Any:
        self.opened.append(tick)
        return await super().open_tick(shard, tick, envelope)  # type: ignore[misc]

    async def close_tick(self, tick: int, envelope: Any) -> Any:
        done = await super().close_tick(tick, envelope)  # type: ignore[misc]
        if tick == HELD and self.closing_releases:
            self.released.set()
        return done


class HeldWhole(Holding, LocalTransport):
    """The driver writes all."""


class HeldPieces(Holding, InPieces):
    """Hosts write pieces."""


WAYS = {"the driver writes": HeldWhole, "hosts write": HeldPieces}
either = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def played(out: Path, transport: LocalTransport, **options: Any) -> dict[str, Any]:
    """The run of the reference, saved at each other edge."""
    settings = settings_of(**{"agents": 50, "ticks": 8, "shards": 2, "checkpoint__every_ticks": 2, **options})
    return asyncio.run(Coordinator(find_society(SOCIETIES), settings, transport, out).run())


def newest(out: Path) -> int:
    """Before which tick the newest good checkpoint stands."""
    found = latest(out / CHECKPOINTS)
    assert found is not None
    assert found.skipped == ()
    return found.tick


@either
def test_a_tick_is_whole_while_the_checkpoint_before_it_is_not(tmp_path, reference, way):
    transport = way()
    manifest = played(tmp_path, transport)
    assert transport.held.is_set()
    assert HELD in transport.opened, "else it would have been held for ever"
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    same_tables(tmp_path, reference[1])


def kept(out: Path, transport: LocalTransport) -> dict[str, Any]:
    """What the checkpoint before HELD holds, of a run with all parts and types."""
    options = {"shards": 2, "checkpoint__every_ticks": 2, "checkpoint__kept_at": [HELD], "transport": transport}
    assert go(out, stop_at=6, scenario=all_parts.__file__, **options) is None
    found = latest(kept_ticks(out)[HELD])
    assert found is not None
    return found.blocks


def others(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The blocks that are not the same; the hashes of `facts`, which has times, are."""
    assert found.keys() == expected.keys()
    assert found["facts"]["hashes"] == expected["facts"]["hashes"]
    assert found["facts"]["world_hashes"] == expected["facts"]["world_hashes"]
    assert len(found["facts"]["hashes"]) == HELD
    return [name for name, block in expected.items() if name != "facts" and not same(found[name], block)]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """The same as the run waits for each."""
    save = Saver.save

    async def waiting(self, *args):
        await save(self, *args)
        await self.settled()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "save", waiting)
        return kept(tmp_path_factory.mktemp("at_once"), LocalTransport())


@either
def test_what_is_written_a_tick_later_is_the_state_of_the_edge(tmp_path, at_once, way):
    assert others(kept(tmp_path, way()), at_once) == []


def live(freezer: Freezer, name: str, block: Any) -> Frozen | Rows:
    """Arrays as they are: whoever changes one changes what is saved."""
    return Frozen(block) if isinstance(block, np.ndarray) else frozen(freezer, name, block)


frozen = Freezer.freeze


@either
def test_control_a_state_that_is_not_frozen_is_another_by_then(tmp_path, at_once, monkeypatch, way):
    monkeypatch.setattr(Freezer, "freeze", live)
    found = others(kept(tmp_path, way()), at_once)
    assert found
    assert all(name.startswith("world/") for name in found), "of shards nothing that is taken is live"


def test_control_hashes_that_are_not_copied_are_those_of_more_ticks(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(saver, "list", lambda values: values, raising=False)
    with pytest.raises(AssertionError):
        others(kept(tmp_path, HeldWhole()), at_once)


class Failing(HeldPieces):
    """No piece of the second generation comes to be."""

    async def write(self, number: int) -> Any:
        if number == 2:
            raise StorageError("the folder is gone")
        return await InPieces.write(self, number)


def failed_and_resumed(out: Path) -> dict[str, Any]:
    with pytest.raises(StorageError, match="the folder is gone"):
        played(out, Failing())
    return go(out, going=resume_course(out))


def test_a_generation_is_there_once_all_its_pieces_are(tmp_path, reference):
    manifest = failed_and_resumed(tmp_path)
    assert manifest["began_at_tick"] == 2
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    same_tables(tmp_path, reference[1])


def test_control_a_generation_that_is_named_before_its_pieces_are_written_is_not_whole(tmp_path, monkeypatch):
    async def too_early(self, store, taken, *_):
        frames = await self._transport.collect(taken.parcels)
        await asyncio.to_thread(taken.tables.cut)
        await asyncio.to_thread(saver._put_down, store, taken, frames, [])
        await self._transport.write(taken.number)

    monkeypatch.setattr(Saver, "_write", too_early)
    with pytest.raises(KeyError, match="parts"):  # of the world: it was to be in a piece
        failed_and_resumed(tmp_path)


@either
def test_where_the_folder_is_removed_meanwhile_the_run_ends_and_nothing_is_asked_again(tmp_path, reference, asked, way):
    transport = way()
    transport.once_held = lambda: shutil.rmtree(tmp_path / CHECKPOINTS)
    with pytest.raises(StorageError, match="checkpoints"):
        played(tmp_path, transport)
    told = read_manifest(tmp_path)
    assert told["status"] == "failed"
    assert HELD < told["ticks"] <= HELD + 2, "at the next edge, or the one after the tick that closes as it is let go"
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    assert len(asked) == len(set(asked)) == reference[0]["calls_billed"]
    same_tables(tmp_path, reference[1])


@either
def test_an_interrupt_waits_for_it_and_then_saves_the_last_whole_tick(tmp_path, reference, way):
    transport, made = way(), []

    def interrupt() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, made[0].stop)
        loop.call_later(0.4, transport.released.set)

    transport.once_held, transport.closing_releases = interrupt, False
    made.append(Coordinator(find_society(SOCIETIES), settings_of(agents=50, ticks=8, shards=2,
                            checkpoint__every_ticks=2), transport, tmp_path))  # fmt: skip
    with pytest.raises(Interrupted):
        asyncio.run(made[0].run())
    assert newest(tmp_path) == read_manifest(tmp_path)["ticks"] >= HELD
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    same_tables(tmp_path, reference[1])


def test_who_reads_the_record_of_a_run_that_completes_meanwhile_finds_all_its_ticks(tmp_path, reference, monkeypatch):
    assert go(tmp_path, stop_at=5) is None
    (tmp_path / MANIFEST).unlink()  # as of a run that is at work

    def late(*args: Any) -> Any:
        monkeypatch.undo()
        go(tmp_path, going=resume_course(tmp_path))
        return latest(*args)

    monkeypatch.setattr(courses, "latest", late)
    assert courses.recorded_hashes(tmp_path) == reference[0]["trace_hashes"]


class Slow(HeldPieces):
    """What is written takes a while."""

    async def write(self, number: int) -> Any:
        await asyncio.sleep(0.3)
        return await InPieces.write(self, number)


def test_who_pauses_a_run_finds_its_checkpoint_whole(tmp_path, monkeypatch):
    found = []

    async def paused(self, tick, hurry, save):
        if tick in (3, 4):
            await save()
            found.append(newest(tmp_path) == tick)

    monkeypatch.setattr(Controlled, "at_edge", paused)
    played(tmp_path, Slow())
    assert found == [True, True]


class Looking:
    """Looks before tick 5."""

    base_url = fence = None

    def __init__(self, out: Path) -> None:
        self.out = out
        self.found: list[int] = []

    def due(self, tick: int) -> bool:
        return tick == 5

    async def at(self, transport: Any, tick: int) -> None:
        self.found.append(newest(self.out))


def test_who_asks_agents_between_ticks_does_so_once_it_is_whole(tmp_path):
    probe = Looking(tmp_path)
    settings = settings_of(agents=50, ticks=8, shards=2, checkpoint__every_ticks=4)
    asyncio.run(Coordinator(find_society(SOCIETIES), settings, Slow(), tmp_path, probe=probe).run())
    assert probe.found == [4]


class Losing(HeldPieces):
    """Loses a shard, once, while a checkpoint is held: in what it writes, or in the tick, so that it is never whole."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.lost = False

    async def write(self, number: int) -> Any:
        if self.tick == HELD and self.where == "the save" and not self.lost:
            self.lost = True
            raise ActorLost(["shard 1"], "shard 1 was lost")
        return await super().write(number)

    async def open_tick(self, shard: int, tick: int, envelope: Any) -> Any:
        if tick == HELD and self.where == "the tick" and not self.lost:
            await self.held.wait()
            self.lost = True
            raise ActorLost(["shard 1"], "shard 1 was lost")
        return await super().open_tick(shard, tick, envelope)


@pytest.mark.parametrize("where", ["the save", "the tick"])
def test_a_shard_that_is_lost_meanwhile_takes_the_run_back_to_the_checkpoint_before(
    tmp_path, reference, monkeypatch, where
):
    monkeypatch.setattr(coordinator, "_SAVING_S", 0.1)
    manifest = played(tmp_path, Losing(where))
    assert manifest["attempt"] == 1
    assert manifest["began_at_tick"] == 2
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    assert manifest["calls_billed"] == reference[0]["calls_billed"]
    same_tables(tmp_path, reference[1])
