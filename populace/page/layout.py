"""Where to draw the agents of a network: a program of its own, so that the page's server neither waits nor grows.

`python -m populace.page.layout` reads a network from its standard input (agents, edges, then sources and targets as
int32) and writes x and y of each agent as float32, from -1 to 1. Small networks by Fruchterman and Reingold; of large
ones the communities are laid out so, and their members in discs about them. The same network always looks the same.
"""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import StorageError

SMALL: Final = 3000
_HEAD: Final = struct.Struct("<qq")
_GOLDEN: Final = np.pi * (3.0 - np.sqrt(5.0))
_LIMIT_S: Final = 600.0


def laid_out(agents: int, source: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.float32]:
    """Places of shape (agents, 2), by a process of its own. Raises StorageError where it fails."""
    given = _HEAD.pack(agents, len(source)) + source.astype("<i4").tobytes() + target.astype("<i4").tobytes()
    command = [sys.executable, "-m", "populace.page.layout"]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=_LIMIT_S)  # noqa: S603
    except (subprocess.SubprocessError, OSError) as error:
        raise StorageError(f"the network could not be laid out: {error}") from None
    return np.frombuffer(done.stdout, "<f4").reshape(agents, 2)


def places(agents: int, source: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.float32]:
    """See the module; in this process."""
    import igraph

    igraph.set_random_number_generator(random.Random(1))  # noqa: S311 - it draws a picture
    graph = igraph.Graph(n=agents, edges=np.column_stack((source, target)), directed=False)
    graph.simplify()
    at = _spread(graph) if agents <= SMALL else _by_community(graph)
    return _scaled(at)


def _spread(graph: Any) -> NDArray[np.float64]:
    """By springs; who has no tie stands about the others."""
    degree = np.array(graph.degree())
    tied = np.flatnonzero(degree > 0)
    at = np.zeros((graph.vcount(), 2))
    if len(tied):
        inner = graph.induced_subgraph(tied.tolist())
        springs = np.array(inner.layout_fruchterman_reingold(niter=500 if len(tied) < 600 else 150))
        at[tied] = _scaled(_roomier(springs))
    alone = np.flatnonzero(degree == 0)
    if len(alone):
        turn = np.arange(len(alone)) * 2.0 * np.pi / len(alone)
        radius = 1.25 if len(tied) else 1.0
        at[alone] = np.column_stack((np.cos(turn), np.sin(turn))) * radius
        if not len(tied):
            at[alone] = _disc(len(alone))
    return at


def _roomier(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same picture with more room in its middle, where most stand, and less about those far out."""
    middle = np.median(at, axis=0)
    step = at - middle
    far = np.hypot(step[:, 0], step[:, 1])[:, None]
    return step * np.power(np.maximum(far, 1e-9) / max(float(far.max()), 1e-9), -0.4)


def _by_community(graph: Any) -> NDArray[np.float64]:
    """Communities (Leiden) as discs as large as they are, spread by the ties among them."""
    found = graph.community_leiden(objective_function="modularity", n_iterations=2)
    member = np.array(found.membership)
    sizes = np.bincount(member)
    small = sizes[member] < max(3, graph.vcount() // 20_000)  # strays share one disc
    member = np.where(small, -1, member)
    kept, member = np.unique(member, return_inverse=True)
    sizes = np.bincount(member)
    count = len(kept)
    radius = np.sqrt(sizes / sizes.sum())
    centre = np.zeros((count, 2))
    if count > 1:
        import igraph

        ends = np.array(graph.get_edgelist(), np.int64).reshape(-1, 2)
        pairs = np.sort(member[ends], axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        between, weight = np.unique(pairs, axis=0, return_counts=True) if len(pairs) else (pairs, np.empty(0))
        inner = igraph.Graph(n=count, edges=between)
        # A circle to begin with, and forces by igraph's own draws: the seed above makes them the same each time.
        centre = np.array(inner.layout_fruchterman_reingold(weights=(np.sqrt(weight)).tolist() or None, niter=300))
        centre = _apart(_scaled(centre) * radius.sum() ** 0.5, radius)
    degree = np.array(graph.degree())
    at = np.empty((graph.vcount(), 2))
    for one in range(count):
        members = np.flatnonzero(member == one)
        members = members[np.argsort(-degree[members], kind="stable")]  # who has most ties in the middle
        at[members] = centre[one] + 0.92 * radius[one] * _disc(len(members))
    return at


def _apart(centre: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Push discs that overlap away from each other."""
    for _ in range(200):
        step = centre[:, None, :] - centre[None, :, :]
        distance = np.hypot(step[..., 0], step[..., 1]) + 1e-9
        overlap = np.maximum(0.0, radius[:, None] + radius[None, :] - distance)
        np.fill_diagonal(overlap, 0.0)
        if overlap.max() < 1e-3:
            break
        centre = centre + 0.25 * (step / distance[..., None] * overlap[..., None]).sum(axis=1)
    return centre


def _disc(count: int) -> NDArray[np.float64]:
    """Points that fill a disc of radius 1 evenly, from its middle outwards."""
    number = np.arange(count) + 0.5
    radius, turn = np.sqrt(number / count), number * _GOLDEN
    return np.column_stack((radius * np.cos(turn), radius * np.sin(turn)))


def _scaled(at: NDArray[Any]) -> NDArray[np.float32]:
    """The same places with all of them from -1 to 1, equally in both directions."""
    if not len(at):
        return at.astype(np.float32).reshape(0, 2)
    middle = (at.max(axis=0) + at.min(axis=0)) / 2.0
    reach = max(float(np.abs(at - middle).max()), 1e-9)
    return np.asarray((at - middle) / reach, np.float32)


def main() -> None:
    """Read a network, write places."""
    agents, edges = _HEAD.unpack(sys.stdin.buffer.read(_HEAD.size))
    ends = np.frombuffer(sys.stdin.buffer.read(8 * edges), "<i4")
    sys.stdout.buffer.write(places(agents, ends[:edges], ends[edges:]).astype("<f4").tobytes())


if __name__ == "__main__":
    main()
