"""A game as data: roles, stages with who moves at once, what may be moved, and a payoff function over columns.

Normal form games have one stage. A tree has several; a stage with `when` stands for a node that some plays do not come
to. Players, plays and moves are columns: a stage's moves are float64 of shape (plays, movers), labels by their place
among the allowed ones, NaN where a play never came to the stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError

Floats: TypeAlias = NDArray[np.float64]
Moved: TypeAlias = Mapping[str, Floats]
"""Moves by stage: (plays, movers); with `Span(each=True)` (plays, movers, seats)."""


@dataclass(frozen=True)
class Span:
    """Numbers from `low` to `high`: `whole` ones only, unless that is False.

    With `each`, a move is a list of such numbers, one for each seat in the order of the seats; the mover's own is 0.
    """

    low: float
    high: float
    whole: bool = True
    each: bool = False


@dataclass(frozen=True)
class Stage:
    """Movers who move at once, without seeing one another's moves.

    `moves` are labels, a `Span`, or a tuple of labels for each mover. `seats` are the movers (none named: all).
    `default` is what a missing move counts as: a label or number; None: who doesn't move forfeits the play.
    `when(moved)` says which plays come to the stage, a mask (plays,); `most(moved)` gives the upper end of a `Span` by
    play, (plays,). Both see the stages before only.
    """

    name: str
    moves: tuple[str, ...] | tuple[tuple[str, ...], ...] | Span
    seats: tuple[int, ...] = ()
    default: str | float | None = None
    when: Callable[[Moved], NDArray[np.bool_]] | None = None
    most: Callable[[Moved], Floats] | None = None


@dataclass(frozen=True)
class Game:
    """`roles` names each seat's role, in order; `payoff(moved)` gives float64 (plays, seats), a number a seat.

    `frames` are texts by name, of which a player is shown one (`neutral` unless the part says otherwise). `forfeit` is
    what a player who forfeits a play gets, and what each other gets.

    >>> chicken = normal_form("chicken", ("swerve", "straight"), [[[0, 0], [-1, 1]], [[1, -1], [-9, -9]]])
    >>> chicken.payoff({"move": np.array([[0.0, 1.0]])}).tolist()
    [[-1.0, 1.0]]
    """

    name: str
    roles: tuple[str, ...]
    stages: tuple[Stage, ...]
    payoff: Callable[[Moved], Floats]
    frames: Mapping[str, str] = field(default_factory=lambda: {"neutral": ""})
    forfeit: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        where = f"Game({self.name!r})"
        names = [stage.name for stage in self.stages]
        if not self.roles or not self.stages or len(set(names)) < len(names):
            raise ScenarioError(f"{where}: has at least one role and one stage, and stages of different names: {names}")
        if not self.frames or not all(isinstance(text, str) for text in self.frames.values()):
            raise ScenarioError(f"{where}: frames are texts by name, at least one: {{'neutral': ''}}")
        for stage in self.stages:
            self._check(f"{where}, stage {stage.name!r}", stage)
        self._try(where)

    def _check(self, where: str, stage: Stage) -> None:
        seats, moves = stage.seats or tuple(range(self.seats)), stage.moves
        if len(set(seats)) < len(seats) or not all(0 <= seat < self.seats for seat in seats):
            raise ScenarioError(f"{where}: seats are different places from 0 to {self.seats - 1}, not {stage.seats}")
        if isinstance(moves, Span):
            if not -math.inf < moves.low <= moves.high < math.inf:
                raise ScenarioError(f"{where}: a span runs from a number to one that is no lower, not {moves}")
            if isinstance(stage.default, str):
                raise ScenarioError(f"{where}: the default is a number as its moves are, not {stage.default!r}")
            return
        if stage.most is not None:
            raise ScenarioError(f"{where}: `most` is for a Span of numbers, and its moves are labels")
        lists = self.labels(stage)
        if len(lists) != len(seats) or not all(lists) or any(len(set(one)) < len(one) for one in lists):
            raise ScenarioError(
                f"{where}: moves are different labels, ('left', 'right'), or such a tuple for each of its "
                f"{len(seats)} movers, not {moves!r}"
            )
        if stage.default is not None and not all(stage.default in one for one in lists):
            raise ScenarioError(f"{where}: the default {stage.default!r} is none of its moves: {moves!r}")

    def _try(self, where: str) -> None:
        """Check what the functions give, before a run, on a play in which everybody takes the lowest move."""
        flat = np.zeros((1, self.width))
        for at, stage in enumerate(self.stages):
            if isinstance(stage.moves, Span):
                flat[:, self.slots[at]] = 0.0 if stage.moves.each else stage.moves.low
            for name, function in (("when", stage.when), ("most", stage.most)):
                if function is not None and np.shape(function(self.moved(flat))) != (1,):
                    raise ScenarioError(f"{where}, stage {stage.name!r}: {name}(moved) gives one value a play")
        given = np.asarray(self.payoff(self.moved(flat)), np.float64)
        if given.shape != (1, self.seats) or not np.isfinite(given).all():
            raise ScenarioError(
                f"{where}: payoff(moved) gives a finite number for each play and seat, (plays, {self.seats}); for one "
                f"play of the lowest moves it gave shape {given.shape}: {given.tolist()}"
            )

    @property
    def seats(self) -> int:
        """How many play it."""
        return len(self.roles)

    def labels(self, stage: Stage) -> list[tuple[str, ...]]:
        """The labels that each mover of a stage may take, by its place among the movers."""
        movers = len(stage.seats) or self.seats
        if isinstance(stage.moves, Span):
            return []
        if all(isinstance(one, str) for one in stage.moves):
            return [stage.moves] * movers  # type: ignore[list-item]
        return list(stage.moves)  # type: ignore[arg-type]

    def table(self) -> dict[str, dict[str, list[float]]]:
        """A game of two who move once, at the same time, by labels: own move, the other's, what each gets, own first.

        As the first player has it. Raises ScenarioError for another game.
        """
        if self.seats != 2 or len(self.stages) != 1 or self.movers(0) != (0, 1) or not self.labels(self.stages[0]):
            raise ScenarioError(f"Game({self.name!r}).table(): is for two players who both choose a label, once")
        (mine, theirs), stage = self.labels(self.stages[0]), self.stages[0].name
        cells = np.array([[a, b] for a in range(len(mine)) for b in range(len(theirs))], np.float64)
        payoffs = self.payoff({stage: cells}).reshape(len(mine), len(theirs), 2).tolist()
        return {one: dict(zip(theirs, row, strict=True)) for one, row in zip(mine, payoffs, strict=True)}

    def movers(self, at: int) -> tuple[int, ...]:
        """The seats that move in a stage."""
        return self.stages[at].seats or tuple(range(self.seats))

    @cached_property
    def slots(self) -> list[slice]:
        """Where each stage's moves stand in a play's row."""
        found, start = [], 0
        for at, stage in enumerate(self.stages):
            each = isinstance(stage.moves, Span) and stage.moves.each
            size = len(self.movers(at)) * (self.seats if each else 1)
            found.append(slice(start, start + size))
            start += size
        return found

    @property
    def width(self) -> int:
        """How many numbers a play's moves are."""
        return int(self.slots[-1].stop)

    def moved(self, flat: Floats) -> dict[str, Floats]:
        """Rows of moves, (plays, width), as moves by stage."""
        found = {}
        for at, stage in enumerate(self.stages):
            rows = flat[:, self.slots[at]]
            each = isinstance(stage.moves, Span) and stage.moves.each
            found[stage.name] = rows.reshape(len(flat), -1, self.seats) if each else rows
        return found

    def place(self, at: int, seat: int) -> slice:
        """Where a seat's move of a stage stands in a play's row."""
        stage, nth = self.stages[at], self.movers(at).index(seat)
        size = self.seats if isinstance(stage.moves, Span) and stage.moves.each else 1
        start = self.slots[at].start + nth * size
        return slice(start, start + size)

    def shown(self, at: int, seat: int, row: Floats) -> Any:
        """A seat's move of a stage as it was given; None where there is none."""
        values = row[self.place(at, seat)].tolist()
        moves = self.stages[at].moves
        if math.isnan(values[0]):
            return None
        if isinstance(moves, Span):
            numbers = [int(one) if moves.whole else one for one in values]
            return numbers if moves.each else numbers[0]
        return self.labels(self.stages[at])[self.movers(at).index(seat)][int(values[0])]

    def all_shown(self, seat: int, row: Floats) -> Any:
        """All of a seat's moves: the move where the game has one stage, else by the names of its stages."""
        if len(self.stages) == 1:
            return self.shown(0, seat, row) if seat in self.movers(0) else None
        found = {
            stage.name: self.shown(at, seat, row) for at, stage in enumerate(self.stages) if seat in self.movers(at)
        }
        return {name: move for name, move in found.items() if move is not None}


