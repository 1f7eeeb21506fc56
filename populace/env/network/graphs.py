"""Random graphs, most of them from igraph driven by a keyed stream: each gives the two ends of its edges.

igraph has one global generator. Here it draws from a `Stream` while a graph is made, and is set back to igraph's
default (Python's `random` module) afterwards. With one version of igraph, a seed gives the same graph on every run
and machine; another version may give another graph, which is why a run's manifest names versions. The network's name
is part of the key, so two networks of one world are drawn apart.

What cannot be is refused at once; the graph itself is made when its ties are asked for, which they never are where a
state is put in their place.
"""

from __future__ import annotations

import random as igraph_default
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from itertools import chain
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.draws import Draws, LongStream
from populace.core.errors import ScenarioError
from populace.env.network.csr import Csr, build, unweighted
from populace.env.network.small_world import rewired_ring

Ends: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
Ties: TypeAlias = Callable[[], Csr]
"""Makes the ties of a network, as rows."""

MANY: Final = 1 << 17
"""So many agents and more have small worlds of `small_world`, where igraph would take a gigabyte for a million."""

_CHUNK = 4096
"""Agents whose neighbours are asked for at once."""


class Setup(Protocol):
    """What a network is made for: how many agents, and the keyed streams to draw from."""

    @property
    def agents(self) -> int:
        """How many agents there are."""

    @property
    def draw(self) -> Draws:
        """The world's keyed streams for the opening."""


class _Generator:
    """A keyed stream with the methods that igraph calls."""

    def __init__(self, stream: LongStream) -> None:
        self.random = stream.random
        self.gauss = stream.normal
        self._stream = stream
        self._word = stream.word

    def randint(self, low: int, high: int) -> int:
        return low + self._stream.integer(high - low + 1)

    def getrandbits(self, bits: int) -> int:
        if not 0 < bits <= 64:
            raise ValueError(f"getrandbits gives 1 to 64 bits, not {bits}")
        return self._word() >> (64 - bits)


def _igraph() -> Any:
    """The core of igraph alone: the package around it loads matplotlib where that stands, 200 times as slow.

    The package, if it is imported later, finds this very core.
    """
    name = "igraph._igraph"
    if name not in sys.modules:
        package = PathFinder.find_spec("igraph")
        core = PathFinder.find_spec(name, package.submodule_search_locations) if package else None
        if core is None or core.loader is None:
            import igraph  # noqa: F401 - as it stands, or its error
        else:
            sys.modules[name] = module_from_spec(core)
            core.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@contextmanager
def _drawing_from(stream: LongStream) -> Iterator[None]:
    igraph = _igraph()
    igraph.set_random_number_generator(_Generator(stream))
    try:
        yield
    finally:
        igraph.set_random_number_generator(igraph_default)


class _Later:
    """Makes a graph, once; one that draws from the same stream and was asked for before is made before."""

    __slots__ = ("_generator", "_graph", "_make", "_stream")

    def __init__(self, setup: Setup, name: str, generator: str, make: Callable[[], Any]) -> None:
        stream = setup.draw.long(f"{name}.{generator}")
        if stream.before is not None:
            stream.before()
        stream.before = self
        self._generator, self._make, self._stream = generator, make, stream
        self._graph: Any = None

    def __call__(self) -> Any:
        if self._graph is None:
            self._stream.before = None
            try:
                with _drawing_from(self._stream):
                    self._graph = self._make()
            except _igraph().InternalError as error:
                raise ScenarioError(f"Network.{self._generator}: igraph says: {error}") from None
        return self._graph


def _ends(graph: Any) -> Ends:
    edges = np.fromiter(chain.from_iterable(graph.get_edgelist()), np.int64).reshape(-1, 2)
    return edges[:, 0], edges[:, 1]


def _rows(graph: Any) -> Csr:
    """The rows of an undirected graph, each tie in both directions; igraph gives neighbours in ascending order."""
    size: int = graph.vcount()
    offsets, targets = np.zeros(size + 1, np.int64), np.empty(2 * graph.ecount(), np.int32)
    for start in range(0, size, _CHUNK):
        rows = list(map(graph.neighbors, range(start, min(size, start + _CHUNK))))
        ends = offsets[start] + np.cumsum([len(row) for row in rows])
        offsets[start + 1 : start + 1 + len(rows)] = ends
        targets[offsets[start] : ends[-1]] = np.fromiter(chain.from_iterable(rows), np.int32)
    return unweighted(offsets, targets)


def mutual_ties(size: int, ends: Callable[[], Ends]) -> Ties:
    """Ties whose ends are given once, in both directions."""

    def ties() -> Csr:
        one, other = ends()
        return build(size, np.concatenate([one, other]), np.concatenate([other, one]), None, "Network")

    return ties


