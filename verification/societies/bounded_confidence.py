"""Bounded confidence: two who meet come closer if they are not too far apart already.

Deffuant, Neau, Amblard and Weisbuch (2000), doi:10.1142/S0219525900000078. In each tick everybody meets one other, by
lot.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace import ColumnarAgent, Parameters, Population, Public, Setup, Society, World
from populace.env import Part


class Bounds(Parameters):
    """`confidence` is the distance below which opinions meet; `move` the share of it that each then goes."""

    confidence: float = 0.2
    move: float = 0.5


class Meetings(Part):
    """Everybody meets one other; where the number is odd, one stays alone."""

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, Any]:
        """The opinion of whom each meets; one's own for who stays alone."""
        ids = np.arange(self.world.agents)
        order = np.argsort(self.world.draw.column("meetings.order", ids), kind="stable")
        half = len(ids) // 2
        other = ids.copy()
        other[order[:half]], other[order[half : 2 * half]] = order[half : 2 * half], order[:half]
        return {"opinion": self.world.columns["opinion"][other[agents]]}


class Person(ColumnarAgent):
    """Holds an opinion from 0 to 1."""

    opinion: Public[float]

    def turns(self, ctx: Any) -> None:
        """Move towards whom one meets, if that one is near."""
        apart = ctx.seen["meetings.opinion"] - self.opinion
        self.opinion += np.where(np.abs(apart) < ctx.parameters.confidence, ctx.parameters.move * apart, 0.0)


def clusters(opinions: NDArray[np.float64], apart: float, share: float = 0.03) -> int:
    """How many groups of at least this share of all there are, with gaps of at least `apart` between them."""
    ordered = np.sort(opinions)
    sizes = np.diff(np.flatnonzero(np.concatenate(([True], np.diff(ordered) >= apart, [True]))))
    return int((sizes >= share * len(opinions)).sum())


def population(setup: Setup) -> Population:
    """Opinions are uniform from 0 to 1."""
    return Population({"opinion": setup.draw.column("opinion", np.arange(setup.agents)).tolist()})


society = Society(
    name="bounded_confidence",
    agent=Person,
    population=population,
    world=lambda setup, people: World(Meetings()),
    parameters=Bounds(),
    outcomes={
        "clusters": lambda world: clusters(world.columns["opinion"], world.parameters.confidence / 4),
        "mean": lambda world: float(world.columns["opinion"].mean()),
    },
    size=1000,
    ticks=60,
)
