"""A tick's rows go into the tables while the next one's turns are taken, and are there before they count."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from support.attempts import go, same_tables
from support.chaos import Provider, options_of
from support.running import SOCIETIES, run_local, settings_of

import populace
from populace.cluster import local, loop
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.loop import TickLoop
from populace.core.errors import Interrupted, StorageError
from populace.data.societies import find_society
from populace.kernel.tick import FIRST_ASKS
from populace.models.http import Http, Reply
from populace.runs.courses import resume_course
from populace.store.manifest import read_manifest
from populace.store.tables.tables import Tables, read_table

ASKING = """
from populace import Agent, Population, Society

class Citizen(Agent):
    name: str

    async def turn(self, ctx):
        await ctx.ask("Yes or no?", bool, purpose="vote")

society = Society(name="asking", agent=Citizen, population=lambda setup: Population({"name": ["a"] * setup.agents}))
"""
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
            assert transport.opened[tick + 1].wait(240), f"tick {tick + 1} waits for the tables"
        return record(tables, tick, *more)

    monkeypatch.setattr(loop, "record_tick", waiting)
    manifest = asyncio.run(
        Coordinator(find_society(SOCIETIES), settings_of(**OPTIONS), transport, tmp_path / "run").run()
    )
    assert early == [False, False]
    assert manifest["trace_hashes"] == still[0]["trace_hashes"]
    same_tables(tmp_path / "run", still[1])


SAID = b'{"choices": [{"message": {"content": "true"}, "finish_reason": "stop"}]}'
TOGETHER = {"endpoint__concurrency": 4 * FIRST_ASKS, "agents": 4 * FIRST_ASKS, "ticks": 4, "checkpoint__every_ticks": 9}


def sent_when_recorded(out, monkeypatch) -> list[int]:
    """How many calls of the next tick had been sent as each tick's rows began to go into the tables."""
    counts, sent, told = [], 0, TickLoop._record

    async def post(http, path, body):
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.05)
        return Reply(200, {}, SAID)

    def telling(loop):
        if loop._to_record is not None:
            counts.append(sent - 4 * FIRST_ASKS * loop._standing.barrier.tick)
        told(loop)

    monkeypatch.setattr(Http, "post", post)
    monkeypatch.setattr(TickLoop, "_record", telling)
    out.mkdir()
    (out / "asking.py").write_text(ASKING)
    with Provider() as provider:
        run_local(out / "run", str(out / "asking.py"), **options_of(provider, **TOGETHER))
    return counts


def test_rows_go_in_once_the_next_tick_s_calls_are_sent(tmp_path, monkeypatch):
    found = sent_when_recorded(tmp_path / "asking", monkeypatch)
    assert found[1:] == [4 * FIRST_ASKS, 4 * FIRST_ASKS, 0]


def test_control_once_all_turns_have_begun_their_last_calls_are_not_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_ROUNDS", 0)
    assert sent_when_recorded(tmp_path / "asking", monkeypatch)[1] < 4 * FIRST_ASKS


def test_control_at_once_none_is_sent(tmp_path, monkeypatch):
    async def at_once(transport) -> None: ...

    monkeypatch.setattr(LocalTransport, "begun", at_once)
    assert sent_when_recorded(tmp_path / "asking", monkeypatch)[1] == 0


RULES = ASKING.replace('await ctx.ask("Yes or no?", bool, purpose="vote")', "ctx.send(0, 1)")


@pytest.mark.parametrize(("society", "waits"), [(RULES, False), (ASKING, True)])
def test_rows_wait_only_where_turns_ask(tmp_path, monkeypatch, society, waits):
    waited = []

    async def begun(transport) -> None:
        waited.append(transport)

    monkeypatch.setattr(LocalTransport, "begun", begun)
    (tmp_path / "society.py").write_text(society)
    run_local(tmp_path / "run", str(tmp_path / "society.py"), agents=30, ticks=4, checkpoint__every_ticks=9)
    assert bool(waited) is waits


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


class Cancelling(Telling):
    """Has every task of the process cancelled as tick 4 opens, while the rows of tick 3 are on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = threading.Event()
        self.at_work = threading.Event()

    async def begun(self) -> None:
        """At once: the turns wait to be cancelled."""

    async def open_tick(self, shard, tick, envelope):
        if tick == 4 and not self.cancelled.is_set():
            while not self.at_work.is_set():
                await asyncio.sleep(0)
            for task in asyncio.all_tasks():
                task.cancel()
            self.cancelled.set()
        return await super().open_tick(shard, tick, envelope)


def as_a_task(self):
    if self._to_record is not None:
        rows, self._to_record = self._to_record, None
        self._recording = asyncio.create_task(asyncio.to_thread(rows))


@pytest.mark.parametrize("control", [False, True])
def test_rows_on_their_way_are_written_though_everything_is_cancelled(tmp_path, monkeypatch, control):
    transport, out = Cancelling(), tmp_path / "run"

    closed = threading.Event()

    def closing(*what, close=Tables.close, **how):
        try:
            return close(*what, **how)
        finally:
            closed.set()

    def slow(tables, tick, *more):
        if tick == 3:
            transport.at_work.set()
            assert transport.cancelled.wait(240)
            assert closed.wait(240 if control else 1.0) is control, "tables are closed once their rows are there"
        return record(tables, tick, *more)

    monkeypatch.setattr(Tables, "close", closing)

    monkeypatch.setattr(loop, "record_tick", slow)
    if control:
        monkeypatch.setattr(TickLoop, "_record", as_a_task)
    options = {**OPTIONS, "checkpoint__every_ticks": 100}
    with pytest.raises(Interrupted):
        asyncio.run(Coordinator(find_society(SOCIETIES), settings_of(**options), transport, out).run())
    manifest, written = read_manifest(out), read_table(out, "outcomes")["tick"].to_pylist()
    assert manifest["ticks"] == 4
    assert max(written) == (3 if control else 4)


def test_the_stages_of_a_tick_are_no_more_than_it_took_where_a_checkpoint_waits_for_rows(tmp_path, monkeypatch):
    """The wait for rows at a checkpoint's edge is told as `record` alone: with `checkpoint` it is more than went by."""

    def slowly(*of_tick):
        time.sleep(0.3)
        record(*of_tick)

    monkeypatch.setattr(loop, "record_tick", slowly)
    settings = {"log.file": str(tmp_path / "run.log"), "checkpoint.every_ticks": 1}
    populace.run(
        "polarization", model="scripted", agents=4, ticks=4, out=tmp_path / "run", quiet=True, settings=settings
    )
    lines = [json.loads(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    ticks = [line for line in lines if line["event"] == "tick"]
    assert len(ticks) == 4
    for before, tick in pairwise(ticks):
        stages_s = tick["stages_s"]
        assert stages_s["record"] >= 0.3
        together_s = sum(stages_s[name] for name in ("turns", "resolve", "record", "checkpoint"))
        assert together_s <= tick["wall_s"] - before["wall_s"] + 1e-3
