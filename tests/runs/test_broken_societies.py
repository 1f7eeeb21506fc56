"""What authors get wrong in a society's file: each is named by its file and line, with what to write instead."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import populace
from populace.core.errors import PopulaceError, RunFailed, ScenarioError

TEMPLATE = """
from populace import Abstained, Agent, Choice, Parameters, Population, Public, Setup, Society, World
from populace.env import Network, Part, action, query
import asyncio
import msgspec
import populace
import random
import time
import numpy as np

class Opinion(msgspec.Struct):
    support: int
    why: str = ""

class Dials(Parameters):
    topic: str = "x"
    names: list[str] = []

CALLS = []

class Bank(Part):
    def open(self, opening):
        self.paid = np.zeros(opening.agents)
    @action
    def pay(self, tick, batch):
        {pay}
    @query
    def total(self, agents, args):
        {total}
    def advance(self, tick):
        {advance}
    def observe(self, tick, agents):
        {observe}
    def state(self):
        {state}
    def restore(self, state):
        self.paid = state["paid"].copy()

class Citizen(Agent):
    {fields}
    {turn}

def population(setup):
    {population}

def world(setup, people):
    {world}

def scripted(ask, draw):
    {scripted}

def outcome(world):
    {outcome}

OUTCOMES = {{"o": outcome}}
society = Society(name="s", agent={agent}, population=population, world=world, outcomes=OUTCOMES, {arguments}
    parameters=Dials(), size=8, ticks=2)
