"""Choosing a place of a kind: the nearest, or one drawn by a gravity model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.env.city.places import NONE, Float, Int32, Places

Metric = Literal["grid", "straight"]
Decay = Literal["exponential", "power"]
Draw = Callable[[str, Int32], Float]
"""One uniform in [0, 1) for each agent, by purpose."""

_TRIES: Final = 40
_PER_CELL: Final = 4
_MOST_CELLS: Final = 24
"""Along each side: the table of a kind then has 24**4 entries, 2.7 MB."""
_AT_ONCE: Final = 2_000_000


def distances(metric: Metric, dx: Float, dy: Float) -> Float:
    """Metres by streets that run east and north ("grid"), or as the crow flies ("straight")."""
    return np.abs(dx) + np.abs(dy) if metric == "grid" else np.hypot(dx, dy)


def weights(decay: Decay, beta: float, nearest_m: float, distance_m: Float) -> Float:
    """exp(-d/beta) with beta in metres, or d**-beta, in which what is nearer than `nearest_m` counts as that far."""
    if decay == "exponential":
        return np.exp(-distance_m / beta)
    return np.asarray(np.maximum(distance_m, nearest_m) / nearest_m) ** -beta


class Choosing:
    """Choices among the places of a city. What it keeps follows from its arguments, so it is a cache."""

    def __init__(self, places: Places, metric: Metric) -> None:
        self.places = places
        self.metric: Metric = metric
        self._near: dict[int, _Near] = {}
        self._gravity: dict[int, _Gravity] = {}
        self._cells = _Cells(places)

    def nearest(self, kind: int, origins: Int32, candidates: Int32) -> Int32:
        """The nearest of `candidates` (places of a kind, sorted) to each of these places, itself left out; or NONE."""
        kept = self._near.get(kind)
        if kept is None or not np.array_equal(kept.candidates, candidates):
            kept = self._near[kind] = _Near(self.places, self.metric, candidates)
        return kept.of(origins)

    def gravity(
        self,
        kind: int,
        origins: Int32,
        agents: Int32,
        candidates: Int32,
        law: tuple[Decay, float, float],
        draw: Draw,
    ) -> Int32:
        """One of `candidates` for each agent, with a probability in proportion to attraction times `weights(*law, d)`.

        The place where it stands is left out; NONE where there is no other that attracts. Drawn by rejection: a cell
        of the city by the highest weight that its places could have, a place of it by attraction, kept with the
        probability of its weight over that highest one. Which agents are asked of together makes no difference.
        """
        kept = self._gravity.get(kind)
        if kept is None or kept.law != law or not np.array_equal(kept.candidates, candidates):
            kept = self._gravity[kind] = _Gravity(self.places, self.metric, self._cells, candidates, law)
        return kept.of(origins, agents, draw)


class _Near:
    def __init__(self, places: Places, metric: Metric, candidates: Int32) -> None:
        from scipy.spatial import cKDTree

        self.candidates = candidates
        self._places, self._norm = places, 1 if metric == "grid" else 2
        self._found = np.full(len(places), -2, np.int32)
        self._tree = cKDTree(np.column_stack([places.x[candidates], places.y[candidates]])) if len(candidates) else None

    def of(self, origins: Int32) -> Int32:
        missing = np.unique(origins[self._found[origins] == -2])
        if len(missing):
            self._found[missing] = self._search(missing)
        found: Int32 = self._found[origins]
        return found

    def _search(self, origins: Int32) -> Int32:
        if self._tree is None:
            return np.full(len(origins), NONE, np.int32)
        points = np.column_stack([self._places.x[origins], self._places.y[origins]])
        two = min(2, len(self.candidates))
        _, at = self._tree.query(points, k=list(range(1, two + 1)), p=self._norm)
        near = self.candidates[at]
        other = near[:, 1] if two == 2 else np.full(len(origins), NONE, np.int32)
        return np.where(near[:, 0] == origins, other, near[:, 0]).astype(np.int32)


class _Cells:
    """The city's square cut into cells."""

    def __init__(self, places: Places) -> None:
        self.side = int(np.clip(round((len(places) / _PER_CELL) ** 0.5), 1, _MOST_CELLS))
        columns = []
        self.width: list[float] = []
        for values in (places.x, places.y):
            low, wide = float(values.min()), float(np.ptp(values)) or 1.0
            self.width.append(wide / self.side)
            columns.append(np.minimum(((values - low) / wide * self.side).astype(np.int32), self.side - 1))
        self.of = columns[1] * self.side + columns[0]

    def least_distances(self, metric: Metric) -> Float:
        """The least distance between points of two cells, (cells, cells)."""
        rows, columns = np.divmod(np.arange(self.side**2), self.side)
        dx, dy = (
            np.maximum(np.abs(one[:, None] - one) - 1, 0) * wide
            for one, wide in zip((columns, rows), self.width, strict=True)
        )
        return distances(metric, dx, dy)


