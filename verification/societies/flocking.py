"""Boids (Reynolds 1987, doi:10.1145/37402.37406) by the rule of Mesa's example, with noise as a control.

In each tick all turn towards where their neighbours are and where these fly, and away from those who are too near;
then all fly on. What an agent sees is as the tick begins. With noise a random vector is added to each heading, as
Grégoire and Chaté (2004, doi:10.1103/PhysRevLett.92.025702) add it to those of Vicsek's model (1995), where enough of
it destroys the order. Boids decide in columns (`society`) or each for itself (`each`), and without noise come to the
same.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from populace import Agent, ColumnarAgent, Parameters, Population, Society, World
from populace.env import Batch, Opening, Part, action

Floats = NDArray[np.float64]
CANDIDATES = 1_000_000
"""How many pairs are looked at together, which bounds what the search needs of memory."""


class Rules(Parameters):
    """A square of `side` by `side` that closes on itself, how far boids see, and how much each of three things weighs.

    `speed`, `vision` and `separation` are lengths, the first a tick. `noise` is the length of the random vector's
    largest component.
    """

    side: float = 100.0
    speed: float = 1.0
    vision: float = 10.0
    separation: float = 2.0
    cohere: float = 0.03
    separate: float = 0.015
    match: float = 0.05
    noise: float = 0.0


class Around(NamedTuple):
    """What is around each boid, of shape (boids,): how many, and sums over them as (x, y).

    `toward` is of the vectors to them, `close` of those to the ones nearer than the separation, `headings` of theirs.
    """

    near: NDArray[np.int64]
    toward: tuple[Floats, Floats]
    close: tuple[Floats, Floats]
    headings: tuple[Floats, Floats]


def around(at: Floats, headings: Floats, side: float, vision: float, separation: float) -> Around:
    """Look around: boids within `vision` of each, on a square of `side` that closes on itself.

    `at` and `headings` are of shape (2, boids). The square is parted into cells no smaller than `vision`, so all that a
    boid sees are in its cell and the eight around it.
    """
    boids, cells = at.shape[1], max(1, int(side / vision))
    column, row = np.minimum((at * (cells / side)).astype(np.int64), cells - 1)
    order = np.argsort(column * cells + row, kind="stable")
    (x, y), (heading_x, heading_y), column, row = at[:, order], headings[:, order], column[order], row[order]
    size = np.bincount(column * cells + row, minlength=cells * cells)
    start = np.cumsum(size) - size
    steps = (-1, 0, 1) if cells > 2 else range(cells)
    beside = [(column + right) % cells * cells + (row + down) % cells for right in steps for down in steps]
    many = np.sum([size[cell] for cell in beside], axis=0)
    ends = np.cumsum(many)
    sums = np.zeros((6, boids))
    near = np.zeros(boids, np.int64)
    first = 0
    while first < boids:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] - many[first] + CANDIDATES, side="right")))
        mine = slice(first, last)
        one, other = _pairs(first, [cell[mine] for cell in beside], size, start)
        right, down = _shorter(x[other] - x[one], side), _shorter(y[other] - y[one], side)
        squared = right * right + down * down
        seen = np.flatnonzero((squared <= vision * vision) & (one != other))
        one, other, right, down, squared = one[seen] - first, other[seen], right[seen], down[seen], squared[seen]
        close = squared < separation * separation
        near[mine] = np.bincount(one, minlength=last - first)
        weights = (right, down, right * close, down * close, heading_x[other], heading_y[other])
        for at_sum, weight in enumerate(weights):
            sums[at_sum, mine] = np.bincount(one, weights=weight, minlength=last - first)
        first = last
    back = np.empty_like(order)
    back[order] = np.arange(boids)
    found = sums[:, back]
    return Around(near[back], (found[0], found[1]), (found[2], found[3]), (found[4], found[5]))


def _pairs(
    first: int, beside: list[NDArray[np.int64]], size: NDArray[np.int64], start: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of a boid, from `first` on, and one in the cells beside it, as places in the order of cells."""
    ones, others = [], []
    for cell in beside:
        many = size[cell]
        ones.append(np.repeat(np.arange(first, first + len(cell)), many))
        others.append(np.arange(len(ones[-1])) + np.repeat(start[cell] - (np.cumsum(many) - many), many))
    return np.concatenate(ones), np.concatenate(others)


def _shorter(apart: Floats, side: float) -> Floats:
    """The shorter of the two ways between two places along one side."""
    return np.where(apart > side / 2, apart - side, np.where(apart < -side / 2, apart + side, apart))


