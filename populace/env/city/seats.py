"""What is scarce within a tick, given out in the order of those who want it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]


def admitted(wanted: NDArray[np.integer], seats: NDArray[np.integer]) -> Bool:
    """Which of those who want a seat at these places get one: the first ones of each place, as many as it has.

    `seats` are the free ones by place; it is not changed.
    """
    counts = np.bincount(wanted, minlength=len(seats))
    tight = counts > seats
    found = np.ones(len(wanted), np.bool_)
    rows = np.flatnonzero(tight[wanted])
    if len(rows):
        order = rows[np.argsort(wanted[rows], kind="stable")]
        at = wanted[order]
        begins = np.flatnonzero(np.diff(at, prepend=-1))
        rank = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
        found[order] = rank < np.maximum(seats[at], 0)
    return found


def first_of_each(agents: NDArray[np.integer], size: int) -> Bool:
    """Which rows are the first of their agent; ids go from 0 to size - 1."""
    mark = np.empty(size, np.int32)
    order = np.arange(len(agents), dtype=np.int32)
    mark[agents[::-1]] = order[::-1]
    found: Bool = mark[agents] == order
    return found
