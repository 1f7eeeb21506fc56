"""The table of a network's edges as a run begins: on any number of shards, in replays, and across processes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import populace
from populace.cluster.local import LocalTransport
from populace.cluster.transport import Opened
from populace.cluster.wire import pack, unpack_tables
from populace.core.errors import SettingsError
from populace.store.tables.tables import read_table

SOCIETY = """
from populace import Agent, Population, Public, Society, World
from populace.env import Network

class Citizen(Agent):
    said: Public[int] = 0

    async def turn(self, ctx):
        self.said += 1
        if ctx.tick == 0 and ctx.id == 3:
            ctx.act("network.follow", target=0)

def world(setup, people):
    return World(Network.edges(setup, [0, 1, 2], [1, 2, 0], [0.5, 1.0, 2.0]))

society = Society(name="tied", agent=Citizen, world=world,
                  population=lambda setup: Population({"said": [0] * setup.agents}), size=4, ticks=2)
"""
EDGES = {
    "tick": [0, 0, 0],
    "part": ["network"] * 3,
    "source": [0, 1, 2],
    "target": [1, 2, 0],
    "weight": [0.5, 1.0, 2.0],
}


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "tied.py"
    path.write_text(SOCIETY, encoding="utf-8")
    return path


def ties(run: populace.Run) -> dict[str, list]:
    return read_table(run.folder, "ties").to_pydict()


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_leaves_its_networks_edges_as_it_began(scenario, tmp_path, shards):
    run = populace.run(scenario, model="scripted", shards=shards, out=tmp_path / "run", quiet=True)
    assert ties(run) == EDGES
    (made,) = run.table("actions", "arrow").to_pylist()
    assert (made["kind"], made["agent"], made["fate"]) == ("network.follow", 3, "applied"), "changes are actions"


def test_a_replay_leaves_the_same(scenario, tmp_path):
    run = populace.run(scenario, model="scripted", out=tmp_path / "run", quiet=True)
    populace.replay(run, out=tmp_path / "again")
    assert read_table(tmp_path / "again", "ties").to_pydict() == EDGES


def test_they_may_be_left_out(scenario, tmp_path):
    run = populace.run(
        scenario, model="scripted", out=tmp_path / "run", quiet=True, settings={"record": {"ties": False}}
    )
    with pytest.raises(SettingsError, match="no such table"):
        ties(run)


def test_they_cross_between_processes():
    edges = {
        "source": np.array([0, 5], np.int32), "target": np.array([5, 0], np.int32), "weight": np.array([1.0, np.pi])
    }  # fmt: skip
    crossed = msgspec.msgpack.decode(pack(Opened({}, {}, rows={"ties": edges})), type=Opened)
    there = unpack_tables(crossed.rows)["ties"]
    assert all(np.array_equal(there[name], edges[name]) and there[name].dtype == edges[name].dtype for name in edges)


def test_control_a_transport_that_tells_of_no_ties_is_seen(scenario, tmp_path, monkeypatch):
    start = LocalTransport.start

    async def silent(self, job):
        return msgspec.structs.replace(await start(self, job), rows={})

    monkeypatch.setattr(LocalTransport, "start", silent)
    run = populace.run(scenario, model="scripted", out=tmp_path / "run", quiet=True)
    with pytest.raises(SettingsError, match="no such table"):
        ties(run)
