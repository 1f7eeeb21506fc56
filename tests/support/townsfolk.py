"""A town whose people go about their day: at home, at work, shopping; some one by one, some in columns; one is born."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace import Agent, ColumnarAgent, Context, Parameters, Public, Setup, Society, World
from populace.env import City, Clock, GridField, Kind, Part


class Dials(Parameters):
    """`outing`: how likely a neighbour goes out after work."""

    outing: float = 0.6


class Neighbour(Agent):
    """Greets whom it meets, and goes home under an order."""

    met: Public[int] = 0
    where: Public[int] = -1
    wind: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        """A part of the day."""
        seen = ctx.seen
        self.where, self.wind = seen["city.place"], seen["city.hazard"]
        self.met += len([message for message in ctx.inbox if message.sender >= 0])
        if seen["city.ordered"]:
            ctx.act("city.go", kind="shelter", mode="car")
        elif seen["clock.hour"] < 16:
            ctx.act("city.go", kind="work", mode="transit")
            if present := await ctx.look("city.here", n=3):
                ctx.send(present, "hello")
        elif ctx.draw("out").bernoulli(ctx.parameters.outing):
            ctx.act("city.go", kind=ctx.draw("to").choice(["shop", "leisure"]), choice="gravity")
        else:
            ctx.act("city.go", kind="home")


class Commuter(ColumnarAgent):
    """To work and home again, and to the shop by lot."""

    trips: Public[int] = 0

    def turns(self, ctx: Any) -> None:
        """A part of the day for all."""
        hour = np.asarray(ctx.seen["clock.hour"])
        shopping = ctx.draw("shop").bernoulli(0.4) & (hour >= 16)
        ctx.act("city.go", who=(hour < 16) & ~shopping, kind="work")
        ctx.act("city.go", who=(hour >= 16) & ~shopping, kind="home")
        ctx.act("city.go", who=shopping, kind="shop", choice="nearest")
        self.trips += (np.asarray(ctx.seen["city.arrived"]) == ctx.tick).astype(int)


class Registry(Part):
    """A neighbour is born, and one leaves."""

    def advance(self, tick: int) -> None:
        """Once each."""
        if tick == 2:
            self.world.spawn("neighbour", {"met": 0}, n=1)
        if tick == 4:
            self.world.retire([int(self.world.ids("neighbour")[0])])


KINDS = {
    "home": Kind(2.0),
    "work": Kind(6.0, 12),
    "shop": Kind(8.0, 3, "08:00", "20:00"),
    "leisure": Kind(12.0, 3, "16:00", "02:00"),
    "shelter": Kind(12.0, 5),
}


def world(setup: Setup, people: Any) -> World:
    """A windy town of a few blocks."""
    wind = GridField([0, 86_400], [0, 2000], [0, 2000], np.arange(8.0).reshape(2, 2, 2))
    city = City.grid(setup, kinds=KINDS, people_per_km2=3.0, hazard=wind, beta=400.0, notify=True)
    return World(Clock("2024-01-01T15:00"), city, Registry())


society = Society(
    name="townsfolk",
    types={"neighbour": Neighbour, "commuter": Commuter},
    population=lambda setup: {},
    world=world,
    parameters=Dials(),
    outcomes={
        "shopping": lambda w: w.city.visits("shop"),
        "left_home": lambda w: w.city.left_home(),
        "on_the_way": lambda w: w.city.share_on_the_way(),
        "at_work": lambda w: w.city.share_at("work"),
    },
    size={"neighbour": 14, "commuter": 10},
    ticks=9,
    tick_seconds=1200.0,
)
