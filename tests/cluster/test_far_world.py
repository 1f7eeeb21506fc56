"""Where the world is in another process a shard takes turns while it looks, and the run is the same."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.running import run_local

from populace.cluster import local
from populace.cluster.host import ShardHost
from populace.kernel import tick as tick_module

LOOKING = """
from populace import Agent, Population, Public, Society, World
from populace.env import Feed, Network

class User(Agent):
    seen: Public[int] = 0
    last: Public[str] = ""

    async def turn(self, ctx):
        for _ in range(1 + ctx.id % 3):
            posts = await ctx.look("feed.from_followed", n=5)
            self.seen += len(posts)
            self.last = " ".join(str(post["id"]) for post in posts)
        ctx.act("feed.post", text=f"a post of {ctx.id}")

society = Society(name="looking", agent=User, population=lambda setup: Population({"seen": [0] * setup.agents}),
                  world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=4, rewire=0.2), Feed()))
"""
OPTIONS = {"agents": 40, "ticks": 4, "shards": 2}


class Far(local._Door):
    """A world from which replies come late, and not in the order in which they were asked for."""

    far = True
    chance = random.Random(1)

    async def look(self, looks):
        reply = await super().look(looks)
        for _ in range(self.chance.randrange(12)):
            await asyncio.sleep(0)
        return reply


class Waiting(local._Door):
    """Answers no looks before other looks of the same shard have been put as well."""

    far = True

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = 0
        self.more = asyncio.Event()

    async def look(self, looks):
        self.asked += 1
        if self.asked == 1:
            async with asyncio.timeout(240):
                await self.more.wait()
        self.more.set()
        return await super().look(looks)


@pytest.fixture(scope="module")
def society(tmp_path_factory):
    source = tmp_path_factory.mktemp("looking") / "looking_from_afar.py"
    source.write_text(LOOKING)
    return str(source)


@pytest.fixture(scope="module")
def near(society, tmp_path_factory):
    return run_local(tmp_path_factory.mktemp("near") / "run", society, **OPTIONS)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(tick_module, "STRIDE", 3)
    monkeypatch.setattr(tick_module, "LOOKS", 5)


def test_replies_in_any_order_give_the_same_run(society, near, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_Door", Far)
    found = run_local(tmp_path / "run", society, **OPTIONS)
    assert found["trace_hashes"] == near["trace_hashes"]
    assert found["turns_failed"] == 0


def test_further_turns_begin_while_the_world_is_asked(society, near, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_Door", Waiting)
    assert run_local(tmp_path / "run", society, **OPTIONS)["trace_hashes"] == near["trace_hashes"]


def test_what_becomes_of_the_world_ends_the_run(society, tmp_path, monkeypatch):
    class Lost(Far):
        async def look(self, looks):
            await super().look(looks)
            raise ConnectionError("the world is gone")

    monkeypatch.setattr(local, "_Door", Lost)
    with pytest.raises(ConnectionError, match="the world is gone"):
        run_local(tmp_path / "run", society, **OPTIONS)


def test_control_replies_that_are_handed_to_other_looks_show(society, near, tmp_path, monkeypatch):
    def crossed(self, take=ShardHost._take_replies):
        done = [batch for batch, task in self._looking.items() if task.done()]
        if len(done) > 1:
            replies = [self._looking[batch] for batch in reversed(done)]
            self._looking.update(zip(done, replies, strict=True))
        return take(self)

    monkeypatch.setattr(local, "_Door", Far)
    monkeypatch.setattr(ShardHost, "_take_replies", crossed)
    try:
        assert run_local(tmp_path / "run", society, **OPTIONS)["trace_hashes"] != near["trace_hashes"]
    except ValueError as error:  # batches of another length
        assert "zip" in str(error)  # noqa: PT017
