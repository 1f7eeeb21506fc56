"""The table of plays: a ring of the newest ones, in columns, with each player's last ones."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import RowDigests, join_digests
from populace.env.games.game import Floats

NONE: Final = -1


class Plays:
    """Plays by number, from 0 in the order in which they ended; the last `keep` are kept.

    A play has its tick, `players` (seats,), `moves` (width,) and `payoffs` (seats,), and `forfeited` (seats,). `last`
    has the numbers of each agent's newest plays, (agents, memory), the newest first, -1 where there is none.
    """

    def __init__(self, keep: int, seats: int, width: int, memory: int, agents: int) -> None:
        self.keep = keep
        self.ended = 0
        self.last = np.full((agents, memory), NONE, np.int64)
        self.tick = np.zeros(0, np.int32)
        self.players = np.zeros((0, seats), np.int32)
        self.moves: Floats = np.zeros((0, width))
        self.payoffs: Floats = np.zeros((0, seats))
        self.forfeited = np.zeros((0, seats), bool)
        self._digests: tuple[RowDigests, RowDigests] | None = None

    _RINGS: Final = ("tick", "players", "moves", "payoffs", "forfeited")

    def add(
        self,
        tick: int,
        players: NDArray[np.int32],
        moves: Floats,
        payoffs: Floats,
        forfeited: NDArray[np.bool_],
    ) -> None:
        """Append plays of one repetition: no player is in two of them."""
        count = len(players)
        numbers = np.arange(self.ended, self.ended + count, dtype=np.int64)
        self.ended += count
        ids = players.ravel()
        self.last[ids] = np.column_stack((np.repeat(numbers, players.shape[1]), self.last[ids][:, :-1]))
        numbers = numbers[-self.keep :]
        self._room(min(self.keep, self.ended))
        slots = numbers % self.keep
        newest = slice(-len(numbers), None)
        given: tuple[NDArray[Any], ...] = (players, moves, payoffs, forfeited)
        for name, values in zip(self._RINGS[1:], given, strict=True):
            getattr(self, name)[slots] = values[newest]
        self.tick[slots] = tick
        if self._digests is not None:
            self._take(numbers, ids)

    def _room(self, rows: int) -> None:
        had = len(self.tick)
        if rows > had:
            more = min(self.keep, max(rows, 2 * had, 64)) - had
            for name in self._RINGS:
                column = getattr(self, name)
                setattr(self, name, np.concatenate((column, np.zeros((more, *column.shape[1:]), column.dtype))))

    def grow(self, agents: int) -> None:
        """So many agents more, who have played nothing."""
        more = np.full((agents, self.last.shape[1]), NONE, np.int64)
        ids = np.arange(len(self.last), len(self.last) + agents)
        self.last = np.concatenate((self.last, more))
        if self._digests is not None:
            self._take(np.zeros(0, np.int64), ids)

    def numbers(self) -> NDArray[np.int64]:
        """The kept plays, oldest first."""
        return np.arange(max(0, self.ended - self.keep), self.ended, dtype=np.int64)

    def slots(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where kept plays stand in the columns."""
        return numbers % self.keep

    def of(self, agent: int, n: int) -> list[int]:
        """An agent's newest n plays that are kept, oldest first, by their places in the columns."""
        oldest = max(0, self.ended - self.keep)
        return [one % self.keep for one in self.last[agent, :n][::-1].tolist() if one >= oldest and one != NONE]

    def columns(self) -> dict[str, NDArray[Any]]:
        """The kept plays, oldest first: `play`, `tick` (plays,), `players`, `payoffs`, `forfeited`, `moves`."""
        numbers = self.numbers()
        return {"play": numbers} | {name: getattr(self, name)[self.slots(numbers)] for name in self._RINGS}

    def _take(self, numbers: NDArray[np.int64], ids: NDArray[np.integer]) -> None:
        assert self._digests is not None
        slots = self.slots(numbers)
        wide = [column for name in self._RINGS[1:] for column in getattr(self, name)[slots].T]
        self._digests[0].put(slots, numbers, self.tick[slots], *wide)
        self._digests[1].put(ids, ids, *self.last[ids].T)

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives; from the second on, by what was touched."""
        if self._digests is None:
            columns = [f"{name}{at}" for name in self._RINGS[1:] for at in range(getattr(self, name).shape[1])]
            memory = [f"last{at}" for at in range(self.last.shape[1])]
            self._digests = (RowDigests("plays", "tick", *columns), RowDigests("last", *memory))
            self._take(self.numbers(), np.arange(len(self.last)))
        return join_digests(self.keep, self.ended, *(one.digest() for one in self._digests))

    def state(self) -> dict[str, Any]:
        """The kept plays, oldest first, and each agent's last."""
        columns = self.columns()
        return {"ended": self.ended, "last": self.last.copy()} | {name: columns[name].copy() for name in self._RINGS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a table with the same `keep`, `memory` and game."""
        self._digests = None
        self.ended = int(state["ended"])
        self.last = np.array(state["last"], np.int64)
        numbers = self.numbers()
        for name in self._RINGS:
            column = getattr(self, name)
            values = np.zeros((len(numbers), *column.shape[1:]), column.dtype)
            values[self.slots(numbers)] = state[name]
            setattr(self, name, values)