def one_way_ties(size: int, ends: Callable[[], Ends]) -> Ties:
    """Ties as their ends are given."""
    return lambda: build(size, *ends(), None, "Network")


def watts_strogatz(setup: Setup, name: str, *, neighbours: int, rewire: float) -> Ties:
    """Ties of a small world: a ring with `neighbours` ties for each agent, rewired with probability `rewire`.

    Watts and Strogatz 1998, doi:10.1038/30918; both ends of a tie are rewired. From `MANY` agents on it is drawn here.
    """
    if neighbours < 2 or neighbours % 2 or neighbours >= setup.agents:
        raise ScenarioError(
            f"Network.watts_strogatz: neighbours={neighbours} must be even, at least 2, "
            f"and less than the {setup.agents} agents"
        )
    if not 0 <= rewire <= 1:
        raise ScenarioError(f"Network.watts_strogatz: rewire={rewire} must be from 0 to 1")
    size, reach = setup.agents, int(neighbours) // 2
    if size >= MANY and 8 * reach <= size:
        stream = setup.draw.long(f"{name}.watts_strogatz")
        if stream.before is not None:
            stream.before()
        own = Draws(stream.word())
        return lambda: rewired_ring(own, size, reach, rewire)
    make = _igraph().GraphBase.Watts_Strogatz
    graph = _Later(setup, name, "watts_strogatz", lambda: make(1, size, reach, rewire))
    return lambda: _rows(graph())


def barabasi_albert(setup: Setup, name: str, *, links: int) -> Callable[[], Ends]:
    """Ties from each newcomer to `links` earlier agents, drawn in proportion to the ties that these have.

    Barabasi and Albert 1999, doi:10.1126/science.286.5439.509. Each pair is (newcomer, earlier agent).
    """
    if not 1 <= links < setup.agents:
        raise ScenarioError(
            f"Network.barabasi_albert: links={links} must be at least 1 and less than the {setup.agents} agents"
        )
    make, size = _igraph().GraphBase.Barabasi, setup.agents
    graph = _Later(setup, name, "barabasi_albert", lambda: make(size, links, directed=True, outpref=True))
    return lambda: _ends(graph())


def stochastic_block(
    setup: Setup,
    name: str,
    *,
    sizes: Sequence[int] | None,
    blocks: ArrayLike | None,
    probabilities: ArrayLike,
    mutual: bool,
) -> Callable[[], Ends]:
    """Ties whose probability depends on the blocks of both ends; see `Network.stochastic_block`.

    Holland, Laskey and Leinhardt 1983, doi:10.1016/0378-8733(83)90021-7.
    """
    where = "Network.stochastic_block"
    chances = np.asarray(probabilities, dtype=np.float64)
    if chances.ndim != 2 or chances.shape[0] != chances.shape[1]:
        raise ScenarioError(f"{where}: probabilities are a square table, got the shape {chances.shape}")
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ScenarioError(f"{where}: probabilities are from 0 to 1")
    if mutual and not np.array_equal(chances, chances.T):
        raise ScenarioError(f"{where}: probabilities of mutual ties are symmetric; set mutual=False for others")
    if (sizes is None) == (blocks is None):
        raise ScenarioError(f"{where}: give either sizes (agents in each block) or blocks (the block of each agent)")
    if blocks is None:
        counts = np.asarray(sizes)
        order = np.arange(setup.agents)
        if counts.dtype.kind not in "iu" or (counts < 0).any() or counts.sum() != setup.agents:
            raise ScenarioError(f"{where}: sizes={sizes} are integers that add up to the {setup.agents} agents")
    else:
        labels = np.asarray(blocks)
        if labels.shape != (setup.agents,) or labels.dtype.kind not in "iu":
            raise ScenarioError(f"{where}: blocks are one integer for each of {setup.agents} agents")
        if labels.min() < 0 or labels.max() >= len(chances):
            raise ScenarioError(f"{where}: blocks go from 0 to {len(chances) - 1}, one for each row of probabilities")
        counts = np.bincount(labels, minlength=len(chances))
        order = np.argsort(labels, kind="stable")
    if len(counts) != len(chances):
        raise ScenarioError(f"{where}: {len(counts)} blocks, but probabilities for {len(chances)}")
    make, table, sizes_of = _igraph().GraphBase.SBM, chances.tolist(), counts.tolist()
    graph = _Later(
        setup,
        name,
        "stochastic_block",
        lambda: make(pref_matrix=table, block_sizes=sizes_of, directed=not mutual),
    )

    def ends() -> Ends:
        source, target = _ends(graph())
        return order[source], order[target]

    return ends
