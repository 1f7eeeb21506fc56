"""Societies drawn at random: fields of every type, parts with state, timers, levers, asks of every kind, as text.

Some have two types of agents, in some agents are born and leave, and in some they talk in rounds within a tick, in a
part that asks as the tick ends.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

FIELDS = {
    "int": ("int = 0", "self.{f} += 1 + len(ctx.inbox)"),
    "public_int": ("Public[int] = 0", "self.{f} = (self.{f} * 31 + ctx.tick + len(ctx.inbox)) % 1009"),
    "public_float": ("Public[float] = 0.5", "self.{f} = 0.9 * self.{f} + 0.1 * ctx.draw('{f}').random()"),
    "public_bool": ("Public[bool] = False", "self.{f} = not self.{f}"),
    "public_str": ("Public[str] = ''", "self.{f} = str(self.{f})[-6:] + str(ctx.tick)"),
    "optional": ("int | None = None", "self.{f} = None if ctx.draw('{f}').bernoulli(0.4) else ctx.tick"),
    "list": ("list[int] = []", "self.{f} = [*self.{f}[-3:], ctx.draw('{f}').integer(100)]"),
    "list_in_place": ("list[str] = []", "self.{f}.append(str(len(ctx.inbox)))"),
    "dict": ("dict[str, float] = {}", "self.{f}[str(ctx.tick % 3)] = float(len(ctx.inbox))"),
    "dict_of_lists": ("dict[int, list[int]] = {}", "self.{f}.setdefault(ctx.tick % 2, []).append(ctx.id)"),
    "set_str": ("set[str] = set()", "for _ in range(3):\n    self.{f}.add(str(ctx.draw('{f}').integer(40)))"),
    "set_int": (
        "set[int] = set()",
        "self.{f}.add(ctx.draw('{f}').integer(999)); self.{f}.discard(ctx.draw('{f}d').integer(999))",
    ),
    "frozenset": ("frozenset[str] = frozenset()", "self.{f} = self.{f}.union([f'n{{ctx.draw(chr(97)).integer(30)}}'])"),
    "tuple": ("tuple[int, ...] = ()", "self.{f} = (*self.{f}[-2:], ctx.tick)"),
    "bytes": ("bytes = b''", "self.{f} = self.{f}[-4:] + bytes([ctx.tick % 256])"),
    "struct": ("Inner = msgspec.field(default_factory=Inner)", "self.{f}.count += 1; self.{f}.words.append('w')"),
}
"""By kind: how a field is declared, and what a turn does with it."""

ASKS = {
    "str": "await ctx.ask(f'say {told}', str, purpose='say')",
    "choice": "await ctx.ask(f'choose {told}', Choice('up', 'down'), purpose='choose')",
    "struct": "await ctx.ask(f'fill {told}', Filled, purpose='fill', system='You fill in forms.')",
}
_TIES = "Network.watts_strogatz(setup, neighbours=2, rewire=0.1)"
PARTS = {
    "none": "World()",
    "own": "World(Till())",
    "feed": f"World({_TIES}, Feed())",
    "all": f"World(Clock(), {_TIES}, Feed(keep=20), Till())",
}
ACTS = {
    "own": "ctx.act('till.put', amount=ctx.draw('put').integer(9))",
    "feed": "ctx.act('feed.post', text=told[:40])",
    "all": "ctx.act('till.put', amount=len(await ctx.look('network.neighbors')))",
}
ACTIVATIONS = ("EveryTick()", "OnMail()", "Every(2)", "Sometimes(0.6)")
SENDS = {"at": 1, "send": {"to": [0, 3], "body": "hear"}}
LEVERS = (
    {"at": 2, "until": 4, "set": {"society.dial": 3}},
    SENDS,
    {"at": 2, "block": {"sender": {"share": 0.3}}},
    {"at": 3, "change": {"group": [1, 2], "fields": {"seen": 77}}},
)

BY_TYPE = {"at": 3, "change": {"group": {"type": ["other"], "share": 0.7}, "fields": {"seen": 33}}}

_OTHER = """
class Other(Agent):
    seen: Public[int] = 0
    heard: Public[str] = ""
    met: set[int] = set()

    async def turn(self, ctx):
        self.met.update(message.sender for message in ctx.inbox)
        self.heard = "/".join(map(str, self.met))[-12:]
        said = await ctx.ask(f"other {{self.heard}}", Choice("up", "down"), purpose="other")
        self.seen += 2 if not isinstance(said, Abstained) and said == "up" else 1
        ctx.send(ctx.draw("to").integer(16), self.heard)
{born}
"""

_BIRTHS = """
class Births(Part):
    name = "births"

    @action
    def born(self, tick, batch):
        for agent in batch.agents.tolist():
            (born,) = self.world.spawn({of!r}, {{"seen": agent}}, n=1)
            yield int(born), "welcome"

    def advance(self, tick):
        ids = self.world.ids()
        self.world.retire(ids[self.world.draw.column("births.leave", ids) < 0.07])
