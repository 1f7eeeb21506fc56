"""An agent that a checkpoint would change is found while the run goes on; one that it keeps is left alone."""

from __future__ import annotations

import datetime as dt
import enum
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.lives import go

from populace.agents.agent import Agent, Public
from populace.core.errors import ScenarioError
from populace.kernel.saving import check_saved, pack_agent


class Mood(enum.StrEnum):
    GOOD = "good"


class Friend(msgspec.Struct):
    name: str
    since: int = 0


class Best(Friend):
    why: str = ""


class Keeper(Agent):
    score: Public[float] = 0.0
    weight: float = 0.0
    name: str = ""
    anything: Any = None
    pair: tuple[int, str] = (0, "")
    seen: set[int] = set()
    friends: list[Friend] = []
    by_id: dict[int, Friend] = {}
    mood: Mood = Mood.GOOD
    when: dt.datetime | None = None

    async def turn(self, ctx) -> None: ...


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pair": (3, "x"), "seen": {3, 1, 2**40}, "friends": [Friend("a", 1)], "by_id": {7: Friend("b")}},
        {"anything": {"a": [1, 2.5, None, True, b"x", {3: "y"}]}, "weight": math.nan},
        {"mood": Mood.GOOD, "when": dt.datetime(2024, 5, 1, 3, tzinfo=dt.UTC)},
    ],
)
def test_what_comes_back_as_it_was_is_left_alone(fields: dict[str, Any]) -> None:
    check_saved(Keeper(**fields), 3)


@pytest.mark.parametrize(
    ("fields", "where", "why"),
    [
        ({"anything": (1, 2)}, "Keeper.anything", "holds a tuple, which a resumed run reads as a list"),
        ({"anything": {"deep": [{"deeper": (1,)}]}}, "Keeper.anything['deep'][0]['deeper']", "tuple"),
        ({"anything": Friend("a")}, "Keeper.anything", "holds a Friend, which a resumed run reads as a dict"),
        ({"anything": {1, 2}}, "Keeper.anything", "holds a set"),
        ({"anything": Mood.GOOD}, "Keeper.anything", "holds a Mood"),
        ({"weight": 1}, "Keeper.weight", "holds an int, which a resumed run reads as a float"),
        ({"friends": [Best("a")]}, "Keeper.friends[0]", "holds a Best, which a resumed run reads as a Friend"),
        ({"name": 3}, "$.name", "cannot be read back"),
        ({"name": "\ud800"}, "Keeper.name", "cannot be saved"),
        ({"anything": 2**64}, "Keeper.anything", "cannot be saved"),
        ({"anything": object()}, "Keeper.anything", "cannot be saved"),
    ],
)
def test_what_would_come_back_as_another_is_named(fields: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(ScenarioError) as found:
        check_saved(Keeper(**fields), 3)
    said = str(found.value)
    assert where in said
    assert why in said
    assert "agent 3" in said


def test_what_cannot_be_packed_names_its_agent() -> None:
    with pytest.raises(ScenarioError, match=r"Keeper\.anything of agent 12 cannot be saved"):
        pack_agent(Keeper(anything=object()), 12)


SCENARIO = """
from typing import Any
from populace import Agent, Population, Public, Society

class Rememberer(Agent):
    mood: Public[float] = 0.0
    memory: Any = None

    async def turn(self, ctx):
        if ctx.tick == 2 and self.mood < 100:
            self.memory = ("tick", ctx.tick)

society = Society(
    name="rememberers", agent=Rememberer, population=lambda setup: Population({"mood": [0.0] * setup.agents})
)
"""


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_whose_agents_would_not_come_back_ends_when_it_is_found(tmp_path: Path, shards: int) -> None:
    scenario = tmp_path / "mine.py"
    scenario.write_text(SCENARIO)
    with pytest.raises(ScenarioError, match=r"Rememberer\.memory holds a tuple"):
        go(tmp_path / "run", scenario=str(scenario), agents=40, ticks=4, shards=shards)
    with pytest.raises(ScenarioError, match=r"Rememberer\.memory holds a tuple"):
        go(tmp_path / "off", scenario=str(scenario), agents=40, ticks=4, shards=shards, journal="off")
