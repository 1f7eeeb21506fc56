"""What a player sees of its play, its past plays and its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from populace.env.games.board import Board
from populace.env.games.game import Game
from populace.env.games.plays import NONE

if TYPE_CHECKING:
    from populace.env.games.part import Games

Sees: TypeAlias = Literal["all", "numbers"]


def view(
    part: Games, board: Board, play: int, seat: int, players: Sequence[int], before: Sequence[Board]
) -> dict[str, Any]:
    """What the player at a seat of a play sees. `before` are this tick's plays of the group that are over."""
    game, agent = part.game, players[seat]
    earned = [float(one.payoffs()[0, seat]) for one in before]
    found = empty(part, agent)
    now = [_past(game, seat, one.flat[0], pay) for one, pay in zip(before, earned, strict=True)]
    at = int(board.stage[play])
    return found | {
        "role": game.roles[seat],
        "seat": seat,
        "partners": [one for one in players if one != agent],
        "stage": game.stages[at].name if at < len(game.stages) else "",
        "moves": board.allowed(play, seat),
        "so_far": _so_far(game, board, play),
        "history": [*found["history"], *now][-part.shown :] if part.shown else [],
        "payoff": earned[-1] if earned else found["payoff"],
        "score": found["score"] + sum(earned),
    }


def empty(part: Games, agent: int) -> dict[str, Any]:
    """What an agent sees who is in no play."""
    history = []
    for row in part.table.of(agent, part.shown):
        seat = int(np.flatnonzero(part.table.players[row] == agent)[0])
        history.append(_past(part.game, seat, part.table.moves[row], float(part.table.payoffs[row, seat])))
    return {
        "by": part.by,
        "role": "",
        "seat": NONE,
        "partners": [],
        "frame": part.game.frames[part.frame],
        "stage": "",
        "moves": None,
        "so_far": {},
        "history": history,
        "payoff": float(part.payoff[agent]),
        "score": float(part.score[agent]),
    }


def _past(game: Game, seat: int, row: NDArray[np.float64], payoff: float) -> dict[str, Any]:
    others = [game.all_shown(other, row) for other in range(game.seats) if other != seat]
    return {"own": game.all_shown(seat, row), "others": others, "payoff": payoff}


def _so_far(game: Game, board: Board, play: int) -> dict[str, list[Any]]:
    found = {}
    for at in range(min(int(board.stage[play]), len(game.stages))):
        moves = {seat: game.shown(at, seat, board.flat[play]) for seat in game.movers(at)}
        if any(move is not None for move in moves.values()):
            found[game.stages[at].name] = [moves.get(seat) for seat in range(game.seats)]
    return found


def numbers(part: Games, board: Board, seats: NDArray[np.int32], agents: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    """What agents see as arrays; see `Games`."""
    count, size = part.world.agents, part.game.seats
    seat, partner = np.full(count, NONE, np.int64), np.full(count, NONE, np.int64)
    to_move = np.zeros(count, bool)
    ids = seats.ravel()
    seat[ids] = np.tile(np.arange(size), len(seats))
    if size > 1:
        partner[ids] = np.where(seat[ids] == 0, np.repeat(seats[:, 1], size), np.repeat(seats[:, 0], size))
    to_move[ids] = board.to_move().ravel()
    own, other = _last_moves(part, agents)
    return {
        "seat": seat[agents],
        "partner": partner[agents],
        "to_move": to_move[agents],
        "own_last": own,
        "other_last": other,
        "payoff": part.payoff[agents],
        "score": part.score[agents],
    }


def _last_moves(part: Games, agents: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first number that each moved in its last play, and that the first other moved; NaN where there is none."""
    own, other = np.full(len(agents), np.nan), np.full(len(agents), np.nan)
    table, game = part.table, part.game
    last = table.last[agents, 0]
    known = np.flatnonzero((last >= max(0, table.ended - table.keep)) & (last != NONE))
    if part.shown == 0 or not len(known):
        return own, other
    rows = table.slots(last[known])
    seat = np.argmax(table.players[rows] == agents[known][:, None], axis=1)
    first = np.array(
        [next((game.place(at, one).start for at in range(len(game.stages)) if one in game.movers(at)), NONE)
         for one in range(game.seats)]
    )  # fmt: skip
    for found, whose in ((own, seat), (other, np.where(seat == 0, min(1, game.seats - 1), 0))):
        place = first[whose]
        found[known] = np.where(place == NONE, np.nan, table.moves[rows, np.maximum(place, 0)])
    return own, other
