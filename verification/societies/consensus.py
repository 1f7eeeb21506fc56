"""Opinions that are averaged: what an agent reads in its mail is weighed by whom it trusts, and its own prejudice.

DeGroot (1974), doi:10.1080/01621459.1974.10480137: nobody is prejudiced. Friedkin and Johnsen (1990),
doi:10.1080/0022250X.1990.9990069: everybody holds on to the opinion that it began with to some degree.
"""

import numpy as np

from populace import Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Network


class Weights(Parameters):
    """`own` is what an agent gives its own opinion among those it averages; `least` and `most` bound susceptibility."""

    own: float = 0.3
    least: float = 1.0
    most: float = 1.0


class Member(Agent):
    """Tells its opinion to those who listen to it."""

    susceptibility: float
    prejudice: float
    opinion: Public[float]

    async def turn(self, ctx: Context) -> None:
        """Average what was heard in the last tick, and say what comes of it."""
        if ctx.tick:
            ties = await ctx.look("network.ties")
            heard = {message.sender: message.body for message in ctx.inbox}
            weights = np.array(ties["weights"])
            mean = float(weights @ [heard[one] for one in ties["agents"]] / weights.sum())
            own = ctx.parameters.own
            social = own * self.opinion + (1 - own) * mean
            self.opinion = self.susceptibility * social + (1 - self.susceptibility) * self.prejudice
        ctx.send(await ctx.look("network.followers"), self.opinion)


def population(setup: Setup) -> Population:
    """Opinions are uniform, and susceptibilities between the bounds."""
    ids = np.arange(setup.agents)
    opinions = setup.draw.column("opinion", ids)
    least, most = setup.parameters.least, setup.parameters.most
    susceptibility = least + (most - least) * setup.draw.column("susceptibility", ids)
    return Population(
        {
            "susceptibility": susceptibility.tolist(),
            "prejudice": opinions.tolist(),
            "opinion": opinions.tolist(),
        }
    )


def network(setup: Setup) -> Network:
    """A small world in which each listens with a weight of its own to each."""
    ties = Network.watts_strogatz(setup, neighbours=6, rewire=0.3).out
    source, target = ties.sources(), ties.targets
    weights = 0.1 + setup.draw.column("weights", source.astype(np.int64) * setup.agents + target)
    return Network.edges(setup, source, target, weights)


society = Society(
    name="consensus",
    agent=Member,
    population=population,
    world=lambda setup, people: World(network(setup)),
    parameters=Weights(),
    outcomes={"spread": lambda world: float(np.ptp(world.columns["opinion"]))},
    size=30,
    ticks=60,
)
