"""The cases that solvers are at, in columns, with a digest that is kept as they change."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from populace.env.cases.caseset import ABSENT
from populace.env.cases.sitting import HIDDEN, Sitting
from populace.env.digest import RowDigests, join_digests, state_digest

_PLAIN: Final = ("nth", "case", "left", "asked", "spent", "answer", "leaks")
_TABLES: Final = ("stage", "told", "totals")


class Work:
    """A row a solver: which case of its series, what came to light, what is left of questions, what it answered.

    `nth`, `case`, `left`, `asked`, `answer` and `leaks` are int32 and `spent` float64, of shape (solvers,); `stage` is
    int8 and `told` int16 of shape (solvers, facts); `totals` float64 of shape (solvers, 4): cases answered, right ones,
    questions and costs, over all cases that were answered.
    """

    def __init__(self, solvers: int, facts: int) -> None:
        self.nth = np.full(solvers, -1, np.int32)
        self.case = np.full(solvers, ABSENT, np.int32)
        self.left = np.zeros(solvers, np.int32)
        self.asked = np.zeros(solvers, np.int32)
        self.spent = np.zeros(solvers)
        self.answer = np.full(solvers, ABSENT, np.int32)
        self.leaks = np.zeros(solvers, np.int32)
        self.stage = np.full((solvers, facts), HIDDEN, np.int8)
        self.told = np.full((solvers, facts), ABSENT, np.int16)
        self.totals = np.zeros((solvers, 4))
        self._touched = set(range(solvers))
        self._digests = self._new_digests()

    def _new_digests(self) -> RowDigests:
        return RowDigests("work", *_PLAIN, *(f"{name}{at}" for name in _TABLES for at in range(self._width(name))))

    def _width(self, name: str) -> int:
        return int(getattr(self, name).shape[1])

    def begin(self, rank: int, nth: int, case: int, questions: int) -> None:
        """A solver begins a case, with nothing known."""
        self.nth[rank], self.case[rank], self.left[rank] = nth, case, questions
        self.asked[rank], self.spent[rank], self.answer[rank], self.leaks[rank] = 0, 0.0, ABSENT, 0
        self.stage[rank], self.told[rank] = HIDDEN, ABSENT
        self._touched.add(rank)

    def take(self, rank: int, sitting: Sitting) -> None:
        """Take what acts on a case have changed."""
        self.asked[rank] += self.left[rank] - sitting.left
        self.left[rank], self.spent[rank], self.answer[rank] = sitting.left, sitting.spent, sitting.given
        self.leaks[rank] += sitting.leaks
        self.stage[rank], self.told[rank] = sitting.stage, sitting.told
        self._touched.add(rank)

    def add_to_totals(self, rank: int, *, correct: bool) -> None:
        """Count an answered case."""
        self.totals[rank] += (1.0, float(correct), float(self.asked[rank]), float(self.spent[rank]))
        self._touched.add(rank)

    def digest(self, *rest: Any) -> bytes:
        """16 bytes over the table, and over what else is given: digests and plain data."""
        rows = np.array(sorted(self._touched), np.int64)
        columns = [getattr(self, name)[rows] for name in _PLAIN]
        columns += [getattr(self, name)[rows, at] for name in _TABLES for at in range(self._width(name))]
        self._digests.put(rows, rows, *columns)
        self._touched = set()
        others = [one if isinstance(one, bytes) else state_digest(one) for one in rest]
        return join_digests(self._digests.digest(), *others)

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {name: getattr(self, name).copy() for name in (*_PLAIN, *_TABLES)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of as many solvers and facts."""
        for name in (*_PLAIN, *_TABLES):
            setattr(self, name, np.array(state[name], getattr(self, name).dtype))
        self._digests = self._new_digests()
        self._touched = set(range(len(self.nth)))