def normal_form(
    name: str,
    moves: Sequence[str] | Sequence[Sequence[str]],
    payoffs: ArrayLike,
    *,
    default: str | None = None,
    roles: Sequence[str] = (),
    frames: Mapping[str, str] | None = None,
    forfeit: tuple[float, float] = (0.0, 0.0),
) -> Game:
    """A game of one stage from its table: `payoffs` has shape (moves of the first, of the second, ..., players).

    `moves` are the labels of all players, or those of each. Raises ScenarioError where they do not fit the table.
    """
    table = np.asarray(payoffs, np.float64)
    players = table.ndim - 1
    labels: Any = tuple(moves) if all(isinstance(one, str) for one in moves) else tuple(map(tuple, moves))
    sizes = [len(labels)] * players if labels and isinstance(labels[0], str) else list(map(len, labels))
    if players < 1 or list(table.shape) != [*sizes, players] or not np.isfinite(table).all():
        raise ScenarioError(
            f"normal_form({name!r}): payoffs of {players} players with {sizes} moves have the shape "
            f"{(*sizes, players)} and are finite; these have {table.shape}"
        )

    def payoff(moved: Moved) -> Floats:
        found: Floats = table[tuple(moved["move"].astype(np.intp).T)]
        return found

    return Game(
        name,
        tuple(roles) or ("player",) * players,
        (Stage("move", labels, default=default),),
        payoff,
        frames or {"neutral": ""},
        forfeit,
    )
