"""Plays of one game that are at work, in columns: who is to move, what was moved, which have ended. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.games.game import Floats, Game, Span

Bools = NDArray[np.bool_]

REASONS: Final = ("not_to_move", "already_moved", "not_allowed", "no_play")
"""Why a move is refused; a column of moves tells it by its place, from 1."""
NO_PLAY: Final = 4


class Board:
    """So many plays of a game, each at its own stage.

    `flat` has their moves, (plays, width), NaN where there is none; `stage` (plays,) the stage that each is at, that of
    a play that is over being the number of stages; `given` and `forfeited` (plays, seats) who has moved in it and who
    has forfeited; `missing` (plays, seats) how many moves of each were missing or not allowed.
    """

    def __init__(self, game: Game, plays: int) -> None:
        self.game = game
        self.flat: Floats = np.full((plays, game.width), np.nan)
        self.stage = np.zeros(plays, np.int16)
        self.given: Bools = np.zeros((plays, game.seats), bool)
        self.forfeited: Bools = np.zeros((plays, game.seats), bool)
        self.missing = np.zeros((plays, game.seats), np.int16)
        self._skip(np.arange(plays))

    def __len__(self) -> int:
        return len(self.stage)

    @property
    def over(self) -> Bools:
        """Which plays have ended."""
        return self.stage >= len(self.game.stages)

    def to_move(self) -> Bools:
        """Who is to move and has not, (plays, seats)."""
        found = np.zeros_like(self.given)
        for at in np.unique(self.stage[~self.over]).tolist():
            found[np.ix_(np.flatnonzero(self.stage == at), np.array(self.game.movers(at)))] = True
        return found & ~self.given

    def allowed(self, play: int, seat: int) -> list[str] | dict[str, Any] | None:
        """What a seat may move now: labels, or the span's ends; None where it isn't to move."""
        at = int(self.stage[play])
        if at >= len(self.game.stages) or seat not in self.game.movers(at):
            return None
        moves = self.game.stages[at].moves
        if isinstance(moves, Span):
            return {"low": moves.low, "high": self._most(play, at, moves), "whole": moves.whole, "each": moves.each}
        return list(self.game.labels(self.game.stages[at])[self.game.movers(at).index(seat)])

    def _most(self, play: int, at: int, moves: Span) -> float:
        most = self.game.stages[at].most
        return moves.high if most is None else float(most(self.game.moved(self.flat[play : play + 1]))[0])

    def put(self, play: int, seat: int, move: Any) -> str:
        """Take a seat's move, or say why it is none: `not_to_move`, `already_moved`, `not_allowed`."""
        at = int(self.stage[play])
        if at >= len(self.game.stages) or seat not in self.game.movers(at):
            return "not_to_move"
        if self.given[play, seat]:
            return "already_moved"
        values = self._encoded(play, at, seat, move)
        if values is None:
            return "not_allowed"
        self.flat[play, self.game.place(at, seat)] = values
        self.given[play, seat] = True
        return ""

    def _encoded(self, play: int, at: int, seat: int, move: Any) -> list[float] | None:
        moves = self.game.stages[at].moves
        if not isinstance(moves, Span):
            labels = self.game.labels(self.game.stages[at])[self.game.movers(at).index(seat)]
            if isinstance(move, str):
                return [float(labels.index(move))] if move in labels else None
            return [float(move)] if type(move) in (int, float, bool) and move in range(len(labels)) else None
        numbers = move if moves.each else [move]
        if not isinstance(numbers, list | tuple) or len(numbers) != (self.game.seats if moves.each else 1):
            return None
        if not all(type(one) in (int, float, bool) and math.isfinite(one) for one in numbers):
            return None
        if moves.whole and not all(float(one).is_integer() for one in numbers):
            return None
        high = self._most(play, at, moves)
        others = [one for nth, one in enumerate(numbers) if not (moves.each and nth == seat)]
        if not all(moves.low <= one <= high for one in others) or (moves.each and numbers[seat] != 0):
            return None
        return [float(one) for one in numbers]

    def put_column(self, plays: NDArray[np.intp], seats: NDArray[np.intp], moves: Floats) -> NDArray[np.int8]:
        """Moves of many, each once, as numbers; gives 0 where taken, else why not by its place in `REASONS`, from 1.

        For stages whose moves are labels (by their place) or one number; where they are lists, none is allowed.
        """
        found = np.ones(len(plays), np.int8)
        for at in np.unique(self.stage[plays][~self.over[plays]]).tolist():
            stage, movers = self.game.stages[at], np.array(self.game.movers(at))
            rows = np.flatnonzero((self.stage[plays] == at) & np.isin(seats, movers))
            nth = np.searchsorted(np.sort(movers), seats[rows])
            nth = np.argsort(movers)[nth]
            low, whole = 0.0, True
            if isinstance(stage.moves, Span):
                high = np.full(len(rows), stage.moves.high)
                low, whole = stage.moves.low, stage.moves.whole
                if stage.most is not None:
                    high = np.asarray(stage.most(self.game.moved(self.flat[plays[rows]])), np.float64)
                if stage.moves.each:
                    high = np.full(len(rows), -np.inf)
            else:
                high = np.array([len(one) - 1 for one in self.game.labels(stage)], np.float64)[nth]
            given = moves[rows]
            fits = (given >= low) & (given <= high) & ((given == np.floor(given)) | (not whole))
            again = self.given[plays[rows], seats[rows]]
            found[rows] = np.where(again, 2, np.where(fits, 0, 3))
            fits &= ~again
            taken = rows[fits]
            self.flat[plays[taken], self.game.slots[at].start + nth[fits]] = moves[taken]
            self.given[plays[taken], seats[taken]] = True
        return found

    def close(self) -> None:
        """End the stage that each play is at: what is missing counts as the default, or its player forfeits."""
        for at in np.unique(self.stage[~self.over]).tolist():
            rows, stage = np.flatnonzero(self.stage == at), self.game.stages[at]
            for seat in self.game.movers(at):
                late = rows[~self.given[rows, seat]]
                self.missing[late, seat] += 1
                if stage.default is None:
                    self.forfeited[late, seat] = True
                elif len(late):
                    self._default(late, at, seat)
            self.stage[rows] += 1
        self.given[:] = False
        self.stage[self.forfeited.any(axis=1)] = len(self.game.stages)
        self._skip(np.flatnonzero(~self.over))

    def _default(self, late: NDArray[np.intp], at: int, seat: int) -> None:
        stage = self.game.stages[at]
        place = self.game.place(at, seat)
        if isinstance(stage.moves, Span):
            value = np.full(len(late), float(stage.default or 0.0))
            if stage.most is not None:
                value = np.minimum(value, stage.most(self.game.moved(self.flat[late])))
            self.flat[late, place] = value[:, None]
            if stage.moves.each:
                self.flat[late, place.start + seat] = 0.0
        else:
            labels = self.game.labels(stage)[self.game.movers(at).index(seat)]
            self.flat[late, place] = float(labels.index(str(stage.default)))

    def _skip(self, rows: NDArray[np.intp]) -> None:
        """Let plays pass stages that they do not come to."""
        for at, stage in enumerate(self.game.stages):
            here = rows[self.stage[rows] == at]
            if stage.when is not None and len(here):
                comes = np.asarray(stage.when(self.game.moved(self.flat[here])), bool)
                self.stage[here[~comes]] += 1

    def payoffs(self) -> Floats:
        """What each seat gets, (plays, seats), once all plays are over. Raises ScenarioError for a wrong function."""
        lost, others = self.game.forfeit
        found = np.where(self.forfeited, lost, others).astype(np.float64)
        played = ~self.forfeited.any(axis=1)
        if played.any():
            moved = self.game.moved(self.flat[played])
            given = np.asarray(self.game.payoff(moved), np.float64)
            if given.shape != (int(played.sum()), self.game.seats) or not np.isfinite(given).all():
                raise ScenarioError(
                    f"Game({self.game.name!r}): payoff(moved) gave shape {given.shape} for {int(played.sum())} plays, "
                    f"or numbers that are not finite: it gives a finite one for each play and seat"
                )
            found[played] = given
        return found

    def state(self) -> dict[str, Any]:
        """All that changes."""
        names = ("flat", "stage", "given", "forfeited", "missing")
        return {name: getattr(self, name).copy() for name in names}

    @classmethod
    def restored(cls, game: Game, state: Mapping[str, Any]) -> Board:
        """A board as `state` gave it."""
        board = cls(game, len(state["stage"]))
        for name, values in state.items():
            setattr(board, name, np.array(values, getattr(board, name).dtype))
        return board
