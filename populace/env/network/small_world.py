"""Small worlds of very many agents: what is rewired is drawn for many ties at once, in columns. Pure.

The model is Watts and Strogatz 1998 (doi:10.1038/30918) as igraph has it: of each tie of a ring either end is moved
with the same probability, to an agent drawn from all, so that no tie is there twice and none goes from an agent to
itself. A tie that would is drawn again, until none is left. igraph makes one tie after the other, with some thousand
bytes an agent at 20 neighbours; here no more is held than the rows themselves, a bit for each tie, and what is moved.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws
from populace.env.network.csr import Csr, unweighted

Int64 = NDArray[np.int64]

_TIES: Final = 1 << 20
"""Ties of the ring that are drawn for at once."""
_AGENTS: Final = 1 << 12
"""Agents whose rows are made at once: what they take stays in a processor's cache."""


def rewired_ring(draw: Draws, size: int, reach: int, chance: float) -> Csr:
    """Rows of a ring of `size` agents, each tied to the `reach` next ones on either side, of which a share is rewired.

    Either end of a tie is moved with probability `chance`. `reach` is at most an eighth of `size`.
    """
    moved = np.empty(size * reach, np.bool_)
    stays: list[Int64] = []
    for start in range(0, len(moved), _TIES):
        ties = np.arange(start, min(start + _TIES, len(moved)))
        one, other = draw.column("one", ties) < chance, draw.column("other", ties) < chance
        np.logical_or(one, other, out=moved[ties[0] : ties[-1] + 1])
        some = np.flatnonzero(one | other)
        stays.append(np.where(one[some], -1, ties[some] // reach))
        stays.append(np.where(other[some], -1, (ties[some] // reach + ties[some] % reach + 1) % size))
    new = _placed(draw, size, reach, moved, np.concatenate(stays[::2]), np.concatenate(stays[1::2]))
    return _rows(size, reach, moved, new)


def _placed(draw: Draws, size: int, reach: int, moved: NDArray[np.bool_], one: Int64, other: Int64) -> Int64:
    """Keys low * size + high of the ties that were moved, sorted; an end that stays is given, one that moves is -1."""
    ties, taken, again = np.flatnonzero(moved), np.empty(0, np.int64), 0
    while len(ties):
        ends = [
            np.where(end < 0, np.minimum((draw.column(f"{name}/{again}", ties) * size).astype(np.int64), size - 1), end)
            for name, end in (("to", one), ("other to", other))
        ]
        low, high = np.minimum(*ends), np.maximum(*ends)
        keys = low * size + high
        good = (low != high) & ~_in_the_ring(size, reach, moved, low, high) & ~_among(keys, taken)
        first = np.zeros(len(keys), np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        good &= first
        taken = np.sort(np.concatenate((taken, keys[good])))
        ties, one, other, again = ties[~good], one[~good], other[~good], again + 1
    return taken


def _in_the_ring(size: int, reach: int, moved: NDArray[np.bool_], low: Int64, high: Int64) -> NDArray[np.bool_]:
    """Whether these are ties of the ring that stay where they are; `low` and `high` may be alike."""
    apart = high - low
    start, step = np.where(apart <= reach, low, high), np.where(apart <= reach, apart, size - apart)
    near = (step >= 1) & (step <= reach)
    found = np.zeros(len(low), np.bool_)
    found[near] = ~moved[start[near] * reach + step[near] - 1]
    return found


def _among(keys: Int64, taken: Int64) -> NDArray[np.bool_]:
    """Which keys are among those that are taken, which are sorted."""
    if not len(taken):
        return np.zeros(len(keys), np.bool_)
    return np.asarray(taken[np.minimum(taken.searchsorted(keys), len(taken) - 1)] == keys)


def _rows(size: int, reach: int, moved: NDArray[np.bool_], new: Int64) -> Csr:
    low, high = np.divmod(new, size)
    both = np.sort(np.concatenate((new, high * size + low)))
    del low, high
    steps = np.arange(1, reach + 1)
    offsets, targets = np.zeros(size + 1, np.int64), np.empty(2 * size * reach, np.int32)
    at = 0
    for start in range(0, size, _AGENTS):
        agents = np.arange(start, min(start + _AGENTS, size))[:, np.newaxis]
        after, before = (agents + steps) % size, (agents - steps) % size
        stays = ~moved[agents * reach + steps - 1], ~moved[before * reach + steps - 1]
        mine = slice(*both.searchsorted((start * size, (start + len(agents)) * size)))
        own = [(agents * size + to)[there] for to, there in zip((after, before), stays, strict=True)]
        source, target = np.divmod(np.sort(np.concatenate((*own, both[mine]))), size)
        targets[at : at + len(target)] = target
        counts = np.bincount(source - start, minlength=len(agents))
        offsets[start + 1 : start + 1 + len(agents)] = at + np.cumsum(counts)
        at += len(target)
    return unweighted(offsets, targets)
