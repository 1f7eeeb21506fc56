"""Generators: their sizes and shapes, the same graph from the same seed, igraph's own generator left as it was."""

from __future__ import annotations

import random
import subprocess
import sys
from types import SimpleNamespace

import igraph
import numpy as np
import pytest
from support.env_support import Setup, opened

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env import Network
from populace.env.network import graphs


def ends(network: Network) -> list[tuple[int, int]]:
    return list(zip(network.out.sources().tolist(), network.out.targets.tolist(), strict=True))


def make(kind: str, seed: int = 7, name: str | None = None) -> Network:
    setup = Setup(60, seed)
    if kind == "watts_strogatz":
        return Network.watts_strogatz(setup, neighbours=6, rewire=0.2, name=name)
    if kind == "barabasi_albert":
        return Network.barabasi_albert(setup, links=3, name=name)
    if kind == "homophily":
        return Network.homophily(setup, {"age": np.arange(60)}, mean_degree=6, strength=5, name=name)
    return Network.stochastic_block(setup, sizes=[20, 40], probabilities=[[0.4, 0.1], [0.1, 0.3]], name=name)


KINDS = ["watts_strogatz", "barabasi_albert", "stochastic_block", "homophily"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_graph_whatever_was_drawn_before(kind: str):
    first = ends(make(kind))
    random.seed(1)
    igraph.Graph.Erdos_Renyi(50, 0.5)
    assert ends(make(kind)) == first
    assert ends(make(kind, seed=8)) != first
    assert ends(make(kind, name="offline")) != first
    assert {(b, a) for a, b in first} == set(first)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_of_igraph_is_left_as_it_was(kind: str):
    def drawn() -> list[tuple[int, int]]:
        return igraph.Graph.Erdos_Renyi(50, 0.2).get_edgelist()

    random.seed(5)
    expected = drawn()
    random.seed(5)
    assert make(kind).edge_count
    assert drawn() == expected


@pytest.mark.parametrize("kind", KINDS[:3])
def test_graphs_of_one_stream_are_drawn_in_the_order_in_which_they_were_asked_for(kind: str):
    setup = SimpleNamespace(agents=60, draw=Draws(7))
    given = {"watts_strogatz": {"neighbours": 6, "rewire": 0.2}, "barabasi_albert": {"links": 3}}
    blocks = {"sizes": [20, 40], "probabilities": [[0.4, 0.1], [0.1, 0.3]]}
    one, other = (getattr(Network, kind)(setup, **given.get(kind, blocks)) for _ in range(2))
    later, first = ends(other), ends(one)
    assert first == ends(make(kind)) != later
    assert ends(one) == first


def test_a_graph_is_made_only_where_its_ties_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    def never(*_: object) -> None:
        raise AssertionError("it was made")

    state = make("watts_strogatz").state()
    monkeypatch.setattr(graphs, "_drawing_from", never)
    network = make("watts_strogatz")
    opened(60, network)
    network.restore(state)
    assert network.edge_count == 360
    with pytest.raises(AssertionError):
        make("watts_strogatz").state()


def test_a_graph_is_drawn_without_what_igraph_loads_to_plot_and_igraph_is_whole_afterwards():
    code = """
import sys
from types import SimpleNamespace
from populace.core.draws import Draws
from populace.env import Network

def ties():
    setup = SimpleNamespace(agents=20, draw=Draws(7))
    return Network.watts_strogatz(setup, neighbours=4, rewire=0.3).out.targets.tolist()

first = ties()
print([name for name in ("igraph", "matplotlib") if name in sys.modules])
import igraph
print([name for name in ("igraph", "matplotlib") if name in sys.modules])
print(ties() == first, igraph.GraphBase is sys.modules["igraph._igraph"].GraphBase, igraph.Graph.Ring(5).ecount())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.splitlines() == ["[]", "['igraph', 'matplotlib']", "True True 5"]


def test_ties_in_both_directions_are_the_same_from_both_ends_until_one_is_cut():
    network = make("watts_strogatz")
    opened(60, network)
    assert network.incoming is network.out
    assert np.array_equal(network.out.reverse().targets, network.out.targets)
    source, target = ends(network)[0]
    network.set_parameter("cut", [(source, target)])
    assert (source, target) not in ends(network)
    assert source not in network.incoming.of(target)


def test_a_golden_graph():
    """A change of these edges changes the network of every run with homophily; igraph's graphs are igraph's."""
    ages = [20, 20, 30, 30, 40, 40]
    one = Network.homophily(Setup(6, seed=1), {"age": ages}, mean_degree=1, strength=9)
    assert ends(one) == [(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)]


def test_watts_strogatz_without_rewiring_is_a_ring():
    one = Network.watts_strogatz(Setup(10), neighbours=4, rewire=0.0)
    assert set(ends(one)) == {(a, (a + step) % 10) for a in range(10) for step in (-2, -1, 1, 2)}
    assert make("watts_strogatz").edge_count == 60 * 6


def test_barabasi_albert_has_links_and_hubs():
    setup = Setup(3_000)
    one = Network.barabasi_albert(setup, links=3, mutual=False)
    source, target = one.out.sources(), one.out.targets
    assert (source > target).all()
    assert one.out_degree()[3:].tolist() == [3] * 2_997
    # Preferential attachment: the variance of in-degrees is far above the Poisson one of uniform attachment.
    assert one.in_degree().var() > 5 * one.in_degree().mean()
    assert one.in_degree()[:10].mean() > 20 * one.in_degree()[-1000:].mean()


@pytest.mark.parametrize("by", ["sizes", "blocks"])
@pytest.mark.parametrize("mutual", [True, False])
def test_stochastic_block_has_its_shares(by: str, mutual: bool):
    labels = np.arange(900) % 3 if by == "blocks" else np.repeat([0, 1, 2], 300)
    chances = np.array([[0.05, 0.01, 0.0], [0.01, 0.1, 0.02], [0.0, 0.02, 0.03]])
    if not mutual:
        chances[0] = [0.05, 0.04, 0.02]
    given = {"blocks": labels} if by == "blocks" else {"sizes": [300, 300, 300]}
    one = Network.stochastic_block(Setup(900), probabilities=chances, mutual=mutual, **given)
    counts = np.zeros((3, 3))
    np.add.at(counts, (labels[one.out.sources()], labels[one.out.targets]), 1)
    pairs = np.full((3, 3), 300 * 300) - np.diag([300] * 3)
    spread = np.sqrt(pairs * chances * (1 - chances) * (2 if mutual else 1))
    assert (np.abs(counts - pairs * chances) <= 4.5 * spread).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: Network.watts_strogatz(s, neighbours=3, rewire=0.1), "neighbours=3 must be even"),
        (lambda s: Network.watts_strogatz(s, neighbours=10, rewire=0.1), "less than the 10 agents"),
        (lambda s: Network.watts_strogatz(s, neighbours=4, rewire=1.5), r"rewire=1.5 must be from 0 to 1"),
        (lambda s: Network.barabasi_albert(s, links=0), "links=0 must be at least 1"),
        (lambda s: Network.barabasi_albert(s, links=10), "less than the 10 agents"),
        (lambda s: Network.stochastic_block(s, probabilities=[[0.5]]), "give either sizes"),
        (lambda s: Network.stochastic_block(s, probabilities=[0.5], sizes=[10]), "square table"),
        (lambda s: Network.stochastic_block(s, probabilities=[[1.5]], sizes=[10]), "from 0 to 1"),
        (lambda s: Network.stochastic_block(s, probabilities=[[0.5]], sizes=[9]), "add up to the 10 agents"),
        (lambda s: Network.stochastic_block(s, probabilities=[[0.5]], sizes=[5, 5]), "2 blocks, but prob"),
        (lambda s: Network.stochastic_block(s, probabilities=[[0.5]], blocks=[1] * 10), "blocks go from 0 to 0"),
        (lambda s: Network.stochastic_block(s, probabilities=[[0.5]], blocks=[0] * 9), "one integer for each of 10"),
        (
            lambda s: Network.stochastic_block(s, probabilities=[[0.5, 0.1], [0.2, 0.5]], sizes=[5, 5]),
            "symmetric; set mutual=False",
        ),
    ],
)
def test_arguments_that_cannot_be(make, message):
    with pytest.raises(ScenarioError, match=message):
        make(Setup(10))
