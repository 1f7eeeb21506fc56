"""A tick's rows go into the tables while the next one's turns are taken, and are there before they count."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest
from support.attempts import go, same_tables
from support.running import SOCIETIES, run_local, settings_of

from populace.cluster import loop
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.loop import TickLoop
from populace.core.errors import StorageError
from populace.data.societies import find_society
from populace.runs.courses import resume_course
from populace.store.manifest import read_manifest

OPTIONS = {"agents": 30, "ticks": 6, "shards": 2, "checkpoint__every_ticks": 4}
record = loop.record_tick


class Telling(LocalTransport):
    """Tells which ticks were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = [threading.Event() for _ in range(OPTIONS["ticks"] + 1)]

    async def open_tick(self, shard, tick, envelope):
        self.opened[tick].set()
        return await super().open_tick(shard, tick, envelope)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    out = tmp_path_factory.mktemp("still") / "run"
    return run_local(out, **OPTIONS), out


def test_the_next_tick_is_open_while_a_tick_is_recorded_but_at_a_checkpoint(tmp_path, still, monkeypatch):
    transport, early = Telling(), []

    def waiting(tables, tick, *more):
        if tick + 1 in (4, 6):  # a checkpoint, the run's end
            early.append(transport.opened[tick + 1].is_set())
        else:
            assert transport.opened[tick + 1].wait(60), f"tick {tick + 1} waits for the tables"
        return record(tables, tick, *more)

    monkeypatch.setattr(loop, "record_tick", waiting)
    manifest = asyncio.run(
        Coordinator(find_society(SOCIETIES), settings_of(**OPTIONS), transport, tmp_path / "run").run()
    )
    assert early == [False, False]
    assert manifest["trace_hashes"] == still[0]["trace_hashes"]
    same_tables(tmp_path / "run", still[1])


def failing_at(failing):
    def fails(tables, tick, *more):
        if tick == failing:
            raise StorageError("the disk is full")
        return record(tables, tick, *more)

    return fails


@pytest.mark.parametrize("tick", [1, 3, 4])
def test_where_rows_cannot_be_written_no_checkpoint_counts_on_them(tmp_path, reference, monkeypatch, tick):
    with monkeypatch.context() as patched:
        patched.setattr(loop, "record_tick", failing_at(tick))
        with pytest.raises(StorageError, match="the disk is full"):
            go(tmp_path / "run", checkpoint__every_ticks=4)
    assert read_manifest(tmp_path / "run")["status"] == "failed"
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run"))
    assert manifest["began_at_tick"] == (4 if tick == 4 else 0)
    assert manifest["trace_hashes"] == reference[0]["trace_hashes"]
    same_tables(tmp_path / "run", reference[1])


def test_control_a_checkpoint_saved_regardless_of_rows_that_could_not_be_written_lacks_them(
    tmp_path, reference, monkeypatch
):
    async def regardless(self, recorded=TickLoop._recorded):
        with suppress(StorageError):
            await recorded(self)

    with monkeypatch.context() as patched:
        patched.setattr(TickLoop, "_recorded", regardless)
        patched.setattr(loop, "record_tick", failing_at(3))
        assert go(tmp_path / "run", checkpoint__every_ticks=4, stop_at=6) is None
    go(tmp_path / "run", going=resume_course(tmp_path / "run"))
    with pytest.raises(AssertionError):
        same_tables(tmp_path / "run", reference[1])
