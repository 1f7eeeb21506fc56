"""Schelling's neighbourhoods (1971), doi:10.1080/0022250X.1971.9989794, by the rule of Mesa's example.

In each tick all who have too few like neighbours move to a free cell, by lot, one after another in random order.
Whether somebody has too few is as the tick begins.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from populace import ColumnarAgent, Parameters, Population, Society, World
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

    def open(self, opening: Opening) -> None:
        """Everybody in a cell of its own, by lot, and of one of two kinds, by a coin."""
        side = self.world.parameters.side
        cells = np.argsort(opening.draw.column("grid.cells", np.arange(side * side)), kind="stable")
        self.cell = cells[: opening.agents].astype(np.int64)
        self.kind = (opening.draw.column("grid.kind", np.arange(opening.agents)) < 0.5).astype(np.int64)

    def like(self) -> NDArray[np.float64]:
        """Each agent's share of like ones among its neighbours; NaN where it has none."""
        side = self.world.parameters.side
        counts = np.zeros((2, side + 2, side + 2), np.int64)
        rows, columns = self.cell // side + 1, self.cell % side + 1
        counts[self.kind, rows, columns] = 1
        near = np.zeros((2, len(self.cell)), np.int64)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if down or right:
                    near += counts[:, rows + down, columns + right]
        own = near[self.kind, np.arange(len(self.cell))]
        with np.errstate(invalid="ignore"):
            return np.asarray(own / near.sum(axis=0))

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, Any]:
        """The share of like neighbours, 0 for who has none, as in Mesa."""
        return {"like": np.nan_to_num(self.like())[agents]}

    @action
    def move(self, tick: int, batch: Batch) -> None:
        """To a free cell, by lot, one after another."""
        free = np.setdiff1d(np.arange(self.world.parameters.side**2), self.cell)
        lot = self.world.draw("grid.move")
        for agent in batch.agents.tolist():
            place = lot.integer(len(free))
            self.cell[agent], free[place] = free[place], self.cell[agent]

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"cell": self.cell, "kind": self.kind}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.cell, self.kind = state["cell"].copy(), state["kind"].copy()


class Resident(ColumnarAgent):
    """Moves when it has too few like neighbours."""

    def turns(self, ctx: Any) -> None:
        """Act, those who are unhappy."""
        if ctx.parameters.goes == "free":
            ctx.act("grid.move", who=ctx.seen["grid.like"] < ctx.parameters.wanted)


society = Society(
    name="segregation",
    agent=Resident,
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
