"""A society of a small street whose residents note what they see of themselves, with a birth and an exit."""

from __future__ import annotations

AGENTS, TICKS = 12, 12
SOCIETY = """
from populace import Agent, Population, Public, Society, World
from populace.env import City, Mode, Part, Places

PLACES = Places.of([
    {"kind": "home", "x": 0, "y": 0, "name": "North <b>"}, {"kind": "home", "x": 300, "y": 900, "name": "South"},
    {"kind": "shop", "x": 2000, "y": 100, "name": "Bäcker", "capacity": 3},
])

class Stork(Part):
    def advance(self, tick):
        if tick == 4:
            self.world.spawn("agent", n=1)
        if tick == 6:
            self.world.retire(2)

class Resident(Agent):
    x_m: Public[float] = 0.0
    y_m: Public[float] = 0.0
    kind: Public[str] = "home"
    status: Public[str] = "there"

    async def turn(self, ctx):
        seen = ctx.seen
        self.x_m, self.y_m, self.kind, self.status = (seen[f"city.{one}"] for one in ("x", "y", "kind", "status"))
        if ctx.tick % 4 == ctx.id % 4:
            ctx.act("city.go", kind="home" if seen["city.kind"] == "shop" else "shop")

society = Society(name="street", agent=Resident, size=12, ticks=12, tick_seconds=600.0,
                  population=lambda setup: Population({"x_m": [0.0] * setup.agents}),
                  world=lambda setup, people: World(City(
                      PLACES, assigned={"home": [i % 2 for i in range(setup.agents)]}, modes={"walk": Mode(1.0)}),
                      Stork()))
"""
