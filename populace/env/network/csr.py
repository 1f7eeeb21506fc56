"""Weighted directed edges in compressed sparse rows: for each agent the sorted targets of its edges."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError


class Csr:
    """Edges sorted by (source, target), without repeats.

    `offsets` (int64, agents + 1) bounds each source's slice of `targets` (int32) and `weights` (float64). Treat
    all three as read-only: `edit` gives new ones. `totals` keeps what follows from all edges, for who works that out.
    """

    __slots__ = ("__weakref__", "offsets", "targets", "totals", "weights")

    def __init__(self, offsets: NDArray[np.int64], targets: NDArray[np.int32], weights: NDArray[np.float64]) -> None:
        self.offsets = offsets
        self.targets = targets
        self.weights = weights
        self.totals: dict[int, NDArray[np.uint64]] = {}
        if not targets.flags.writeable:
            _THERE[id(targets)] = self

    @property
    def size(self) -> int:
        """How many agents there are."""
        return len(self.offsets) - 1

    def sources(self) -> NDArray[np.int32]:
        """The source of each edge, aligned with `targets`."""
        return np.repeat(np.arange(self.size, dtype=np.int32), np.diff(self.offsets))

    def of(self, agent: int) -> NDArray[np.int32]:
        """The targets of one agent, ascending; a view."""
        return self.targets[self.offsets[agent] : self.offsets[agent + 1]]

    def weights_of(self, agent: int) -> NDArray[np.float64]:
        """The weights of one agent's edges, aligned with `of`; a view."""
        return self.weights[self.offsets[agent] : self.offsets[agent + 1]]

    def has(self, source: int, target: int) -> bool:
        """Whether there is an edge from source to target."""
        targets = self.of(source)
        at = int(np.searchsorted(targets, target))
        return at < len(targets) and int(targets[at]) == target

    def find(self, source: NDArray[np.integer], target: NDArray[np.integer]) -> NDArray[np.float64]:
        """The weights of these edges; NaN where there is none."""
        low, there = self._places(source, target)
        found = np.full(len(low), np.nan)
        found[there] = self.weights[low[there]]
        return found

    def _places(
        self, source: NDArray[np.integer], target: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where these edges stand, or would, and which of them are there."""
        low, high = self.offsets[source], self.offsets[np.asarray(source) + 1]
        end, high = high, high.copy()
        while len(live := np.flatnonzero(low < high)):
            middle = (low[live] + high[live]) // 2
            left = self.targets[middle] < target[live]
            low[live[left]] = middle[left] + 1
            high[live[~left]] = middle[~left]
        there = low < end
        there[there] = self.targets[low[there]] == target[there]
        return low, there

    def reverse(self) -> Csr:
        """The same edges with source and target exchanged."""
        return _from_keys(self.size, *_sort(self.targets, self.sources(), self.weights, self.size))

    def edit(self, source: NDArray[np.integer], target: NDArray[np.integer], weight: NDArray[np.float64]) -> Csr:
        """New rows with these (different) edges set to their weights; a NaN weight removes the edge."""
        keys, given = _sort(source, target, weight, self.size)
        source, target = np.divmod(keys, self.size)
        at, there = self._places(source, target)
        stays = ~np.isnan(given)
        weights = self.weights.copy()
        weights[at[there & stays]] = given[there & stays]
        dropped, new = there & ~stays, ~there & stays
        keep = np.ones(len(weights), np.bool_)
        keep[at[dropped]] = False
        targets, weights = (self.targets[keep], weights[keep]) if dropped.any() else (self.targets, weights)
        places = at[new] - np.searchsorted(at[dropped], at[new]) + np.arange(int(new.sum()))
        old = np.ones(len(weights) + len(places), np.bool_)
        old[places] = False
        change = np.bincount(source[new], minlength=self.size) - np.bincount(source[dropped], minlength=self.size)
        offsets = self.offsets.copy()
        offsets[1:] += np.cumsum(change)
        return Csr(frozen(offsets), frozen(_filled(old, targets, target[new])), _filled(old, weights, given[new]))


_THERE: Final[WeakValueDictionary[int, Csr]] = WeakValueDictionary()
"""Rows whose targets nobody can write to, by the id of these."""


def rows_of(offsets: NDArray[np.int64], targets: NDArray[np.int32], weights: NDArray[np.float64]) -> Csr:
    """The rows of these columns: those that are there already, where these are the very columns that they have."""
    there = _THERE.get(id(targets))
    if there is None or there.targets is not targets or there.offsets is not offsets or offsets.flags.writeable:
        return Csr(offsets, targets, weights)
    alike = there.weights is weights or (is_one(weights) and is_one(there.weights))
    return there if alike else Csr(offsets, targets, weights)


def _filled(old: NDArray[np.bool_], kept: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """A column of what is kept where `old` is true, and of what is new elsewhere, each in its order."""
    if not len(new):
        return kept
    column = np.empty(len(old), kept.dtype)
    column[old] = kept
    column[~old] = new
    return column


def frozen(column: NDArray[Any]) -> NDArray[Any]:
    """The same column, which nobody can write to from now on: whoever keeps it need not copy it."""
    column.flags.writeable = False
    return column


def unweighted(offsets: NDArray[np.int64], targets: NDArray[np.int32]) -> Csr:
    """Rows of edges that all weigh 1.0, which takes no memory."""
    return Csr(frozen(offsets), frozen(targets), ones(len(targets)))


def compact(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same weights, in no memory where all of them are 1.0."""
    return ones(len(weights)) if is_one(weights) or bool((weights == 1.0).all()) else weights


def ones(length: int) -> NDArray[np.float64]:
    """Weights of 1.0, which take no memory."""
    return np.broadcast_to(np.float64(1.0), (length,))


def is_one(weights: NDArray[np.float64]) -> bool:
    """Whether this is what `ones` gives."""
    return weights.strides == (0,) and len(weights) > 0 and weights[0] == 1.0


def build(size: int, source: ArrayLike, target: ArrayLike, weight: ArrayLike | None, where: str) -> Csr:
    """Rows of these edges; weights are 1.0 where none are given.

    Raises ScenarioError, beginning with `where` and naming the edge, for ids that are not integers from 0 to
    size - 1, self loops, repeated edges, weights that are not finite, and columns of different lengths.
    """
    sources, targets = _ids(source, f"{where}, source"), _ids(target, f"{where}, target")
    weights = ones(len(sources)) if weight is None else np.asarray(weight)
    if weights.dtype.kind not in "fiu" and weights.size:
        raise ScenarioError(f"{where}: weights are numbers, got {weights.dtype}")
    if not len(sources) == len(targets) == len(weights):
        raise ScenarioError(f"{where}: {len(sources)} sources, {len(targets)} targets, {len(weights)} weights")
    weights = weights if weight is None else weights.astype(np.float64)
    for ids in (sources, targets):
        if bad := _first((ids < 0) | (ids >= size)):
            raise ScenarioError(f"{where}: edge {bad[0]} names agent {ids[bad[0]]}, but ids go from 0 to {size - 1}")
    if bad := _first(sources == targets):
        raise ScenarioError(f"{where}: edge {bad[0]} goes from agent {sources[bad[0]]} to itself")
    if bad := _first(~np.isfinite(weights)):
        raise ScenarioError(f"{where}: the weight of edge {bad[0]} is {weights[bad[0]]}")
    keys, weights = _sort(sources, targets, weights, size)
    if bad := _first(keys[1:] == keys[:-1]):
        source_id, target_id = divmod(int(keys[bad[0]]), size)
        raise ScenarioError(f"{where}: the edge from agent {source_id} to agent {target_id} is there more than once")
    return _from_keys(size, keys, weights)


def _ids(values: ArrayLike, where: str) -> NDArray[np.int64]:
    ids = np.asarray(values)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ScenarioError(f"{where}: ids are a column of integers, got {ids.dtype} of shape {ids.shape}")
    return ids.astype(np.int64)


def _first(bad: NDArray[np.bool_]) -> tuple[int] | None:
    return (int(np.argmax(bad)),) if bad.any() else None


def _sort(
    source: NDArray[np.integer], target: NDArray[np.integer], weight: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys source * size + target, ascending, and their weights."""
    keys = source.astype(np.int64) * size + target
    if is_one(weight):
        return np.sort(keys, kind="stable"), weight
    order = np.argsort(keys, kind="stable")
    return keys[order], weight[order]


def _from_keys(size: int, keys: NDArray[np.int64], weights: NDArray[np.float64]) -> Csr:
    source, target = np.divmod(keys, size)
    offsets = np.zeros(size + 1, dtype=np.int64)
    np.cumsum(np.bincount(source, minlength=size), out=offsets[1:])
    return Csr(frozen(offsets), frozen(target.astype(np.int32)), weights)
