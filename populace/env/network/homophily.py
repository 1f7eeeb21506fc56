"""Ties among those who are alike, for any number of agents: no table of all pairs is made.

The model. Ties form one after another; each next tie falls on a pair that has none yet with a probability
proportional to exp(-strength * distance), until every agent has `mean_degree` ties on average. The number of ties
is therefore exact. Where ties are rare, this is the latent distance model, in which the log odds of a tie fall
linearly with distance (Hoff, Raftery and Handcock 2002, doi:10.1198/016214502388618906), with observed attributes
in place of latent positions, as in social distance attachment (Boguna et al. 2004,
doi:10.1103/PhysRevE.70.056122; Talaga and Nowak 2020, doi:10.18564/jasss.4252).

The distance is Gower's (1971, doi:10.2307/2528823): the mean over attributes of the difference, as a share of the
attribute's range for numbers, and 0 or 1 for text and booleans. It goes from 0 to 1, so `strength` is the log of
how many times likelier a tie is between two who are alike in everything than between two at opposite ends.

The algorithm. With few agents every pair gets an exponential waiting time of its rate, and the first ones to arrive
are the ties. With many, agents are sorted into cells of similar ones by halving along the widest attribute. Pairs
of cells are drawn by a bound on the rate of any pair in them, then a pair of agents within, which is kept with
probability rate / bound: so pairs come in proportion to their rates, and the first different ones are the ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env.network.graphs import Ends, Setup

FEW: Final = 1_500
"""Up to this many agents, every pair is considered."""

_CELLS: Final = 1_024
_CELL_AGENTS: Final = 8
_BATCH: Final = 1 << 20
_TRIES: Final = 500_000_000
_PAIR: Final = "Network.homophily"


class Traits:
    """Attributes coded for Gower's distance: numbers scaled to [0, 1], labels as codes."""

    __slots__ = ("codes", "numbers", "width")

    def __init__(self, attributes: Mapping[str, ArrayLike] | ArrayLike, agents: int) -> None:
        """Raises ScenarioError, naming the attribute, for missing, infinite or misaligned values."""
        numbers, codes = [], []
        for name, values in _named(attributes).items():
            column = np.asarray(values)
            if column.shape != (agents,):
                raise ScenarioError(f"{_PAIR}: attribute '{name}' has the shape {column.shape} for {agents} agents")
            if column.dtype.kind in "iuf":
                numbers.append(_scale(name, column.astype(np.float64)))
            elif column.dtype.kind in "UTb" or all(isinstance(value, str) for value in column):
                codes.append(np.unique(column.astype(np.str_), return_inverse=True)[1])
            else:
                raise ScenarioError(f"{_PAIR}: attribute '{name}' holds neither numbers nor text: {column.dtype}")
        self.numbers = np.array(numbers, dtype=np.float64).reshape(-1, agents)
        self.codes = np.array(codes, dtype=np.int64).reshape(-1, agents)
        self.width = len(numbers) + len(codes)
        if not self.width:
            raise ScenarioError(f"{_PAIR}: name one attribute or more")

    def distance(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gower's distance of the pairs (one, other), from 0 to 1."""
        total = np.zeros(len(one))
        for values in self.numbers:
            total += np.abs(values[one] - values[other])
        for labels in self.codes:
            total += labels[one] != labels[other]
        return total / self.width


def _named(attributes: Mapping[str, ArrayLike] | ArrayLike) -> Mapping[str, ArrayLike]:
    if isinstance(attributes, Mapping):
        return attributes
    table = np.asarray(attributes)
    if table.ndim != 2:
        raise ScenarioError(f"{_PAIR}: attributes are columns by name, or a table (agents, attributes)")
    return {str(at): table[:, at] for at in range(table.shape[1])}


def _scale(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        agent = int(np.argmin(np.isfinite(values)))
        raise ScenarioError(f"{_PAIR}: attribute '{name}' of agent {agent} is {values[agent]}: fill or drop it first")
    low = values.min()
    reach = values.max() - low
    return (values - low) / reach if reach > 0 else np.zeros(len(values))


def homophily(
    setup: Setup, name: str, attributes: Mapping[str, ArrayLike] | ArrayLike, *, mean_degree: float, strength: float
) -> Callable[[], Ends]:
    """What makes the ties, each once; see the module. Raises ScenarioError for arguments that cannot be used."""
    agents = setup.agents
    if not 0 <= strength < 500:
        raise ScenarioError(f"{_PAIR}: strength={strength} must be at least 0 and less than 500")
    if not 0 <= mean_degree <= agents - 1:
        raise ScenarioError(f"{_PAIR}: mean_degree={mean_degree} must be from 0 to {agents - 1}, the other agents")
    ties = round(mean_degree * agents / 2)
    traits = Traits(attributes, agents)
    make, draw = few if agents <= FEW else many, setup.draw
    return lambda: make(traits, agents, ties, strength, draw, f"{name}.homophily")


def few(traits: Traits, agents: int, ties: int, strength: float, draw: Draws, purpose: str) -> Ends:
    """The first `ties` pairs to arrive, with every pair's waiting time drawn."""
    one, other = np.triu_indices(agents, 1)
    uniform = draw.column(f"{purpose} wait", np.arange(len(one)))
    # The log of an exponential wait of rate exp(-strength * distance), so that no rate underflows.
    waits = np.log(-np.log1p(-uniform) + 1e-300) + strength * traits.distance(one, other)
    first = np.sort(np.argsort(waits, kind="stable")[:ties])
    return one[first], other[first]


def many(traits: Traits, agents: int, ties: int, strength: float, draw: Draws, purpose: str) -> Ends:
    """The first `ties` different pairs of a sequence in which pairs come in proportion to their rates."""
    cells = _Cells(traits, agents, strength)
    found = np.empty(0, dtype=np.int64)
    tried = 0
    while len(found) < ties:
        missing = ties - len(found)
        rate = max(len(found), 1) / tried if tried else 0.5
        batch = int(min(_BATCH, max(4_096, 1.2 * missing / rate)))
        if tried + batch > _TRIES:
            raise ScenarioError(
                f"{_PAIR}: strength={strength} leaves too few likely pairs for mean_degree={2 * ties / agents:g} "
                f"({len(found)} ties after {tried} pairs): lower either one"
            )
        found = _append_new(found, cells.draw(draw, purpose, tried, batch), ties)
        tried += batch
    one, other = np.divmod(found, agents)
    return one, other


def _append_new(found: NDArray[np.int64], keys: NDArray[np.int64], ties: int) -> NDArray[np.int64]:
    """The found keys and then the new ones, each in order of its first arrival, up to `ties`."""
    every = np.concatenate([found, keys])
    first = np.sort(np.unique(every, return_index=True)[1])
    return every[first][:ties]


class _Cells:
    """Agents in cells of similar ones, and the cumulated bounds of all pairs of cells."""

    def __init__(self, traits: Traits, agents: int, strength: float) -> None:
        self._traits, self._agents, self._strength = traits, agents, strength
        cells = _split(traits, agents)
        self._order = np.concatenate(cells)
        self._sizes = np.array([len(cell) for cell in cells], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        nearest = np.zeros((len(cells), len(cells)))
        for values in traits.numbers:
            low, high = _reach(values[self._order], self._starts)
            gap = low[:, None] - high[None, :]
            nearest += np.maximum(np.maximum(gap, gap.T), 0.0)
        for labels in traits.codes:
            low, high = _reach(labels[self._order], self._starts)
            apart = low[:, None] > high[None, :]
            nearest += apart | apart.T
        self._bound = -strength * nearest.ravel() / traits.width
        self._cumulated = np.cumsum(np.exp(self._bound) * np.outer(self._sizes, self._sizes).ravel())

    def draw(self, draw: Draws, purpose: str, start: int, count: int) -> NDArray[np.int64]:
        """Keys (lower id * agents + higher id) of the kept ones of `count` pairs, in order of arrival."""
        at = np.arange(start, start + count)
        mark = draw.column(f"{purpose} cells", at) * self._cumulated[-1]
        pair = np.searchsorted(self._cumulated, mark, side="right")
        np.minimum(pair, len(self._cumulated) - 1, out=pair)
        one = self._member(pair // len(self._sizes), draw.column(f"{purpose} one", at))
        other = self._member(pair % len(self._sizes), draw.column(f"{purpose} other", at))
        log_rate = -self._strength * self._traits.distance(one, other)
        kept = draw.column(f"{purpose} keep", at) < np.exp(log_rate - self._bound[pair])
        kept &= one != other
        one, other = one[kept], other[kept]
        keys: NDArray[np.int64] = np.minimum(one, other) * self._agents + np.maximum(one, other)
        return keys

    def _member(self, cell: NDArray[np.int64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        size: NDArray[np.int64] = self._sizes[cell]
        within = np.minimum((uniform * size).astype(np.int64), size - 1)
        member: NDArray[np.int64] = self._order[self._starts[cell] + within]
        return member


def _reach(values: NDArray[Any], starts: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lowest and the highest value in each cell."""
    return np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)


def _split(traits: Traits, agents: int) -> list[NDArray[np.int64]]:
    """Cells of agents: the set of all, halved again and again along the attribute in which it reaches furthest."""
    cells = [np.arange(agents, dtype=np.int64)]
    while len(cells) < _CELLS and len(cells) * _CELL_AGENTS * 2 <= agents:
        cells = [half for cell in cells for half in _halve(traits, cell)]
    return cells


def _halve(traits: Traits, cell: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers, codes = traits.numbers[:, cell], traits.codes[:, cell]
    reaches = np.concatenate([np.ptp(numbers, axis=1), (np.ptp(codes, axis=1) > 0).astype(np.float64)])
    widest = int(np.argmax(reaches))
    values = numbers[widest] if widest < len(numbers) else codes[widest - len(numbers)]
    order = cell[np.argsort(values, kind="stable")]
    return order[: len(order) // 2], order[len(order) // 2 :]
