"""Who likes which posts, as sorted numbers: a tick's likes are looked up and put in as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int64 = NDArray[np.int64]

_AGENT_BITS: Final = 32
_AGENT: Final = (1 << _AGENT_BITS) - 1
_RATIO: Final = 4
"""How many times as long as the one behind it a run of numbers is at least."""


class Likes:
    """Pairs of a post and an agent who likes it, each once.

    A pair is a number, the post's id before the agent's, in a few sorted runs, each several times as long as the next:
    so what a tick adds costs about what there is of it, however many likes stand (as a log-structured merge tree does,
    O'Neil et al. 1996, doi:10.1007/s002360050048), and likes of the oldest posts stand first in each run.
    """

    def __init__(self, posts: ArrayLike = (), agents: ArrayLike = ()) -> None:
        self._runs: list[Int64] = []
        self._few: set[int] = set()
        """Pairs that came one by one."""
        self._put(np.unique(_numbers(posts, agents)))

    def __len__(self) -> int:
        return sum(map(len, self._runs)) + len(self._few)

    def there(self, posts: Int64, agents: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of these pairs are there."""
        self._gather()
        return self._in_order(_numbers(posts, agents), self._known)

    def add(self, post: int, agent: int) -> bool:
        """Add a pair that was not there when `there` was asked last; False where it came since."""
        number = post << _AGENT_BITS | agent
        if number in self._few:
            return False
        self._few.add(number)
        return True

    def add_each(self, posts: Int64, agents: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Add these pairs, one after another: which are new."""
        self._gather()
        return self._in_order(_numbers(posts, agents), self._take)

    def drop(self, before: int) -> tuple[Int64, Int64]:
        """Drop the likes of all posts before this one; gives their posts and agents."""
        self._gather()
        end, dropped = before << _AGENT_BITS, []
        for at, run in enumerate(self._runs):
            cut = int(run.searchsorted(end))
            if cut:
                dropped.append(run[:cut])
                self._runs[at] = run[cut:].copy() if 2 * cut > len(run) else run[cut:]
        self._runs = [run for run in self._runs if len(run)]
        return _pairs(np.concatenate(dropped) if dropped else np.empty(0, np.int64))

    def pairs(self) -> tuple[Int64, Int64]:
        """All posts and agents, sorted by post and then by agent."""
        self._gather()
        if len(self._runs) > 1:
            self._runs = [_merged(self._runs)]
        return _pairs(self._runs[0] if self._runs else np.empty(0, np.int64))

    def _gather(self) -> None:
        """Put what came one by one with the rest."""
        if self._few:
            self._put(np.sort(np.fromiter(self._few, np.int64, len(self._few))))
            self._few = set()

    def _put(self, run: Int64) -> None:
        """Put in sorted numbers, none of which is there."""
        runs, merging = self._runs, [run]
        size = len(run)
        while runs and len(runs[-1]) < _RATIO * size:
            merging.append(runs.pop())
            size += len(merging[-1])
        if size:
            runs.append(_merged(merging[::-1]))

    def _take(self, numbers: Int64) -> NDArray[np.bool_]:
        """Put in the sorted numbers that are not there: which these are, of equal ones the first."""
        new = ~self._known(numbers)
        new[1:] &= numbers[1:] != numbers[:-1]
        self._put(numbers[new])
        return new

    def _known(self, numbers: Int64) -> NDArray[np.bool_]:
        """Which of these sorted numbers are there."""
        known = np.zeros(len(numbers), np.bool_)
        for run in self._runs:
            known |= run.take(run.searchsorted(numbers), mode="clip") == numbers
        return known

    @staticmethod
    def _in_order(numbers: Int64, tell: Callable[[Int64], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """What `tell` says of these numbers, which it is given sorted; equal ones in the order in which they stand."""
        order = np.argsort(numbers, kind="stable")
        told = np.empty(len(numbers), np.bool_)
        told[order] = tell(numbers[order])
        return told


def _numbers(posts: ArrayLike, agents: ArrayLike) -> Int64:
    return np.asarray(posts, np.int64) << _AGENT_BITS | np.asarray(agents, np.int64)


def _pairs(numbers: Int64) -> tuple[Int64, Int64]:
    return numbers >> _AGENT_BITS, numbers & _AGENT


def _merged(runs: list[Int64]) -> Int64:
    """Sorted runs as one: a stable sort merges runs that it finds."""
    return runs[0] if len(runs) == 1 else np.sort(np.concatenate(runs), kind="stable")
