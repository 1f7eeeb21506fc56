"""What is measured of plays of a game in which all move once, by labels. Pure; NaN where nothing was played.

Moves are places in the stage's labels; plays in which somebody forfeited count only where that is said.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from populace.env.games.part import Games

NAN = float("nan")


def made(games: Games) -> NDArray[np.float64]:
    """The moves of the kept plays that nobody forfeited, (plays, seats)."""
    table = games.plays()
    found: NDArray[np.float64] = table["moves"][~table["forfeited"].any(axis=1)]
    return found


def same_share(games: Games) -> float:
    """The share of plays in which all made the same move."""
    moves = made(games)
    return float((moves == moves[:, :1]).all(axis=1).mean()) if len(moves) else NAN


def move_share(games: Games, move: int = 0) -> float:
    """The share of all moves that are this one: 0 is the first label."""
    moves = made(games)
    return float((moves == move).mean()) if len(moves) else NAN


def entropy_bits(games: Games) -> float:
    """Shannon entropy of a player's own moves, in bits, mean over players: log2 of the labels where all are as likely.

    Moves of plays that a partner forfeited count.
    """
    table, found = games.plays(), []
    for agent in np.unique(table["players"]).tolist():
        own = table["moves"][table["players"] == agent]
        if np.isnan(own).all():
            continue
        _, counts = np.unique(own[~np.isnan(own)], return_counts=True)
        share = counts / counts.sum()
        found.append(float(-(share * np.log2(share)).sum()))
    return float(np.mean(found)) if found else NAN
