"""What a society file can get wrong about agents and their columns is named where it stands, with what to write."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from support.attempts import go
from support.kernel_support import failure_of

from populace import Agent, Context, Population, Public, Society
from populace.agents.agent import sets_in_turn
from populace.agents.population import check_columns
from populace.core.draws import Stream
from populace.core.errors import ScenarioError

HERE = re.escape(__file__)


class Voter(Agent):
    mood: Public[float] = 0.0
    household: str = ""

    async def turn(self, ctx: Context) -> None: ...


def society(agent: Any) -> Society:
    return Society(name="voters", agent=agent, population=lambda setup: Population({"mood": [0.0] * setup.agents}))


@pytest.mark.parametrize(
    ("column", "meant"),
    [("Mood", "the nearest is 'mood'"), ("houshold", "the nearest is 'household'"), ("PID", "they are mood, house")],
)
def test_a_column_that_no_field_takes_names_the_nearest_or_is_declared(column: str, meant: str) -> None:
    with pytest.raises(ScenarioError, match=f"column '{column}' is no field of Voter; {meant}"):
        check_columns(Voter, Population({"mood": [1.0], column: [2]}))
    check_columns(Voter, Population({"mood": [1.0], column: [2]}, extra=[column]))


def test_what_is_extra_stays_so_in_all_that_is_made_of_a_population() -> None:
    people = Population.sample({"age": [1, 2], "mood": [0.5, 1.0]}, 4, Stream(7, -1, 0, "people"), extra=["age"])
    for made in (people, people.rows([0, 2]), people.adding(household=lambda row: str(row["age"]))):
        check_columns(Voter, made)
    with pytest.raises(ScenarioError, match=r"extra=\['agee'\]: the population has no such column; it has age"):
        Population({"age": [1]}, extra="agee")


def test_a_run_with_a_column_that_no_field_takes_does_not_begin(tmp_path: Path) -> None:
    scenario = tmp_path / "voters.py"
    scenario.write_text(
        "from populace import Agent, Population, Public, Society\n"
        "class Voter(Agent):\n    v: Public[float] = 0.0\n    async def turn(self, ctx): ...\n"
        "society = Society(name='voters', agent=Voter,\n"
        "                  population=lambda setup: Population({'V': [1.0] * setup.agents}))\n"
    )
    with pytest.raises(ScenarioError, match=r"column 'V' is no field of Voter; the nearest is 'v'"):
        go(tmp_path / "run", scenario=str(scenario), agents=4, ticks=1)
    assert not (tmp_path / "run" / "journal").exists()


@pytest.mark.parametrize(
    ("agent", "shown"), [([Voter, Voter], "a list"), ({"a": Voter}, "a dict"), (int, "int"), ("Voter", "'Voter'")]
)
def test_what_is_no_class_of_agents_is_named(agent: Any, shown: str) -> None:
    with pytest.raises(ScenarioError, match=rf"agent={shown}: it has to be one class of agents.*types="):
        society(agent)


class Plain(Agent):
    def turn(self, ctx: Context) -> None:  # type: ignore[override]
        self.seen = 1


class Yielding(Agent):
    async def turn(self, ctx: Context) -> Any:  # type: ignore[override]
        yield 1


class Elsewhere(Agent):
    def turn(self, ctx: Context) -> Any:
        return self.go_on(ctx)

    async def go_on(self, ctx: Context) -> None: ...


@pytest.mark.parametrize(("agent", "why"), [(Plain, "is no coroutine"), (Yielding, "has a `yield`")])
def test_a_turn_that_is_no_coroutine_is_named_with_file_and_line(agent: type[Agent], why: str) -> None:
    line = inspect.getsourcelines(agent.turn)[1]
    with pytest.raises(ScenarioError, match=rf"{HERE}:{line}: {agent.__name__}\.turn {why}: write `async def turn"):
        society(agent)
    society(Elsewhere)


class Hasty(Agent):
    way: str = ""

    async def turn(self, ctx: Context) -> None:
        if self.way == "ask":
            answer: Any = ctx.ask("How many?")
        else:
            answer = ctx.look("fund.total")
        self.way = answer.strip()


@pytest.mark.parametrize(("way", "name"), [("ask", "Ask"), ("look", "Look")])
def test_a_forgotten_await_says_so_and_where(way: str, name: str) -> None:
    failure = failure_of(Hasty(way=way))
    assert f"'{name}' object has no attribute 'strip'" in failure.message
    assert f"write `await ctx.{way}(...)`" in failure.message
    assert failure.where.startswith(f"{__file__}:")


def gathered(values: list[str]) -> list[str]:
    return [*{value.strip() for value in values}]


class Gathering(Agent):
    async def turn(self, ctx: Context) -> None:
        ctx.send(0, gathered([message.body for message in ctx.inbox]))


class Combining(Agent):
    met: set[int] = set()

    async def turn(self, ctx: Context) -> None:
        self.met |= {ctx.id}
        if ctx.id in {1, 2, ctx.tick}:
            ctx.send(0, sorted(self.met | {3, ctx.tick}))


def test_plain_sets_of_a_turn_are_found_also_in_functions_that_it_calls() -> None:
    assert sets_in_turn(Gathering) == f"{__file__}:{inspect.getsourcelines(gathered)[1] + 1}"
    assert sets_in_turn(Combining) is None
    assert sets_in_turn(Voter) is None