"""

GOOD = {
    "pay": "self.paid[batch.agents] += 1",
    "total": "return [float(self.paid.sum()) for _ in args]",
    "advance": "return None",
    "observe": "return {'paid': self.paid[agents]}",
    "state": "return {'paid': self.paid}",
    "fields": "support: Public[float] = 5.0",
    "turn": """async def turn(self, ctx):
        answer = await ctx.ask("hm?", Opinion)
        ctx.act("bank.pay", amount=1.0)
        await ctx.look("bank.total")
        ctx.send(0, "hi")""",
    "population": "return Population({'support': [1.0] * setup.agents})",
    "world": "return World(Bank())",
    "scripted": "return Opinion(3)",
    "outcome": "return 1.0",
    "agent": "Citizen",
    "arguments": "scripted=scripted,",
}


def turn(*lines: str) -> dict[str, str]:
    return {"turn": "async def turn(self, ctx):\n" + "\n".join(f"        {line}" for line in lines)}


BROKEN: list[tuple[str, dict[str, str], str, list[str]]] = [
    # what, its change, the line that is to be named, what is to be said
    ("an instance", {"agent": "Citizen()"}, "society = ", ["agent=Citizen"]),
    ("no turn", {"turn": "pass"}, "class Citizen", ["Citizen has no turn", "async def turn(self, ctx):"]),
    ("init", {"turn": "def __init__(self, x): self.x = x"}, "class Citizen",
     ["__init__", "as fields", "__post_init__"]),
    ("no coroutine", {"turn": "def turn(self, ctx):\n        pass"}, "def turn", ["async def turn(self, ctx):"]),
    ("a generator", {"turn": "def turn(self, ctx):\n        yield 1"}, "def turn", ["has a `yield`"]),
    ("no ctx", {"turn": "async def turn(self):\n        pass"}, "async def turn", ["called as turn(self, ctx)"]),
    ("one more", {"turn": "async def turn(self, ctx, x):\n        pass"}, "async def turn", ["missing", "'x'"]),
    ("a default", {"fields": "log: list[str] = ['a']"}, "class Citizen", ["msgspec.field(default_factory="]),
    ("order", {"fields": "support: Public[float] = 5.0\n    job: str"}, "class Citizen",
     ["'job'", "before those with one"]),
    ("public list", {"fields": "support: Public[list[int]] = []"}, "society = ",
     ["Citizen.support", "Keep other state"]),
    ("a struct sent", turn("ctx.send(0, Opinion(3))"), "ctx.send", ["not plain data", "msgspec.to_builtins"]),
    ("to nobody", turn("ctx.send(None, 'x')"), "ctx.send", ["`to` is an agent's id"]),
    ("much", turn("ctx.send(0, 'x' * 10**6)"), "ctx.send", ["--set bus.body_bytes"]),
    ("send awaited", turn("await ctx.send(0, 'x')"), "await ctx.send", ["without `await`"]),
    ("act awaited", turn("await ctx.act('bank.pay')"), "await ctx.act", ["without `await`"]),
    ("a parameter", turn("ctx.parameters.topic = 'y'"), "ctx.parameters", ["shared by all agents"]),
    ("all parameters", turn("ctx.parameters = 3"), "ctx.parameters", ["shared by all agents"]),
    ("in a parameter", turn("ctx.parameters.names.append('y')"), "ctx.parameters", ["list(ctx.parameters.names)"]),
    ("no await", turn("ctx.ask('x')"), "async def turn", ["never awaited", "await ctx.ask(...)"]),
    ("no field", turn("self.mood = 3"), "self.mood", ["declare it as a field", "`mood: int = 0`"]),
    ("no number", turn("self.support = 'x'"), "async def turn", ["Citizen.support is a float, not 'x'"]),
    ("asyncio", turn("import asyncio", "await asyncio.sleep(1)"), "await asyncio", ["ctx.look and ctx.round only"]),
    ("no action", turn("ctx.act('bank.pey')"), "ctx.act", ["'bank.pey'", "it has bank.pay"]),
    ("no query", turn("await ctx.look('bank.totl')"), "ctx.look", ["'bank.totl'", "bank.total"]),
    ("a dict asked", turn("await ctx.ask('x', {'a': int})"), "ctx.ask", ["a dict cannot be an answer type", "Struct"]),
    ("an object asked", turn("await ctx.ask('x', object)"), "ctx.ask", ["object cannot be an answer type", "Struct"]),
    ("a list asked", turn("await ctx.ask(['x'])"), "ctx.ask", ["prompt, system and purpose are text"]),
    ("one label", turn("await ctx.ask('x', Choice('a'))"), "ctx.ask", ["two or more different labels"]),
    ("a past tick", turn("ctx.wake_at(0)"), "ctx.wake_at", ["it is tick 0 already"]),
    ("a turn", turn("1 / 0"), "1 / 0", ["ZeroDivisionError"]),
    ("people", {"population": "return Population({'support': [1 / 0]})"}, "1 / 0", ["population", "ZeroDivisionError"]),
    ("no people", {"population": "pass"}, "def population", ["is a `return` missing?"]),
    ("few people", {"population": "return Population({'support': [1.0]})"}, "def population", ["setup.agents = 8"]),
    ("a dict of people", {"population": "return {}"}, "def population", ["must give a Population", "dict"]),
    ("text for numbers", {"population": "return Population({'support': ['a'] * setup.agents})"}, "def population",
     ["row 0", "$.support"]),
    ("a column", {"population": "return Population({'suport': [1.0] * setup.agents})"}, "def population",
     ["'suport'", "the nearest is 'support'"]),
    ("lengths", {"population": "return Population({'support': [1.0], 'x': [1, 2]}, extra=['x'])"}, "return Population",
     ["of one length"]),
    ("a world", {"world": "return World(Bank(1 / 0))"}, "1 / 0", ["world", "ZeroDivisionError"]),
    ("no world", {"world": "pass"}, "def world", ["is a `return` missing?"]),
    ("a list", {"world": "return [Bank()]"}, "def world", ["must give a World", "list"]),
    ("a class", {"world": "return World(Bank)"}, "World(Bank)", ["write Bank()"]),
    ("a network", {"world": "return World(Network.watts_strogatz(setup, neighbours=5, rewire=0.1))"}, "watts_strogatz",
     ["must be even"]),
    ("an outcome", {"outcome": "return 1 / 0"}, "1 / 0", ["outcome 'o'", "ZeroDivisionError"]),
    ("no outcome", {"outcome": "pass"}, "def outcome", ["is a `return` missing?"]),
    ("many outcomes", {"outcome": "return world.columns['support']"}, "def outcome", ["one number"]),
    ("no column", {"outcome": "return world.columns['suport'].mean()"}, "'suport'", ["The columns there are: support"]),
    ("no part", {"outcome": "return world.banc.paid.sum()"}, "world.banc", ["no part 'banc'", "bank"]),
    ("advance", {"advance": "return 1 / 0"}, "1 / 0", ["part 'bank', advance", "ZeroDivisionError"]),
    ("an array", {"advance": "return np.ones(8)"}, "def advance", ["emits (to_agent, body)"]),
    ("an array of an action", {"pay": "return np.ones(8)"}, "@action", ["emits (to_agent, body)"]),
    ("an array seen", {"observe": "return self.paid[agents]"}, "def observe", ["a dictionary of columns"]),
    ("a number", {"advance": "return 5"}, "def advance", ["messages as (to_agent, body)"]),
    ("no message", {"advance": "return ['hi']"}, "def advance", ["emits (to_agent, body)"]),
    ("an action", {"pay": "batch.args[0]['amont']"}, "'amont'", ["action 'bank.pay'", "KeyError",
     "ctx.act('bank.pay') was given: amount"]),
    ("a number of NumPy's sent", turn("ctx.send(0, np.int64(3))"), "ctx.send", ["not plain data", "`it.tolist()`"]),
    ("a number of NumPy's given", turn("ctx.act('bank.pay', amount=np.int64(3))"), "ctx.act", ["`it.tolist()`"]),
    ("a number of NumPy's asked", turn("await ctx.look('bank.total', of=np.int64(3))"), "ctx.look", ["`it.tolist()`"]),
    ("not seen", turn("ctx.seen['bank.piad']"), "ctx.seen", ["'bank.piad'; in ctx.seen there are: bank.paid"]),
    ("a query", {"total": "return 1 / 0"}, "1 / 0", ["query 'bank.total'", "ZeroDivisionError"]),
    ("few answers", {"total": "return []"}, "@query", ["0 values for 8 agents"]),
    ("no answers", {"total": "pass"}, "@query", ["a list with a value for each agent"]),
    ("observe", {"observe": "return {'paid': self.paid[1 / 0]}"}, "1 / 0", ["part 'bank', observe"]),
    ("few seen", {"observe": "return {'paid': [1]}"}, "def observe", ["column 'paid'", "1 values for 8 agents"]),
    ("no columns", {"observe": "return [1]"}, "def observe", ["a dictionary of columns"]),
    ("scripted", {"scripted": "return 1 / 0"}, "1 / 0", ["scripted(ask, draw)", "ZeroDivisionError"]),
    ("no answer", {"scripted": "pass"}, "def scripted", ["scripted(ask, draw)", "a value of Opinion"]),
    ("another type", {"scripted": "return {'suport': 3}"}, "def scripted", ["`support`", "a value of Opinion"]),
    ("no prompt", {"scripted": "return Opinion(len(ask.prompt))"}, "ask.prompt", ["agent, tick, purpose, messages"]),
    ("its arguments", {"arguments": "scripted=lambda ask: 3,"}, "society = ", ["scripted(ask, draw)"]),
    ("an argument", {"arguments": "outcome={},"}, "society = ", ["The nearest is 'outcomes'"]),
    ("a state", {"state": "return {'paid': self.paid[1 / 0]}"}, "1 / 0", ["part 'bank', state", "ZeroDivisionError"]),
    ("influence", {"arguments": "scripted=scripted, influence=lambda world: 1 / 0,"}, "1 / 0",
     ["influence", "ZeroDivisionError"]),
    *((f"exits in {key}", {key: "import sys; sys.exit()"}, "sys.exit()", ["SystemExit"])
      for key in ("pay", "total", "advance", "observe", "population", "world", "scripted", "outcome")),
    ("exits in state", {"state": "return {'paid': self.paid[exit()]}"}, "exit()", ["part 'bank', state", "SystemExit"]),
    ("exits in influence", {"arguments": "scripted=scripted, influence=lambda world: exit(),"}, "exit()",
     ["influence", "SystemExit"]),
    ("exits in turns", {"agent": "Rows", "turn": f"""{GOOD["turn"]}

