"""Pairs play one game over and over: whether moves stay mixed, and whether the game's name matters.

After "Playing games with large language models" (arXiv:2503.02582): repeated rock-paper-scissors ends in draws, and
cooperation moves with the frame. Payoffs of the prisoner's dilemma are Axelrod's, its frames those of Liberman, Samuels
and Ross (2004). Arms: `--set society.repeated=false` (a stranger in each tick), `society.game=...`,
`--lever 'set={"world.game.frame"="community"}'`, `"world.game.shown"=0` (no history is shown).

The frame's effect on rules is nearly a parameter: the rule reads the frame's words, as a model would, and a player's
`suggestibility` says how much they move the weight on the partner's payoff. With a model, a run measures that weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from populace import Agent, Choice, Chosen, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Games
from populace.env.games import Game, normal_form, play, prisoners_dilemma, rock_paper_scissors
from populace.scenarios._data import prompts
from populace.scenarios._games_rules import RULES

TEXTS = prompts("games")
SYSTEM = TEXTS["system"].strip()
LAST = 10
"""Outcomes are over so many repetitions, the newest."""

GAMES: Mapping[str, Game] = {
    "rock_paper_scissors": rock_paper_scissors(),
    "prisoners_dilemma": prisoners_dilemma(),
    "stag_hunt": normal_form("stag hunt", ("stag", "hare"), [[[4, 4], [0, 3]], [[3, 0], [3, 3]]]),
    "chicken": normal_form("chicken", ("swerve", "straight"), [[[3, 3], [2, 4]], [[4, 2], [0, 0]]]),
}


class Dials(Parameters, frozen=True):
    """`loss_aversion`, `social_value` and `suggestibility` are means over players; `depth` plays are recalled.

    `repeated` is one partner for good, else another in each tick; `frame` is the name of one of the game's frames.
    """

    game: str = "rock_paper_scissors"
    repeated: bool = True
    frame: str = "neutral"
    loss_aversion: float = 2.25
    social_value: float = 0.3
    suggestibility: float = 0.6
    depth: int = 10


class Player(Agent):
    """Makes a move by the frame, the payoffs and what it remembers."""

    loss_aversion: Public[float]
    social_value: Public[float]
    move: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        """Move, if there is a partner."""

        async def choose(now: dict[str, Any]) -> str | None:
            dials = ctx.parameters
            facts = {
                "frame": now["frame"],
                "payoffs": payoffs(GAMES[dials.game]),
                "social_value": round(self.social_value, 2),
                "suggestibility": dials.suggestibility,
                "loss_aversion": round(self.loss_aversion, 2),
                "history": now["history"],
            }
            said = await ctx.ask(TEXTS["move"], Choice(*now["moves"]), facts=facts, system=SYSTEM, purpose="move")
            self.move = said.label if isinstance(said, Chosen) else ""
            return self.move or None

        await play(ctx, choose)


def payoffs(game: Game) -> dict[str, dict[str, list[float]]]:
    """The game's table: by own move and the other's, what one gets and what the other gets."""
    (labels, _), stage = game.labels(game.stages[0]), game.stages[0].name
    cells = {(a, b): np.array([[a, b]], np.float64) for a in range(len(labels)) for b in range(len(labels))}
    return {
        one: {other: game.payoff({stage: cells[a, b]})[0].tolist() for b, other in enumerate(labels)}
        for a, one in enumerate(labels)
    }


def population(setup: Setup) -> Population:
    """Loss aversion is lognormal about its dial, social value normal with a standard deviation of 0.2."""
    dials, draw = setup.parameters, setup.draw("players")
    n = setup.agents
    return Population(
        {
            "loss_aversion": [dials.loss_aversion * draw.lognormal(0.0, 0.2) for _ in range(n)],
            "social_value": [dials.social_value + draw.normal(0.0, 0.2) for _ in range(n)],
        }
    )


def world(setup: Setup, people: Population) -> World:
    """One game; the table of plays holds the repetitions that outcomes are over."""
    dials = setup.parameters
    return World(
        Games(
            GAMES[dials.game],
            matching="fixed" if dials.repeated else "random",
            frame=dials.frame,
            memory=dials.depth,
            keep=LAST * max(1, setup.agents // 2),
        )
    )


def moves(world: World) -> np.ndarray:
    """The moves of the kept plays that nobody forfeited, by their place: (plays, 2)."""
    table = world.game.plays()
    found: np.ndarray = table["moves"][~table["forfeited"].any(axis=1)]
    return found


def entropy_bits(world: World) -> float:
    """Shannon entropy of a player's own moves in the kept plays, in bits, mean over players."""
    table, found = world.game.plays(), []
    for agent in np.unique(table["players"]).tolist():
        mine = table["moves"][table["players"] == agent]
        _, counts = np.unique(mine[~np.isnan(mine)], return_counts=True)
        share = counts / counts.sum()
        found.append(float(-(share * np.log2(share)).sum()))
    return float(np.mean(found)) if found else float("nan")


def draws(world: World) -> float:
    """The share of plays in which both made the same move."""
    made = moves(world)
    return float((made[:, 0] == made[:, 1]).mean()) if len(made) else float("nan")


def cooperation(world: World) -> float:
    """The share of moves that are the game's first: cooperate, stag, swerve (or rock)."""
    made = moves(world)
    return float((made == 0).mean()) if len(made) else float("nan")


society = Society(
    name="games",
    about="Pairs play a game over and over; moves, draws and cooperation by loss aversion and frame.",
    agent=Player,
    population=population,
    world=world,
    parameters=Dials(),
    rules=RULES,
    size=40,
    ticks=40,
    outcomes={"entropy_bits": entropy_bits, "draws": draws, "cooperation": cooperation},
)