"""

_CIRCLE = """
class Circle(Part):
    name = "circle"
    rounds_per_tick = 3

    def __init__(self):
        super().__init__()
        self.said = [0, 0]

    def groups(self, tick):
        ids = self.world.ids()
        return {at: ids[at::3] for at in range(3)}

    def round(self, now):
        first = self.world.draw("first").choice(list(now.said))
        heard = {agent: [first, *now.said.values()][-4:] for agent in now.said}
        ends = now.number == 1 and self.world.draw("ends").bernoulli(0.4)
        return LastRound(heard, "enough") if ends else heard

    def rounds_ended(self, tick, exchanges):
        self.said = [self.said[0] + sum(len(said) for one in exchanges for said in one.said), len(exchanges)]

    async def consult(self, ctx):
        asks = [ctx.ask(f"{self.said} {n}", Choice("up", "down"), purpose="circle") for n in range(3)]
        answers = await ctx.ask_all(asks)
        self.said[1] += sum(not isinstance(one, Abstained) and one == "up" for one in answers)
        return [(0, str(self.said))]

    def state(self):
        return {"said": self.said}

    def restore(self, state):
        self.said = list(state["said"])
"""

_TALK = """for _ in range(ctx.draw('rounds').integer(5)):
    heard = await ctx.round('circle', told[-20:])
    if isinstance(heard, Closed):
        break
    told += str(heard)[-20:]"""

_BORN = """        if ctx.draw("born").bernoulli(0.15):
            ctx.act("births.born")"""

_SOURCE = """
import msgspec
import numpy as np
from populace import (Abstained, Agent, Choice, Closed, Every, EveryTick, OnMail, Parameters, Population, Public,
                      Society, Sometimes, World)
from populace.env import Clock, Feed, LastRound, Network, Part, action


class Inner(msgspec.Struct):
    count: int = 0
    words: list[str] = []


class Filled(msgspec.Struct):
    text: str
    number: int
    flag: bool


class Dials(Parameters):
    dial: int = 1
    names: tuple[str, ...] = ("a", "b")


class Till(Part):
    name = "till"

    def __init__(self):
        super().__init__()
        self.put_by = np.zeros(0, np.int64)
        self.last = {{}}

    def open(self, opening):
        self.put_by = np.zeros(opening.agents, np.int64)

    @action
    def put(self, tick, batch):
        for agent, args in zip(batch.agents.tolist(), batch.args):
            self.put_by[agent] += args["amount"]
            self.last[str(agent % 3)] = tick
        return [(int(agent), "thanks") for agent in batch.agents[:2]]

    def grow(self, ids):
        self.put_by = np.append(self.put_by, np.zeros(len(ids), np.int64))

    def state(self):
        return {{"put_by": self.put_by.copy(), "last": dict(self.last)}}

    def restore(self, state):
        self.put_by = np.array(state["put_by"])
        self.last = dict(state["last"])