class Rows(populace.ColumnarAgent):
    support: Public[float] = 5.0
    def turns(self, ctx):
        raise SystemExit"""}, "raise SystemExit", ["Rows.turns: SystemExit"]),
    *((f"ends in {key}", {key: "raise " + what}, "raise " + what, [what.rpartition(".")[2]])
      for key in ("advance", "outcome", "scripted") for what in ("asyncio.CancelledError", "GeneratorExit")),
    ("an object", {"fields": "rng: object = None", **turn("self.rng = random.Random(3)"),
     "population": "return Population({'rng': [None] * setup.agents})"}, "", ["Citizen.rng", "plain data"]),
]  # fmt: skip


def written(path: Path, changes: dict[str, str]) -> Path:
    path.write_text(TEMPLATE.format(**{**GOOD, **changes}))
    ast.parse(path.read_text())
    return path


def play(path: Path) -> Any:
    return populace.run(str(path), model="scripted", quiet=True)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_society_itself_is_sound(tmp_path: Path) -> None:
    run = play(written(tmp_path / "sound.py", {}))
    assert run.manifest["turns_failed"] == 0
    assert run.manifest["asks"]["abstained"] == 0


@pytest.mark.parametrize(("what", "changes", "at", "says"), BROKEN, ids=[one[0] for one in BROKEN])
def test_what_is_wrong_is_named_by_file_and_line(
    tmp_path: Path, what: str, changes: dict[str, str], at: str, says: list[str]
) -> None:
    path = written(tmp_path / f"{what.replace(' ', '_')}.py", changes)
    with pytest.raises((ScenarioError, RunFailed)) as raised:
        play(path)
    said = str(raised.value)
    for part in says:
        assert part in said
    assert "/populace/" not in said.replace(str(tmp_path), "")
    assert "\n" not in said
    lines = {n for n, line in enumerate(path.read_text().splitlines(), 1) if at in line}
    named = {int(n) for n in re.findall(rf"{re.escape(str(path))}:(\d+)", said)}
    if at:
        assert lines & named


def test_a_failing_turn_is_told_once_with_how_many_are_like_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PopulaceError):
        populace.run(str(written(tmp_path / "failing.py", turn("1 / 0"))), model="scripted")
    notes = [line for line in capfd.readouterr().err.splitlines() if "a turn failed" in line]
    assert len(notes) == 1
    assert "7 more like it in this tick" in notes[0]


def test_turns_that_fail_in_every_tick_are_told_of_as_they_grow_tenfold(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "failing.py", turn("1 / 0"))
    settings = {"limits.failed_turns": 1.0}
    run = populace.run(str(path), model="scripted", ticks=14, settings=settings)
    notes = [line for line in capfd.readouterr().err.splitlines() if "ZeroDivisionError" in line]
    assert run.manifest["turns_failed"] == 8 * 14
    assert len(notes) == 3
    assert "16 turns failed like this by tick 1" in notes[1]
    assert "104 turns failed like this by tick 12" in notes[2]