class _Gravity:
    def __init__(
        self, places: Places, metric: Metric, cells: _Cells, candidates: Int32, law: tuple[Decay, float, float]
    ) -> None:
        self.candidates, self.law = candidates, law
        self._places, self._metric, self._cells = places, metric, cells
        of = cells.of[candidates]
        order = np.argsort(of, kind="stable")
        self._ordered = candidates[order]
        self._sum = np.concatenate([[0.0], np.cumsum(places.attraction[self._ordered])])
        self._starts = np.searchsorted(of[order], np.arange(cells.side**2 + 1))
        self._bound = weights(*law, cells.least_distances(metric))
        total = np.diff(self._sum[self._starts])
        table = np.cumsum(self._bound * total, axis=1)
        whole = table[:, -1:]
        self._none = not self._sum[-1] > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            table /= whole
        table[:, -1] = 1.0
        self._reached = (whole[:, 0] > 0) & np.isfinite(table).all(axis=1)
        self._flat = np.where(self._reached[:, None], table, 1.0) + np.arange(cells.side**2)[:, None]
        self._flat = self._flat.reshape(-1)

    def of(self, origins: Int32, agents: Int32, draw: Draw) -> Int32:
        found = np.full(len(origins), NONE, np.int32)
        if self._none:
            return found
        if len(self.candidates) == 1:
            return np.where(origins == self.candidates[0], NONE, self.candidates[0]).astype(np.int32)
        cell = self._cells.of[origins]
        rows = np.argsort(cell.astype(np.int16), kind="stable")  # by cell, whose rows of the table stay in the cache
        rows = rows[self._reached[cell[rows]]]
        for attempt in range(_TRIES):
            if not len(rows):
                return found
            place, kept = self._try(origins[rows], cell[rows], agents[rows], f"{attempt}", draw)
            found[rows[kept]] = place[kept]
            rows = rows[~kept]
        rows = np.flatnonzero(found == NONE)
        step = max(1, _AT_ONCE // len(self.candidates))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            found[part] = self._among_all(origins[part], draw("last", agents[part]))
        return found

    def _try(
        self, origins: Int32, cell: Int32, agents: Int32, attempt: str, draw: Draw
    ) -> tuple[Int32, NDArray[np.bool_]]:
        """A place for each, and whether it is kept."""
        cells = self._cells.side**2
        drawn = np.searchsorted(self._flat, cell + draw(f"{attempt}/cell", agents), side="right") - cell * cells
        drawn = np.minimum(drawn, cells - 1)
        low, high = self._sum[self._starts[drawn]], self._sum[self._starts[drawn + 1]]
        at = np.searchsorted(self._sum, low + (high - low) * draw(f"{attempt}/place", agents), side="right") - 1
        at = np.clip(at, self._starts[drawn], np.maximum(self._starts[drawn + 1] - 1, self._starts[drawn]))
        place = self._ordered[np.minimum(at, len(self._ordered) - 1)]
        weight = weights(*self.law, self._distance(origins, place))
        kept = draw(f"{attempt}/keep", agents) * self._bound[cell, drawn] < weight
        return place, kept & (place != origins) & (high > low)

    def _among_all(self, origins: Int32, drawn: Float) -> Int32:
        """The same by the weights of all places, scaled so that those far away are told apart as well."""
        far = self._distance(origins[:, None], self.candidates[None, :])
        decay, beta, nearest_m = self.law
        own = self.candidates[None, :] == origins[:, None]
        attraction = np.where(own, 0.0, self._places.attraction[self.candidates][None, :])
        least = np.where(attraction > 0, far, np.inf).min(axis=1, keepdims=True)
        least = np.where(np.isfinite(least), least, 0.0)
        further = np.maximum(far - least, 0.0) if decay == "exponential" else far
        table = np.cumsum(attraction * weights(decay, beta, nearest_m, further), axis=1)
        total = table[:, -1]
        at = (table <= (drawn * total)[:, None]).sum(axis=1)
        place = self.candidates[np.minimum(at, len(self.candidates) - 1)]
        return np.where(total > 0, place, NONE).astype(np.int32)

    def _distance(self, one: NDArray[np.integer], other: NDArray[np.integer]) -> Float:
        x, y = self._places.x, self._places.y
        return distances(self._metric, x[other] - x[one], y[other] - y[one])