class One(Agent):
    seen: Public[int] = 0
{declared}

    async def turn(self, ctx):
        told = "|".join(f"{{m.sender}}:{{m.body}}" for m in ctx.inbox)
{done}
        told += "".join(map(str, ({shown})))
        self.seen += ctx.parameters.dial + len(ctx.parameters.names)
{asked}
        ctx.send([(ctx.id * 7 + ctx.tick) % 12, ctx.draw("to").integer(14)], told[-80:])
        if ctx.draw("wake").bernoulli(0.3):
            ctx.wake_at(ctx.tick + 1 + ctx.draw("wake").integer(3))
{born}
        if ctx.draw("fail").bernoulli(0.03):
            raise RuntimeError("broke")

{more}
society = Society(
    name="drawn", {types},
    world=lambda setup, people: {world}, activation={activation}, parameters=Dials(), ticks=7,
    outcomes={{"seen": lambda world: float(world.values_of("seen", world.ids()).sum())}},
)
"""

_ONE_TYPE = """agent=One, size=12, population=lambda setup: Population({"seen": [0] * setup.agents})"""
_TWO_TYPES = """types={"one": One, "other": Other}, size={"one": 7, "other": 5},
    population=lambda setup: {"one": Population({"seen": [0] * setup.count("one")})}"""


@st.composite
def drawn_societies(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """The text of a society's file, and levers for a run of it."""
    kinds = draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=6))
    names = [f"f{at}" for at in range(len(kinds))]
    asks = draw(st.lists(st.sampled_from(sorted(ASKS)), max_size=3))
    world = draw(st.sampled_from(sorted(PARTS)))
    lines = [f"said = {ASKS[ask]}\ntold += '' if isinstance(said, Abstained) else str(said)[:20]" for ask in asks]
    if world in ACTS:
        lines.append(ACTS[world])
    activation = draw(st.sampled_from(ACTIVATIONS))
    two, births, circle = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    if circle:
        lines.insert(draw(st.integers(0, len(lines))), _TALK)
    pulled = (*LEVERS, BY_TYPE) if two else LEVERS
    levers = draw(st.lists(st.sampled_from(pulled), unique_by=str, max_size=3))
    if activation == "OnMail()" and SENDS not in levers:
        levers.append(SENDS)  # or nobody would ever take a turn
    born = _BORN if births else ""
    more = (_OTHER.format(born=born) if two else "") + (
        _BIRTHS.format(of="other" if two else "agent") if births else ""
    )
    more += _CIRCLE if circle else ""
    parts = PARTS[world]
    for one in ["Births()"] * births + ["Circle()"] * circle:
        parts = f"{parts[:-1]}{'' if parts == 'World()' else ', '}{one})"
    source = _SOURCE.format(
        declared=_lines("    ", [f"{f}: {FIELDS[kind][0]}" for f, kind in zip(names, kinds, strict=True)]),
        done=_lines("        ", [FIELDS[kind][1].format(f=f) for f, kind in zip(names, kinds, strict=True)]),
        shown=", ".join(_shown(f, kind) for f, kind in zip(names, kinds, strict=True)) + ",",
        asked=_lines("        ", lines),
        world=parts,
        activation=f'{{"one": {activation}, "other": Every(2)}}' if two else activation,
        born=born,
        more=more,
        types=_TWO_TYPES if two else _ONE_TYPE,
    )
    return source, levers


def _shown(field: str, kind: str) -> str:
    """What of a field goes into messages and prompts: a set as it is iterated."""
    if kind.startswith(("set", "frozenset")):
        return f"'/'.join(map(str, self.{field}))"
    return f"self.{field}.count" if kind == "struct" else f"self.{field}"


def _lines(indent: str, lines: list[str]) -> str:
    return "\n".join(indent + line for text in lines for line in text.split("\n"))
