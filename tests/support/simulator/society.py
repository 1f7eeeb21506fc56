"""A small society that asks, looks, sends, acts, sleeps and fails, and whose state shows any change of order."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np

from populace.agents.activation import Sometimes
from populace.agents.agent import Agent, Public, public_fields
from populace.agents.columnar import ColumnarAgent
from populace.agents.columnar_context import ColumnarContext
from populace.agents.consulting import Consultation
from populace.agents.context import Context, Scope
from populace.agents.population import Population, make_columns
from populace.agents.society import Society
from populace.core.records import Abstained, Answer, Ask
from populace.core.roster import Roster
from populace.core.rounds import Closed
from populace.env import Batch, Exchange, LastRound, Part, Round, World, action, query
from populace.interventions.at_work import NO_LEVERS, Levers
from populace.interventions.groups import Membership
from populace.interventions.levers import parse_lever
from populace.interventions.resolve import resolve_levers
from populace.kernel.environment import Environment
from populace.kernel.influence import Influence, influence_of
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.residents import NOBODY
from populace.kernel.shard import Shard
from support.env_support import opened
from support.kernel_support import make_scope

AGENTS = 9
CROWD = 6
FRAME_BYTES = 60
TICKS = 5


class Member(Agent):
    """`chain` folds in all that the member ever heard, saw and was told, in its order."""

    chain: Public[int] = 1
    heard: list[int] = []

    async def turn(self, ctx: Context) -> None:
        draw = ctx.draw("what")
        for message in ctx.inbox:
            self._fold(message.sender, message.tick, message.body)
            self.heard = [*self.heard[-3:], message.sender]
        if not NEARBY:
            self._fold(ctx.seen["fund.total"], ctx.seen["fund.mine"])
        if draw.bernoulli(0.7):
            answer = await ctx.ask(f"first {self.chain}", str, purpose="first")
            self._fold(str(answer))
        if CROWDED and ctx.draw("together").bernoulli(0.6):
            facts = {"third": (self.chain + ctx.id) % 3}
            self._fold(str(await ctx.ask("all of {third}", facts=facts, purpose="together", archetype=True)))
        if draw.bernoulli(0.4):
            of = draw.integer(AGENTS)
            if NEARBY:
                self._fold(await ctx.look("columns.of", agents=[ctx.id, *beside(ctx.id)], fields=["chain"]))
            else:
                self._fold(await ctx.look("fund.paid_by", of=of))
        if TALKING:
            await self._talk(ctx)
        if draw.bernoulli(0.3):
            answer = await ctx.ask(f"second {self.chain}", str, purpose="second")
            self._fold("nothing" if isinstance(answer, Abstained) else answer)
        for _ in range(draw.integer(3)):
            to = draw.integer(AGENTS + 1)
            ctx.send((ctx.id - (1, 4)[to % 2]) % AGENTS if NEARBY else to, self.chain)
        if NEARBY and CROWDED and ctx.id in (0, 3) and draw.bernoulli(0.7):
            ctx.send(AGENTS + ctx.id, self.chain)
        if draw.bernoulli(0.6):
            ctx.act("fund.pay", amount=self.chain % 7)
        if draw.bernoulli(0.3):
            ctx.wake_at(ctx.tick + 1 + draw.integer(3))
        if draw.bernoulli(0.05):
            raise RuntimeError("a bad day")

    async def _talk(self, ctx: Context) -> None:
        """Some rounds at a table, and an answer of the model between them."""
        for nth in range(4):
            heard = await ctx.round("table", f"{self.chain} {nth}")
            self._fold(str(heard))
            if isinstance(heard, Closed) or ctx.draw("leaves").bernoulli(0.2):
                return
            if ctx.draw("thinks").bernoulli(0.4):
                self._fold(str(await ctx.ask(f"between {self.chain}", str, purpose="between")))

    def _fold(self, *values: Any) -> None:
        self.chain = int.from_bytes(blake2b(f"{self.chain}{values}".encode(), digest_size=6).digest(), "big")


class Crowd(ColumnarAgent):
    """Agents in columns, who ask by archetype, twice where they were answered."""

    fold: Public[int] = 1

    async def turns(self, ctx: ColumnarContext) -> None:
        facts = {"at": self.fold % 3, "heard": np.minimum(ctx.inbox.counts(), 2)}
        first = await ctx.ask("crowd {at} {heard}", facts=facts, purpose="crowd")
        told = first.column(lambda text: int(text[:4], 16), -1)
        self.fold = self.fold * 31 % 1009 + told + 2
        again = await ctx.ask("crowd again {told}", facts={"told": told % 2}, who=told >= 0, purpose="crowd")
        to = ctx.ids * 2 % AGENTS if NEARBY else ctx.draw("to").integer(AGENTS)
        ctx.send(to, 3, who=again.asked & ~again.abstained)


class Fund(Part):
    """Who paid what; it thanks those that pay and writes to somebody each tick."""

    settable = {"factor": int}

    def __init__(self) -> None:
        super().__init__()
        self.factor = 31
        self.paid = np.zeros(AGENTS + CROWD, np.int64)
        self.order = 0

    def observe(self, tick: int, agents: Any) -> dict[str, Any]:
        return {"total": [self.order] * len(agents), "mine": self.paid[agents]}

    @action
    def pay(self, tick: int, batch: Batch) -> Iterator[tuple[int, Any]]:
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if args["amount"] == 0:
                batch.refuse(i, "nothing")
                continue
            self.paid[agent] += args["amount"]
            self.order = (self.order * self.factor + agent + args["amount"]) % 1_000_003
            yield agent, {"thanks": self.order}

    @query
    def paid_by(self, agents: Any, args: Any) -> list[int]:
        return [int(self.paid[one["of"]]) for one in args]

    def advance(self, tick: int) -> list[tuple[int, Any]]:
        return [(self.order % AGENTS, tick)]

    def state(self) -> dict[str, Any]:
        return {"paid": self.paid, "order": self.order}

    def restore(self, state: dict[str, Any]) -> None:
        self.paid = state["paid"].copy()
        self.order = state["order"]


class Till(Fund):
    """Takes what is paid, and shows, writes and thanks nobody."""

    name = "fund"
    observe = Part.observe
    advance = Part.advance

    @action
    def pay(self, tick: int, batch: Batch) -> None:
        for _ in super().pay(tick, batch):
            pass


class Table(Part):
    """Tables of three, drawn anew in each tick; what was said there is judged by the model as the tick ends."""

    rounds_per_tick = 3

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.verdicts = 0

    def groups(self, tick: int) -> dict[int, list[int]]:
        ids = list(range(self.world.agents))
        self.world.draw("seats").shuffle(ids)
        return {at // 3: ids[at : at + 3] for at in range(0, len(ids), 3)}

    def round(self, now: Round) -> Any:
        heard = {agent: [now.number, list(now.said.items())] for agent in now.said}
        return LastRound(heard, "short") if len(now.said) == 1 else heard

    def rounds_ended(self, tick: int, exchanges: list[Exchange]) -> None:
        self.said = [f"{one.group} {[list(said.items()) for said in one.said]} {one.closed}" for one in exchanges]

    async def consult(self, ctx: Consultation) -> list[tuple[int, Any]]:
        asks = [ctx.ask(f"judge {text}", str, purpose="judge") for text in self.said]
        answers = [str(one) for one in await ctx.ask_all(asks)]
        last = str(await ctx.ask(f"all {answers}", str, purpose="all"))
        self.verdicts = int.from_bytes(blake2b(f"{self.verdicts}{last}".encode(), digest_size=6).digest(), "big")
        return [(self.verdicts % AGENTS, {"verdict": self.verdicts})]

    def state(self) -> dict[str, Any]:
        return {"said": self.said, "verdicts": self.verdicts}

    def restore(self, state: dict[str, Any]) -> None:
        self.said, self.verdicts = list(state["said"]), state["verdicts"]


TALKING = False
"""Whether members hold rounds at a `Table`, which asks the model; a test may have them do so."""

CROWDED = False
"""Whether there is a `Crowd` beside the members; a test may have one."""

NEARBY = False
"""Whether members hear of those `beside` them alone; a test may have them do so."""

AHEAD = 0
"""How many ticks beyond the open one turns may begin in, where members hear of those beside them alone."""

LEVERS = NO_LEVERS
"""What intervenes; a test may put `pulled()` here."""


def beside(agent: int) -> list[int]:
    """Who may influence a member."""
    return [(agent + 1) % AGENTS, (agent + 4) % AGENTS]


TIES = [(agent, other) for agent in range(AGENTS) for other in beside(agent)]
CROWD_TIES = [(one * 2 % AGENTS, one) for one in range(AGENTS, AGENTS + CROWD)] + [(AGENTS, 0), (AGENTS + 3, 3)]
"""Who may influence whom of the crowd and of the members."""


def pulled() -> Levers:
    """Levers of every kind."""
    texts = (
        "at=1, until=3, set={world.fund.factor=37}",
        "at=2, send={to={share=0.6}, body='a lever'}",
        "at=1, until=4, block={sender={share=0.5}}",
        "at=3, change={group={share=0.5}, fields={heard=[7], chain=5}}",
    )
    levers = [parse_lever(text) for text in texts]
    return resolve_levers(
        levers,
        Membership(levers, {}, Roster({"agent": AGENTS}), seed=7).at_start,
        society=Society(name="members", agent=Member, population=lambda setup: Population({"x": [0] * setup.agents})),
        settable=World(Fund()).settable,
        values={},
        roster=Roster({"agent": AGENTS}),
        body_bytes=1000,
    )


def _counts() -> dict[str, int]:
    return {"agent": AGENTS, "crowd": CROWD} if CROWDED else {"agent": AGENTS}


def make_environment(shards: int, attempt: int) -> Environment:
    fund = Till() if NEARBY else Fund()
    parts = (fund, Table()) if TALKING else (fund,)
    columns: Any = {"chain": [1] * AGENTS}
    fields: Any = public_fields(Member)
    if CROWDED:
        columns = {"agent": columns, "crowd": {"fold": [1] * CROWD}}
        fields = {"agent": fields, "crowd": public_fields(Crowd)}
    counts = _counts() if CROWDED else {}
    world = opened(sum(_counts().values()), *parts, columns=columns, fields=fields, counts=counts)
    members = (lambda world: world.columns["agent"]) if CROWDED else (lambda world: world.columns)
    outcomes = {"mean": lambda world: members(world)["chain"].mean()}
    return Environment(world, outcomes, shards=shards, frame_bytes=FRAME_BYTES, attempt=attempt, levers=LEVERS,
                       scope=_scope())  # fmt: skip


def _scope() -> Scope:
    """What turns, and parts that ask, read of the run."""
    rounds = frozenset({"table"}) if TALKING else frozenset()
    queries = frozenset({"fund.paid_by", "columns.of"})
    return make_scope(sum(_counts().values()), actions=frozenset({"fund.pay"}), queries=queries,
                      rounds=rounds, roster=Roster(_counts()))  # fmt: skip


def _influence() -> Influence:
    ties = TIES + CROWD_TIES if CROWDED else TIES
    return influence_of(sum(_counts().values()), *zip(*ties, strict=True))


def make_shard(index: int, shards: int, attempt: int) -> Shard:
    plan = ShardPlan(
        index=index, shards=shards, attempt=attempt, observes=not NEARBY, live_turns=3, inbox_messages=5,
        frame_bytes=FRAME_BYTES, record_messages=True, record_asks=True, rounds=TALKING, ticks=TICKS, ahead=AHEAD,
        influence=_influence() if NEARBY else None,
    )  # fmt: skip
    roster = Roster(_counts())
    agents = [Member() if one < AGENTS else NOBODY for one in range(index, roster.size, shards)]
    types = {"agent": Hosted(Member, public_fields(Member), Sometimes(0.4))}
    if CROWDED:
        own = roster.own("crowd", index, shards).tolist()
        types["crowd"] = Hosted(Crowd, public_fields(Crowd), Sometimes(0.7), make_columns(Crowd, {}, own))
    return Shard(plan, _scope(), agents, types, LEVERS, roster)


def answer(ask: Ask) -> Answer:
    """What the model says to an ask: a function of its content."""
    said = blake2b(ask.key, digest_size=4).hexdigest()
    if said[0] == "0":
        return Answer(ask.agent, ask.tick, ask.nth, "abstained", reason="refusal", calls=1, tokens_in=5)
    return Answer(ask.agent, ask.tick, ask.nth, "answered", said, calls=1, tokens_in=5, tokens_out=3)
