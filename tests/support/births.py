"""A society of firms and households in which agents are born and leave: by actions, and by a part as a tick ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from populace import Abstained, Agent, Choice, Context, Every, Population, Public, Setup, Society, World
from populace.env import Batch, Feed, Network, Opening, Part, action


class Firm(Agent):
    price: Public[float] = 3.0
    sold: Public[int] = 0
    heard: list[int] = []

    async def turn(self, ctx: Context) -> None:
        self.sold += len(ctx.inbox)
        self.heard.append(len(ctx.inbox))
        self.price = round(self.price + ctx.draw("price").uniform(-1, 1), 3)
        ctx.send(ctx.draw("to").sample(range(3, 20), 6), self.price)
        if ctx.draw("found").bernoulli(0.2):
            ctx.act("registry.found", price=self.price)


class Household(Agent):
    wealth: Public[float]
    trade: str = "baker"
    sold: Public[int] = 0
    firms: set[int] = set()

    async def turn(self, ctx: Context) -> None:
        for message in ctx.inbox:
            if message.sender >= 0:
                self.firms.add(message.sender)
            said = await ctx.ask(f"{self.trade}: {message.body}?", Choice("yes", "no"), purpose="buy")
            if not isinstance(said, Abstained) and said == "yes" and message.sender >= 0:
                self.wealth -= 1.0
                ctx.send(message.sender, 1)
                ctx.act("feed.post", text=f"bought of {message.sender}")
                break
        if ctx.draw("wake").bernoulli(0.4):
            ctx.wake_at(ctx.tick + 2)
        if ctx.draw("child").bernoulli(0.15):
            ctx.act("registry.child", wealth=self.wealth / 2)
        ctx.send(await ctx.look("network.neighbors"), "hello")
        ctx.act("network.follow", target=ctx.draw("friend").integer(20))


class Registry(Part):
    """Households have children, firms found firms; who is poor leaves, and a firm does in tick 3."""

    name = "registry"

    def __init__(self) -> None:
        super().__init__()
        self.children = np.zeros(0, np.int64)

    def open(self, opening: Opening) -> None:
        self.children = np.zeros(opening.agents, np.int64)

    def grow(self, ids: Any) -> None:
        self.children = np.concatenate((self.children, np.zeros(len(ids), np.int64)))

    @action
    def child(self, tick: int, batch: Batch) -> Iterator[tuple[int, Any]]:
        for agent, args in zip(batch.agents.tolist(), batch.args, strict=True):
            row = {"wealth": args["wealth"], "trade": f"child of {agent}", "age": 0}
            (born,) = self.world.spawn("household", row, n=1)
            self.children[agent] += 1
            yield int(born), f"welcome from {agent}"

    @action
    def found(self, tick: int, batch: Batch) -> None:
        self.world.spawn("firm", {"price": [args["price"] for args in batch.args]})

    def advance(self, tick: int) -> list[tuple[int, Any]]:
        households = self.world.ids("household")
        poor = households[self.world.values_of("wealth", households) < 6]
        self.world.retire(poor)
        if tick == 3:
            self.world.retire(int(self.world.ids("firm")[0]))
        return [(int(one), "farewell") for one in poor[:2]]

    def state(self) -> dict[str, Any]:
        return {"children": self.children.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.children = np.array(state["children"])


def population(setup: Setup) -> dict[str, Population]:
    draw, count = setup.draw("wealth"), setup.count("household")
    wealth = [draw.uniform(5, 15) for _ in range(count)]
    return {"household": Population({"wealth": wealth, "age": [n % 7 for n in range(count)]}, extra=["age"])}


def world(setup: Setup, people: dict[str, Population]) -> World:
    return World(Network.watts_strogatz(setup, neighbours=2, rewire=0.1), Feed(sees="latest"), Registry())


society = Society(
    name="births",
    types={"firm": Firm, "household": Household},
    population=population,
    world=world,
    activation={"household": Every(2)},
    outcomes={
        "wealth": lambda world: world.columns["household"]["wealth"].sum(),
        "price": lambda world: world.columns["firm"]["price"].mean(),
        "households": lambda world: len(world.ids("household")),
        "firms": lambda world: len(world.ids("firm")),
    },
    size={"firm": 3, "household": 12},
    ticks=8,
)
