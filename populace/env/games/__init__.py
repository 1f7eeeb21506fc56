"""A game is data (`Game`, `Stage`, `Span`, `normal_form`); `Games` is the part that plays it, `play` the agent's."""

from populace.env.games.game import Game, Span, Stage, normal_form
from populace.env.games.part import Games
from populace.env.games.playing import play
from populace.env.games.ready import (
    chicken,
    dictator,
    guessing,
    prisoners_dilemma,
    public_goods,
    rock_paper_scissors,
    stag_hunt,
    trust,
    ultimatum,
)

__all__ = [
    "Game",
    "Games",
    "Span",
    "Stage",
    "chicken",
    "dictator",
    "guessing",
    "normal_form",
    "play",
    "prisoners_dilemma",
    "public_goods",
    "rock_paper_scissors",
    "stag_hunt",
    "trust",
    "ultimatum",
]
