"""A society of columnar players of the prisoner's dilemma: tit for tat, with slips."""

from __future__ import annotations

import numpy as np

from populace import ColumnarAgent, ColumnarContext, Population, Public, Society, World
from populace.env import Games
from populace.env.games import prisoners_dilemma


class Copier(ColumnarAgent):
    """Does what the other did last; now and then the opposite."""

    score: Public[float] = 0.0

    def turns(self, ctx: ColumnarContext) -> None:
        last = ctx.seen["game.other_last"]
        slips = ctx.draw("slip").bernoulli(0.1)
        move = np.where(np.isnan(last), 0.0, last)
        ctx.act("game.move", who=ctx.seen["game.to_move"], move=np.where(slips, 1.0 - move, move))
        self.score = ctx.seen["game.score"]


society = Society(
    name="copiers",
    agent=Copier,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=lambda setup, people: World(Games(prisoners_dilemma(), matching="fixed", sees="numbers")),
    outcomes={"moves": lambda world: float(world.game.counts["moves"])},
    size=21,
    ticks=5,
)
