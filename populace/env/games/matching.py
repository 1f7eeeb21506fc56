"""Who plays, or talks, with whom: rows of ids, everybody in one row at most, by keyed draws alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import words

Ids = NDArray[np.int32]

MATCHINGS: Final = ("random", "fixed", "round_robin")


def random_groups(ids: Ids, size: int, seed: int, tick: int, purpose: str) -> Ids:
    """Groups of `size`, drawn: (groups, size). Who is left over is in none. The order within a row is drawn too."""
    order = ids[np.argsort(words(seed, tick, purpose, ids), kind="stable")]
    return order[: len(ids) // size * size].reshape(-1, size)


def fixed_groups(ids: Ids, last: Ids, size: int, seed: int, tick: int, purpose: str) -> Ids:
    """The `last` groups as far as all of their members are among `ids`, and new ones of who is in none."""
    kept = last[np.isin(last, ids).all(axis=1)] if len(last) else last
    return np.concatenate((kept, random_groups(ids[~np.isin(ids, kept)], size, seed, tick, purpose)))


def round_robin(order: Ids, step: int) -> Ids:
    """The `step`-th of the len - 1 (of an odd number: len) rounds in which each meets each once: the circle method."""
    circle = order if len(order) % 2 == 0 else np.append(order, np.int32(-1))
    if len(circle) < 2:
        return np.empty((0, 2), np.int32)
    turned = np.concatenate((circle[:1], np.roll(circle[1:], step % (len(circle) - 1))))
    half = len(turned) // 2
    pairs = np.column_stack((turned[:half], turned[half:][::-1]))
    return pairs[(pairs >= 0).all(axis=1)]


def seated(rows: Ids, seed: int, tick: int, purpose: str) -> Ids:
    """The same rows with their members in an order that is drawn: whoever sits first, it is not by id."""
    lots = words(seed, tick, purpose, rows.ravel()).reshape(rows.shape)
    return np.take_along_axis(rows, np.argsort(lots, axis=1, kind="stable"), axis=1)
