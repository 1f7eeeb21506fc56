"""Small worlds of very many agents: igraph's model, drawn in columns."""

from __future__ import annotations

from types import SimpleNamespace

import igraph
import numpy as np
import pytest
from support.env_support import Setup

from populace.core.draws import Draws
from populace.env import Network
from populace.env.network import graphs
from populace.env.network.csr import Csr
from populace.env.network.small_world import rewired_ring


def ties(rows: Csr) -> np.ndarray:
    """Source and target of each edge."""
    return np.column_stack((rows.sources(), rows.targets)).astype(np.int64)


def shape(size: int, reach: int, edges: np.ndarray) -> dict[str, float]:
    """Of mutual ties, each given once: how many are the ring's, how degrees vary, how clustered they are."""
    apart = np.abs(edges[:, 0] - edges[:, 1])
    graph = igraph.Graph(n=size, edges=edges)
    return {
        "near": float((np.minimum(apart, size - apart) <= reach).mean()),
        "variance": float(np.var(graph.degree())),
        "clustering": graph.transitivity_undirected(),
    }


@pytest.mark.parametrize("chance", [0.0, 0.1, 0.5, 1.0])
def test_the_ties_are_as_those_of_igraph(chance: float):
    size, reach = 20_000, 5
    found = ties(rewired_ring(Draws(3), size, reach, chance))
    assert len(found) == 2 * size * reach
    one_way = found[found[:, 0] < found[:, 1]]
    theirs = igraph.Graph.Watts_Strogatz(1, size, reach, chance).get_edgelist()
    ours, expected = shape(size, reach, one_way), shape(size, reach, np.array(theirs))
    assert ours["near"] == pytest.approx((1 - chance) ** 2, abs=0.005), "either end is moved, not one of them"
    assert ours["near"] == pytest.approx(expected["near"], abs=0.01)
    assert ours["variance"] == pytest.approx(expected["variance"], rel=0.08, abs=1e-9)
    assert ours["clustering"] == pytest.approx(expected["clustering"], abs=0.01)


@pytest.mark.parametrize(("size", "reach"), [(8, 1), (80, 10), (5_000, 1), (5_000, 40)])
@pytest.mark.parametrize("chance", [0.3, 1.0])
def test_rows_are_sorted_mutual_and_name_nobody_twice(size: int, reach: int, chance: float):
    for seed in range(20 if size < 100 else 1):
        rows = rewired_ring(Draws(seed), size, reach, chance)
        edges = ties(rows)
        assert len(edges) == 2 * size * reach
        keys = edges[:, 0] * size + edges[:, 1]
        assert (np.diff(keys) > 0).all()
        assert (edges[:, 0] != edges[:, 1]).all()
        assert edges.min() >= 0
        assert edges.max() < size
        assert np.array_equal(np.sort(edges[:, 1] * size + edges[:, 0]), keys)


def test_ends_go_to_anybody_alike():
    """Of a ring that is rewired wholly, each fifth of the agents has a fifth of the ends, wherever they came from."""
    size, reach = 50_000, 4
    edges = ties(rewired_ring(Draws(9), size, reach, 1.0))
    table = np.zeros((5, 5))
    np.add.at(table, (edges[:, 0] * 5 // size, edges[:, 1] * 5 // size), 1)
    assert table / len(edges) == pytest.approx(np.full((5, 5), 0.04), abs=0.001)


def many(monkeypatch: pytest.MonkeyPatch, **options: object) -> list[Network]:
    """Two networks of 80 agents, who count as very many, as one setup gives them."""
    monkeypatch.setattr(graphs, "MANY", 80)
    setup = SimpleNamespace(agents=80, draw=Draws(7))
    return [Network.watts_strogatz(setup, neighbours=6, rewire=0.2, **options) for _ in range(2)]


def test_very_many_agents_have_them_each_network_its_own(monkeypatch: pytest.MonkeyPatch):
    few = ties(Network.watts_strogatz(Setup(80, 7), neighbours=6, rewire=0.2).out)
    first, second = many(monkeypatch)
    again, _ = many(monkeypatch)
    named, _ = many(monkeypatch, name="offline")
    found = [ties(one.out).tolist() for one in (first, second, named)]
    assert ties(again.out).tolist() == found[0]
    assert found[0] not in (found[1], found[2], few.tolist())


def test_what_is_near_everybody_is_igraphs_however_many_there_are(monkeypatch: pytest.MonkeyPatch):
    """There drawing again would take long."""

    def dense() -> list[list[int]]:
        return ties(Network.watts_strogatz(Setup(80, 7), neighbours=70, rewire=1.0).out).tolist()

    few = dense()
    monkeypatch.setattr(graphs, "MANY", 80)
    assert dense() == few


def test_neighbours_may_be_a_number_of_numpys(monkeypatch: pytest.MonkeyPatch):
    """However few its bits are: there are many agents."""
    monkeypatch.setattr(graphs, "MANY", 200)
    first, second = (Network.watts_strogatz(Setup(200), neighbours=n, rewire=0.2) for n in (6, np.int8(6)))
    assert ties(second.out).tolist() == ties(first.out).tolist()


def test_they_are_drawn_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    monkeypatch.setattr(graphs, "rewired_ring", lambda *given: made.append(1) or rewired_ring(*given))
    first, second = many(monkeypatch)
    assert made == []
    later, before = second.out.targets.tolist(), first.out.targets.tolist()
    assert made == [1, 1]
    one, other = many(monkeypatch)
    assert [one.out.targets.tolist(), other.out.targets.tolist()] == [before, later]


def test_a_golden_small_world():
    """A change of these ties changes the network of every run of very many agents."""
    rows = rewired_ring(Draws(7), 24, 2, 0.4)
    assert rows.targets[: rows.offsets[6]].tolist() == [
        5,
        23,
        4,
        12,
        22,
        23,
        3,
        4,
        21,
        2,
        4,
        14,
        23,
        1,
        2,
        3,
        14,
        16,
        17,
        0,
        6,
        7,
        19,
    ]
