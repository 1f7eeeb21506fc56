"""Schelling's neighbourhoods (1971), doi:10.1080/0022250X.1971.9989794, by the rule of Mesa's example.

In each tick all who have too few like neighbours move to a free cell, by lot, one after another in random order.
Whether somebody has too few is as the tick begins. Residents decide in columns (`society`) or each for itself (`each`),
and come to the same.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from populace import Agent, ColumnarAgent, Parameters, Population, Society, World
from populace.env import Batch, Opening, Part, action


class Neighbourhoods(Parameters):
    """A grid of `side` by `side` cells, and the least share of like neighbours with which one stays.

    `goes` says where the unhappy go: to a free cell by lot, or nowhere.
    """

    side: int = 20
    wanted: float = 0.4
    goes: Literal["free", "nowhere"] = "free"


class Grid(Part):
    """Who lives where. A cell has up to eight neighbours; at the edges fewer."""

    unsaved = ("_like",)

    def open(self, opening: Opening) -> None:
        """Everybody in a cell of its own, by lot, and of one of two kinds, by a coin."""
        side = self.world.parameters.side
        cells = np.argsort(opening.draw.column("grid.cells", np.arange(side * side)), kind="stable")
        self.cell = cells[: opening.agents].astype(np.int64)
        self.kind = (opening.draw.column("grid.kind", np.arange(opening.agents)) < 0.5).astype(np.int64)
        self._like: NDArray[np.float64] | None = None

    def like(self) -> NDArray[np.float64]:
        """Each agent's share of like ones among its neighbours; NaN where it has none."""
        if self._like is None:
            side = self.world.parameters.side
            there = np.zeros((2, side + 2, side + 2), np.int8)
            there[self.kind, self.cell // side + 1, self.cell % side + 1] = 1
            rows = there[:, :-2] + there[:, 1:-1] + there[:, 2:]
            near = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - there[:, 1:-1, 1:-1]
            near = near.reshape(2, -1)
            own = near[self.kind, self.cell]
            with np.errstate(invalid="ignore"):
                self._like = own / (own + near[1 - self.kind, self.cell]).astype(np.float64)
        return self._like

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, Any]:
        """The share of like neighbours, 0 for who has none, as in Mesa."""
        return {"like": np.nan_to_num(self.like())[agents]}

    @action
    def move(self, tick: int, batch: Batch) -> None:
        """To a free cell, by lot, one after another; whoever moves leaves a cell that the next may move to."""
        taken = np.zeros(self.world.parameters.side**2, np.bool_)
        taken[self.cell] = True
        free = np.flatnonzero(~taken)
        if not len(free):
            return
        places = (self.world.draw.column("grid.move", batch.agents) * len(free)).astype(np.int64)
        cells, left = self.cell[batch.agents].tolist(), free.tolist()
        for at, place in enumerate(places.tolist()):
            cells[at], left[place] = left[place], cells[at]
        self.cell[batch.agents] = cells
        self._like = None

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"cell": self.cell, "kind": self.kind}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.cell, self.kind = state["cell"].copy(), state["kind"].copy()
        self._like = None


class Resident(ColumnarAgent):
    """Moves when it has too few like neighbours."""

    def turns(self, ctx: Any) -> None:
        """Act, those who are unhappy."""
        if ctx.parameters.goes == "free":
            ctx.act("grid.move", who=ctx.seen["grid.like"] < ctx.parameters.wanted)


class Neighbour(Agent):
    """Moves when it has too few like neighbours, as a turn of its own."""

    async def turn(self, ctx: Any) -> None:
        """Act, where it is unhappy."""
        if ctx.seen["grid.like"] < ctx.parameters.wanted and ctx.parameters.goes == "free":
            ctx.act("grid.move")


def _society(name: str, agent: type[Agent]) -> Society:
    return Society(
        name=name,
        agent=agent,
        population=lambda setup: Population.of_defaults(setup.agents),
        world=lambda setup, people: World(Grid()),
        parameters=Neighbourhoods(),
        outcomes={
            "like": lambda world: float(np.nanmean(world.grid.like())),
            "happy": lambda world: float((np.nan_to_num(world.grid.like()) >= world.parameters.wanted).mean()),
        },
        size=320,
        ticks=20,
    )


society = _society("segregation", Resident)
each = _society("segregation, each for itself", Neighbour)
