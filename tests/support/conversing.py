"""A society that talks within its ticks: groups of four, then pairs that bargain, on top of asks, looks and mail."""

from __future__ import annotations

from typing import Any

from populace import (
    Abstained,
    Agent,
    Closed,
    Context,
    Parameters,
    Population,
    Public,
    Society,
    Sometimes,
    World,
)
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env import Exchange, LastRound, Opening, Part, Round, query


class Dials(Parameters):
    """How long agents talk, and what of the bargain goes to the one who gives in."""

    rounds: int = 4
    share: float = 0.5


class Talk(Part):
    """Groups of four, drawn anew in each tick. Each hears what the others said; a farewell ends it."""

    name = "talk"
    rounds_per_tick = 3

    def open(self, opening: Opening) -> None:
        self.lines: list[list[Any]] = []
        self.ends: dict[str, int] = {}

    def groups(self, tick: int) -> dict[int, list[int]]:
        ids = list(range(self.world.agents))
        self.world.draw("groups").shuffle(ids)
        return {at // 4: ids[at : at + 4] for at in range(0, len(ids), 4)}

    def round(self, now: Round) -> dict[int, Any] | LastRound:
        first = self.world.draw("first").choice(list(now.said))
        heard = {
            agent: [[one, text] for one, text in now.said.items() if one != agent] + [first, now.number]
            for agent in now.said
        }
        if any("bye" in text for text in now.said.values()):
            return LastRound(heard, "farewell")
        return heard

    def rounds_ended(self, tick: int, exchanges: list[Exchange]) -> list[tuple[int, Any]]:
        for one in exchanges:
            self.ends[one.closed or "left"] = self.ends.get(one.closed or "left", 0) + 1
            self.lines = [
                *self.lines[-5:],
                [one.group, [[[agent, text] for agent, text in said.items()] for said in one.said]],
            ]
        return [(one.members[0], {"rounds": len(one.said)}) for one in exchanges]

    @query
    def farewells(self, agents: list[int], args: list[dict[str, Any]]) -> list[int]:
        return [self.ends.get("farewell", 0) for _ in agents]

    def state(self) -> dict[str, Any]:
        return {"lines": self.lines, "ends": [[key, n] for key, n in self.ends.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        self.lines, self.ends = list(state["lines"]), dict(state["ends"])


class Bargain(Part):
    """Pairs of neighbours name a price until they are near one another; who is alone hears nobody."""

    name = "bargain"

    def open(self, opening: Opening) -> None:
        self.deals = 0

    def groups(self, tick: int) -> dict[str, list[int]]:
        pairs = {f"{one}-{one + 1}": [one, one + 1] for one in range(0, self.world.agents - 1, 2)}
        others = {f"{one}-{one + 1}": [one, one + 1] for one in range(1, self.world.agents - 1, 2)}
        return pairs | (others if tick % 2 else {})

    def round(self, now: Round) -> dict[int, Any] | LastRound:
        if len(now.said) < 2:
            return LastRound({}, "alone")
        low, high = sorted(now.said.values())
        heard = {agent: [sum(now.said.values()) - price, len(now.before)] for agent, price in now.said.items()}
        return LastRound(heard, "agreed") if high - low < 5 else heard

    def rounds_ended(self, tick: int, exchanges: list[Exchange]) -> None:
        self.deals += sum(one.closed == "agreed" for one in exchanges)

    def state(self) -> dict[str, Any]:
        return {"deals": self.deals}

    def restore(self, state: dict[str, Any]) -> None:
        self.deals = state["deals"]


class Talker(Agent):
    """Talks, asks between the rounds, leaves or breaks at times, then bargains with its neighbours."""

    mood: Public[int] = 0
    last: Public[str] = ""
    price: Public[float] = 0.0
    closings: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        self.mood += sum(message.body["rounds"] for message in ctx.inbox)
        if ctx.draw("alone").random() < 0.1:
            return
        for nth in range(ctx.parameters.rounds):
            if ctx.draw("thinks").random() < 0.5:
                said = await ctx.ask(f"{self.last} {nth}", str, purpose="say")
                self.last = said.reason if isinstance(said, Abstained) else said
            heard = await ctx.round("talk", f"{self.last} {ctx.draw('word').integer(100)}")
            if isinstance(heard, Closed):
                self.closings += 1
                break
            self.last = str(heard)[-20:]
            if ctx.draw("leaves").random() < 0.1:
                break
            if ctx.draw("breaks").random() < 0.03:
                raise RuntimeError("this one broke amid a conversation")
        self.mood += await ctx.look("talk.farewells")
        await self.bargain(ctx, ctx.id - ctx.id % 2)
        if ctx.tick % 2:
            try:
                await self.bargain(ctx, ctx.id - 1 + ctx.id % 2)
            except LookupError:  # the first and the last have one neighbour only
                self.closings += 100

    async def bargain(self, ctx: Context, first: int) -> None:
        group = f"{first}-{first + 1}"
        self.price = float(ctx.draw("price").integer(60))
        while not isinstance(heard := await ctx.round("bargain", self.price, group=group), Closed):
            if heard is None:
                return
            self.price += (heard[0] - self.price) * ctx.parameters.share * ctx.draw("gives").random()


def scripted(ask: Ask, draw: Stream) -> object:
    if draw.random() < 0.1:
        return Abstained("refusal", "would rather not")
    return "bye" if draw.random() < 0.15 else f"word {draw.integer(1000)}"


society = Society(
    name="conversing",
    agent=Talker,
    population=lambda setup: Population({"mood": [0] * setup.agents}),
    world=lambda setup, people: World(Talk(), Bargain()),
    parameters=Dials(),
    activation=Sometimes(0.85),
    outcomes={"deals": lambda world: float(world.bargain.deals)},
    scripted=scripted,
    size=22,
    ticks=5,
)
