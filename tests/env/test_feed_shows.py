"""Whether a feed shows anything is known before turns begin, and a lever may have it show something later."""

from __future__ import annotations

import dataclasses

import pytest

import populace
from populace import Agent, Population, Public, Society, World
from populace.core.errors import ScenarioError
from populace.env import Feed, Part, Platform
from populace.interventions.at_work import NO_LEVERS
from populace.kernel.environment import Environment


class Reader(Agent):
    shown: Public[int] = 0

    async def turn(self, ctx):
        self.shown = len(ctx.seen.get("feed.latest", ()))
        ctx.act("feed.post", text="a post")


society = Society(
    name="readers",
    agent=Reader,
    population=lambda setup: Population({"shown": [0] * setup.agents}),
    world=lambda setup, people: World(Feed()),
    outcomes={"shown": lambda world: float(world.columns["shown"].sum())},
    ticks=4,
)
LEVERS = [{"at": 2, "set": {"world.feed.sees": "latest"}}]


@pytest.fixture(autouse=True)
def _runs_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Always(Feed):
    def observe(self, tick, agents):
        return {"own": [1] * len(agents)}


class Later(Feed):
    def __init__(self):
        super().__init__()
        self.sees = "popular"


@pytest.mark.parametrize("feed", [Feed(sees="latest"), Platform(), Always(), Later()])
def test_feeds_that_show_something(feed):
    assert World(feed).shows
    assert Environment(World(), {}, shards=1, frame_bytes=100).observes is False


def test_a_feed_that_shows_nothing_is_asked_where_a_lever_may_have_it_show_something():
    world = World(Feed())
    assert world.observes
    assert not world.shows
    plain = populace.run(society, model="scripted", seed=1, agents=3, quiet=True).outcomes["shown"]
    assert plain.tolist() == [0.0] * 5
    shown = [
        populace.run(society, model="scripted", seed=1, shards=shards, levers=LEVERS, agents=3, quiet=True)
        for shards in (1, 2)
    ]
    assert [one.outcomes["shown"].tolist() for one in shown] == [[0.0, 0.0, 0.0, 18.0, 27.0]] * 2
    assert shown[0].manifest["trace_hash"] == shown[1].manifest["trace_hash"]


def test_control_a_shard_that_never_asks_is_shown_nothing(monkeypatch):
    monkeypatch.setattr(Environment, "observes", property(lambda one: bool(one.world.shows)))
    run = populace.run(society, model="scripted", seed=1, levers=LEVERS, agents=3, quiet=True)
    assert run.outcomes["shown"].tolist() == [0.0] * 5
    assert not NO_LEVERS


class Editor(Part):
    """Has the feed show something from tick 1 on."""

    def advance(self, tick):
        if tick >= 1:
            self.world.feed.sees = "latest"
        return ()

    def state(self):
        return {"sees": self.world.feed.sees}

    def restore(self, state):
        self.world.feed.sees = state["sees"]


class Open(Feed):
    shows = True


changing = dataclasses.replace(society, world=lambda setup, people: World(Feed(), Editor()))
open_to_it = dataclasses.replace(society, world=lambda setup, people: World(Open(), Editor()))


def shown_in(edited: Society) -> list[float]:
    return populace.run(edited, model="scripted", seed=1, agents=3, quiet=True).outcomes["shown"].tolist()


def test_a_feed_that_begins_to_show_something_by_itself_says_so_before():
    with pytest.raises(ScenarioError, match="tick 1: part 'feed' begins to show agents something"):
        shown_in(changing)
    assert shown_in(open_to_it) == [0.0, 0.0, 0.0, 18.0, 27.0]


def test_control_else_it_would_show_nothing(monkeypatch):
    monkeypatch.setattr(Environment, "_shows", property(lambda _: True, lambda *_: None), raising=False)
    assert shown_in(changing) == [0.0] * 5
