"""Pairs play one game over and over: whether moves stay mixed, and whether the game's name matters.

After "Playing games with large language models" (arXiv:2503.02582): repeated rock-paper-scissors ends in draws, and
cooperation moves with the frame. Payoffs of the prisoner's dilemma are Axelrod's, its frames those of Liberman, Samuels
and Ross (2004). Arms: `--set society.repeated=false` (a stranger in each tick), `society.game=...`,
`--lever 'set={"world.game.frame"="community"}'`, `"world.game.shown"=0` (no history is shown).

The check of draws is of theory: the rule mind learns by reinforcement in which losses weigh, and without that weight
draws are a third. The frame's effect on rules is nearly a parameter: the rule reads the frame's words, as a model
would, and a player's `suggestibility` says how much they move the weight on the partner's payoff. With a model, a run
measures that weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from populace import Agent, Choice, Chosen, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Games
from populace.env.games import Game, chicken, measures, play, prisoners_dilemma, rock_paper_scissors, stag_hunt
from populace.scenarios._data import prompts
from populace.scenarios._games_rules import RULES

TEXTS = prompts("games")
SYSTEM = TEXTS["system"].strip()
LAST = 10
"""Outcomes are over so many repetitions, the newest."""

GAMES: Mapping[str, Game] = {
    "rock_paper_scissors": rock_paper_scissors(),
    "prisoners_dilemma": prisoners_dilemma(),
    "stag_hunt": stag_hunt(),
    "chicken": chicken(),
}


class Dials(Parameters, frozen=True):
    """`loss_aversion` and `social_value` are means over players; `depth` plays are recalled.

    `suggestibility` is how far a frame's words move the weight on the partner's payoff, of all players.
    `repeated` is one partner for good, else another in each tick; `frame` is the name of one of the game's frames.
    """

    game: Literal["rock_paper_scissors", "prisoners_dilemma", "stag_hunt", "chicken"] = "rock_paper_scissors"
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
                "payoffs": GAMES[dials.game].table(),
                "social_value": round(self.social_value, 2),
                "suggestibility": dials.suggestibility,
                "loss_aversion": round(self.loss_aversion, 2),
                "history": now["history"],
            }
            said = await ctx.ask(TEXTS["move"], Choice(*now["moves"]), facts=facts, system=SYSTEM, purpose="move")
            self.move = said.label if isinstance(said, Chosen) else ""
            return self.move or None

        await play(ctx, choose)


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
    outcomes={
        "entropy_bits": lambda world: measures.entropy_bits(world.game),
        "draws": lambda world: measures.same_share(world.game),
        "cooperation": lambda world: measures.move_share(world.game),
    },
)