class Sky(Part):
    """Where each boid is and where it heads: `at` and `heading`, of shape (2, boids)."""

    unsaved = ("_around",)

    def open(self, opening: Opening) -> None:
        """Anywhere, and with a heading of two components from -1 to 1, as Mesa's begin."""
        boids = np.arange(opening.agents)
        self.at = np.stack([opening.draw.column(f"sky.at.{one}", boids) for one in "xy"]) * self.world.parameters.side
        self.heading = np.stack([opening.draw.column(f"sky.heading.{one}", boids) * 2.0 - 1.0 for one in "xy"])
        self._around: Around | None = None

    def around(self) -> Around:
        """What is around each, as of now."""
        if self._around is None:
            given = self.world.parameters
            self._around = around(self.at, self.heading, given.side, given.vision, given.separation)
        return self._around

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, Any]:
        """How many are near, the sums over them, and the own heading."""
        found = self.around()
        shown = {"near": found.near, "x": self.heading[0], "y": self.heading[1]}
        for name, of in (("toward", found.toward), ("close", found.close), ("headings", found.headings)):
            shown |= {f"{name}_x": of[0], f"{name}_y": of[1]}
        return {name: column[agents] for name, column in shown.items()}

    @action
    def turn(self, tick: int, batch: Batch) -> None:
        """Head that way from now on."""
        self.heading[0, batch.agents] = batch.column("x")
        self.heading[1, batch.agents] = batch.column("y")

    def advance(self, tick: int) -> None:
        """All fly on."""
        given = self.world.parameters
        self.at = np.mod(self.at + self.heading * given.speed, given.side)
        self._around = None

    def order(self) -> float:
        """The order parameter of Vicsek et al. (1995): the length of the mean of all headings, each of length 1."""
        return float(np.hypot(*(self.heading / np.hypot(*self.heading)).mean(axis=1)))

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"at": self.at, "heading": self.heading}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.at, self.heading = state["at"].copy(), state["heading"].copy()
        self._around = None


class Boids(ColumnarAgent):
    """All turn at once."""

    def turns(self, ctx: Any) -> None:
        """Weigh what is around; who sees nobody flies on."""
        given, seen = ctx.parameters, ctx.seen
        near = np.maximum(seen["sky.near"], 1)
        heading = []
        for one in "xy":
            cohere = seen[f"sky.toward_{one}"] * given.cohere
            separate = seen[f"sky.close_{one}"] * given.separate
            match = seen[f"sky.headings_{one}"] * given.match
            heading.append(seen[f"sky.{one}"] + (cohere - separate + match) / near)
            if given.noise:
                heading[-1] += ctx.draw(f"noise.{one}").uniform(-given.noise, given.noise)
        x, y = heading
        length = np.sqrt(x * x + y * y)
        ctx.act("sky.turn", who=seen["sky.near"] > 0, x=x / length, y=y / length)


class Boid(Agent):
    """Turns by itself."""

    async def turn(self, ctx: Any) -> None:
        """Weigh what is around; who sees nobody flies on."""
        given, seen = ctx.parameters, ctx.seen
        near = seen["sky.near"]
        if not near:
            return
        cohere, separate, match = given.cohere, given.separate, given.match
        x = (
            seen["sky.x"]
            + (seen["sky.toward_x"] * cohere - seen["sky.close_x"] * separate + seen["sky.headings_x"] * match) / near
        )
        y = (
            seen["sky.y"]
            + (seen["sky.toward_y"] * cohere - seen["sky.close_y"] * separate + seen["sky.headings_y"] * match) / near
        )
        if given.noise:
            x += ctx.draw("noise.x").uniform(-given.noise, given.noise)
            y += ctx.draw("noise.y").uniform(-given.noise, given.noise)
        length = math.sqrt(x * x + y * y)
        ctx.act("sky.turn", x=x / length, y=y / length)


def _society(name: str, agent: type[Agent]) -> Society:
    return Society(
        name=name,
        agent=agent,
        population=lambda setup: Population.of_defaults(setup.agents),
        world=lambda setup, people: World(Sky()),
        parameters=Rules(),
        outcomes={
            "order": lambda world: world.sky.order(),
            "near": lambda world: float(world.sky.around().near.mean()),
        },
        size=100,
        ticks=100,
    )


society = _society("flocking", Boids)
each = _society("flocking, each for itself", Boid)
