"""A rumour on a random graph: who hears it tells each friend with some probability, once, and then no more.

Told so, it is an epidemic in generations (Reed and Frost): who knows it in the end is who hangs together with a source
on the ties over which it is told.
"""

from collections.abc import Iterable
from typing import Any

from populace import Agent, Context, OnMail, Parameters, Population, Public, Setup, Society, World
from populace.env import Network, Part


class Rates(Parameters):
    """`friends` is the mean degree, `told` the probability for each tie, `sources` how many know it at the start."""

    friends: float = 6.0
    told: float = 0.4
    sources: int = 10


class Source(Part):
    """Lets the first ones know."""

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """News to the sources, by lot, as tick 0 ends."""
        if tick == 0:
            chosen = self.world.draw("source.chosen").sample(range(self.world.agents), self.world.parameters.sources)
            return [(one, "news") for one in chosen]
        return []


class Person(Agent):
    """Takes a turn when it hears something, and in tick 0."""

    knows: Public[bool] = False

    async def turn(self, ctx: Context) -> None:
        """Tell each friend, by lot, what is new to oneself."""
        if len(ctx.inbox) and not self.knows:
            self.knows = True
            lot = ctx.draw("tell")
            ctx.send([one for one in await ctx.look("network.neighbors") if lot.bernoulli(ctx.parameters.told)], "news")


def world(setup: Setup, people: Population) -> World:
    """A random graph in which each pair is tied with the same probability (Erdos and Renyi)."""
    probability = setup.parameters.friends / (setup.agents - 1)
    return World(Network.stochastic_block(setup, sizes=[setup.agents], probabilities=[[probability]]), Source())


society = Society(
    name="rumour",
    agent=Person,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=world,
    activation=OnMail(),
    parameters=Rates(),
    outcomes={"reached": lambda world: float(world.columns["knows"].mean())},
    size=2000,
    ticks=40,
)
