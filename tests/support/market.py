"""A society of firms and households: fields of their own and one of the same name, asks, mail, a network, timers."""

from __future__ import annotations

from typing import Any

from populace import Abstained, Agent, Choice, Context, Every, Population, Public, Setup, Society, World
from populace.env import Feed, Network


class Firm(Agent):
    price: Public[float] = 3.0
    sold: Public[int] = 0
    heard: list[int] = []

    async def turn(self, ctx: Context) -> None:
        self.sold += len(ctx.inbox)
        self.heard.append(len(ctx.inbox))
        self.price = round(self.price + ctx.draw("price").uniform(-1, 1), 3)
        ctx.send(ctx.draw("to").sample(range(3, 15), 4), self.price)


class Household(Agent):
    wealth: Public[float]
    trade: str = "baker"
    sold: Public[int] = 0
    firms: set[int] = set()

    async def turn(self, ctx: Context) -> None:
        for message in ctx.inbox:
            self.firms.add(message.sender)
            said = await ctx.ask(f"{self.trade}: {message.body}?", Choice("yes", "no"), purpose="buy")
            if not isinstance(said, Abstained) and said == "yes":
                self.wealth -= message.body
                ctx.send(message.sender, 1)
                ctx.act("feed.post", text=f"bought of {message.sender}")
                break
        if ctx.draw("wake").bernoulli(0.3):
            ctx.wake_at(ctx.tick + 2)


def population(setup: Setup) -> dict[str, Population]:
    draw, count = setup.draw("wealth"), setup.count("household")
    wealth = [draw.uniform(5, 50) for _ in range(count)]
    return {"household": Population({"wealth": wealth, "age": [n % 7 for n in range(count)]}, extra=["age"])}


def world(setup: Setup, people: dict[str, Population]) -> World:
    return World(Network.watts_strogatz(setup, neighbours=2, rewire=0.1), Feed())


def ids_of_types(world: Any) -> float:
    return float(world.ids("firm").sum() * 1000 + world.ids("household").sum())


society = Society(
    name="market",
    types={"firm": Firm, "household": Household},
    population=population,
    world=world,
    activation={"household": Every(2)},
    outcomes={
        "wealth": lambda world: world.columns["household"]["wealth"].sum(),
        "price": lambda world: world.columns["firm"]["price"].mean(),
        "ids": ids_of_types,
    },
    size={"firm": 3, "household": 12},
    ticks=6,
)
