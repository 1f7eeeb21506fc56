"""Terms of a deal over several issues, what they are worth to each side, and how good an agreement is. Pure.

Utilities are additive (Keeney and Raiffa 1976): each side has points for every option of every issue, and a deal is
worth the sum of the points of its options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

MOST_DEALS: Final = 200_000
"""Over how many possible agreements the best one is looked for."""


class Issues:
    """What is negotiated: the options of each issue, by name.

    `cells` counts all options of all issues; a side's points are an array with one number for each, in their order.

    >>> issues = Issues({"price": ["low", "high"], "delivery": ["now", "later"]})
    >>> issues.code({"price": "high", "delivery": "now"}), issues.terms(2)
    (2, {'price': 'high', 'delivery': 'now'})
    >>> issues.worth(np.array([[0.0, 5.0, 1.0, 0.0]]), np.array([2]))
    array([6.])
    """

    def __init__(self, options: Mapping[str, Sequence[str]]) -> None:
        """Raises ScenarioError unless every issue has options of different names, and few enough agreements in all."""
        if not options or any(not labels or len({*labels}) != len(labels) for labels in options.values()):
            raise ScenarioError(f"issues: each has at least one option, and no name twice: {dict(options)}")
        self.options = {issue: tuple(labels) for issue, labels in options.items()}
        self.sizes = [len(labels) for labels in self.options.values()]
        self.cells = sum(self.sizes)
        self.possible = int(np.prod([float(size) for size in self.sizes]))
        if self.possible > MOST_DEALS:
            raise ScenarioError(f"issues: {self.possible} agreements are possible; up to {MOST_DEALS} are compared")
        self._starts = np.cumsum([0, *self.sizes[:-1]])
        self._all = np.array(list(product(*(range(size) for size in self.sizes))), np.int64)

    def code(self, terms: Any) -> int:
        """Terms (an option by issue) as the number of the agreement. Raises ValueError for what are no terms."""
        if type(terms) is not dict or terms.keys() != self.options.keys():
            raise ValueError(f"terms name an option for each of: {', '.join(self.options)}")
        code = 0
        for (issue, labels), size in zip(self.options.items(), self.sizes, strict=True):
            if terms[issue] not in labels:
                raise ValueError(f"{issue} is one of {', '.join(labels)}, not {terms[issue]!r}")
            code = code * size + labels.index(terms[issue])
        return code

    def terms(self, code: int) -> dict[str, str]:
        """The agreement of this number."""
        return {
            issue: labels[at]
            for (issue, labels), at in zip(self.options.items(), self._all[code].tolist(), strict=True)
        }

    def worth(self, points: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """What agreements are worth, (n,), each by its own row of `points`, (n, cells)."""
        columns = self._all[codes] + self._starts
        found: NDArray[np.float64] = np.take_along_axis(points, columns, axis=1).sum(axis=1)
        return found

    def every(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """What every possible agreement is worth to each side, (possible, sides), by `points`, (sides, cells)."""
        found: NDArray[np.float64] = points[:, self._all + self._starts].sum(axis=2).T
        return found


def efficient(worth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of (n, 2) no other row improves on for one side without loss to the other (Pareto)."""
    order = np.lexsort((-worth[:, 1], -worth[:, 0]))
    second = worth[order, 1]
    before = np.concatenate(([-np.inf], np.maximum.accumulate(second)[:-1]))
    best = second > before
    kept = np.zeros(len(worth), bool)
    kept[order[best]] = True
    rows = worth[kept]
    for row in rows:  # equals of an efficient row are efficient too
        kept |= (worth == row).all(axis=1)
    return kept


def pareto_distance(agreed: NDArray[np.float64], worth: NDArray[np.float64]) -> float:
    """How far an agreement's utilities, (2,), are from the nearest efficient ones among `worth`, (n, 2).

    Euclidean, in points of utility; 0 where the agreement is efficient.
    """
    return float(np.linalg.norm(worth[efficient(worth)] - agreed, axis=1).min())
