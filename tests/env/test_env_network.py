"""The network: rows of edges and their changes against sets of pairs; queries, refusals, measures, state."""

from __future__ import annotations

import math
from typing import Any

import igraph
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import Setup, acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import LookFailed, Network

SIZE = 6
PAIRS = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)).filter(lambda pair: pair[0] != pair[1])
WEIGHTS = st.floats(-5, 5)
ACTION = st.tuples(
    st.integers(0, SIZE - 1),
    st.sampled_from(["network.follow", "network.unfollow", "network.set_weight"]),
    st.integers(-1, SIZE),
    st.sampled_from([None, 0.5, -2, math.nan, math.inf, "heavy"]),
)


def network(edges: dict[tuple[int, int], float]) -> Network:
    return Network.edges(Setup(SIZE), [a for a, _ in edges], [b for _, b in edges], list(edges.values()))


def plainly(edges: dict[tuple[int, int], float], agent: int, kind: str, args: dict[str, Any]) -> str:
    """One action on a dict of edges, and why it is refused."""
    target, weight = args["target"], args.get("weight", 1.0)
    if kind == "network.unfollow" and "weight" in args:
        return "bad_arguments"
    if kind == "network.set_weight" and "weight" not in args:
        return "bad_arguments"
    if isinstance(weight, str):
        return "bad_arguments"
    if target not in range(SIZE):
        return "unknown_target"
    if target == agent:
        return "self_loop"
    if not math.isfinite(weight):
        return "bad_weight"
    if kind == "network.follow":
        if (agent, target) in edges:
            return "already_following"
        edges[agent, target] = weight
    elif (agent, target) not in edges:
        return "not_following"
    elif kind == "network.unfollow":
        del edges[agent, target]
    else:
        edges[agent, target] = weight
    return ""


@given(st.dictionaries(PAIRS, WEIGHTS), st.lists(st.lists(ACTION, max_size=12), max_size=3))
def test_changes_and_queries_against_a_dict_of_edges(edges: dict[tuple[int, int], float], ticks: list[list[Any]]):
    world = opened(SIZE, network(edges))
    for rows in ticks:
        actions = acts(
            *(
                (agent, kind, {"target": target} | ({} if weight is None else {"weight": weight}))
                for agent, kind, target, weight in sorted(rows, key=lambda row: row[0])
            )
        )
        expected = [(one, plainly(edges, one.agent, one.kind, one.args)) for one in actions]
        assert world.resolve(actions).refused == [(one, reason) for one, reason in expected if reason]
    one = world.network
    everyone, nothing = list(range(SIZE)), [{}] * SIZE
    follows = [sorted(b for a, b in edges if a == agent) for agent in everyone]
    followed = [sorted(a for a, b in edges if b == agent) for agent in everyone]
    assert world.look("network.neighbors", everyone, nothing) == follows
    assert world.look("network.followers", everyone, nothing) == followed
    assert world.look("network.mutual", everyone, nothing) == [
        sorted(set(a) & set(b)) for a, b in zip(follows, followed, strict=True)
    ]
    assert world.look("network.degree", everyone, nothing) == [
        {"out": len(a), "in": len(b)} for a, b in zip(follows, followed, strict=True)
    ]
    assert world.look("network.ties", everyone, nothing) == [
        {"agents": row, "weights": [edges[agent, other] for other in row]} for agent, row in enumerate(follows)
    ]
    assert one.edge_count == len(edges)
    assert one.out_degree().tolist() == [len(row) for row in follows]
    assert one.in_degree().tolist() == [len(row) for row in followed]
    again = opened(SIZE, network({}))
    again.restore(world.state())
    assert again.look("network.ties", everyone, nothing) == world.look("network.ties", everyone, nothing)
    assert again.look("network.followers", everyone, nothing) == followed


def test_changes_show_from_the_next_tick_on():
    world = opened(3, Network.edges(Setup(3), [0], [1]))
    before = world.network.out
    world.resolve(acts((0, "network.follow", {"target": 2, "weight": 3}), (0, "network.unfollow", {"target": 1})))
    assert before.targets.tolist() == [1]
    assert look(world, "network.ties") == {"agents": [2], "weights": [3.0]}


def test_an_agent_meets_its_own_changes_of_the_tick():
    world = opened(3, Network.edges(Setup(3), [0], [1]))
    assert look(world, "network.followers", agent=1) == [0]
    to = {"target": 1}
    rows = [("unfollow", to), ("unfollow", to), ("set_weight", to | {"weight": 2}), ("follow", to | {"weight": 4.0})]
    rows += [("follow", to), ("set_weight", to | {"weight": 5.0})]
    rows += [("follow", {"target": 2}), ("unfollow", {"target": 2})]
    actions = acts(*((0, f"network.{kind}", args) for kind, args in rows), (2, "network.follow", to))
    refused = world.resolve(actions).refused
    assert [(one.nth, reason) for one, reason in refused] == [
        (1, "not_following"),
        (2, "not_following"),
        (4, "already_following"),
    ]
    assert look(world, "network.ties") == {"agents": [1], "weights": [5.0]}
    assert look(world, "network.followers", agent=1) == [0, 2]


def test_queries_of_another_agent_and_bad_ones():
    world = opened(3, Network.edges(Setup(3), [0, 2], [1, 0]))
    assert look(world, "network.neighbors", agent=0) == [1]
    assert world.look("network.neighbors", [0, 0], [{"agent": 2}, {}]) == [[0], [1]]
    for args in ({"agent": 3}, {"agent": -1}, {"agent": True}, {"agent": 1.0}, {"agents": [1]}):
        (answer,) = world.look("network.followers", [0], [args])
        assert isinstance(answer, LookFailed)
        assert "id from 0 to 2" in answer.reason


@pytest.mark.parametrize(
    ("source", "target", "weight", "message"),
    [
        ([0], [3], None, "edge 0 names agent 3, but ids go from 0 to 2"),
        ([0, -1], [1, 1], None, "edge 1 names agent -1"),
        ([0, 1], [1, 1], None, "edge 1 goes from agent 1 to itself"),
        ([0, 1, 0], [1, 2, 1], None, "from agent 0 to agent 1 is there more than once"),
        ([0], [1], [math.nan], "the weight of edge 0 is nan"),
        ([0], [1], ["x"], "weights are numbers"),
        ([0], [1, 2], None, "1 sources, 2 targets, 1 weights"),
        ([0], [1], [1.0, 2.0], "1 sources, 1 targets, 2 weights"),
        ([0.0], [1], None, "source: ids are a column of integers, got float64"),
    ],
)
def test_edges_that_cannot_be(source, target, weight, message):
    with pytest.raises(ScenarioError, match=message):
        Network.edges(Setup(3), source, target, weight)


def test_mutual_edges_are_given_once():
    one = Network.edges(Setup(3), [0, 1], [1, 2], [0.5, 2.0], mutual=True)
    assert one.out.sources().tolist() == [0, 1, 1, 2]
    assert one.out.targets.tolist() == [1, 0, 2, 1]
    assert one.out.weights.tolist() == [0.5, 0.5, 2.0, 2.0]
    assert (one.size, one.out.targets.dtype, one.out.weights.dtype) == (3, np.int32, np.float64)


def test_made_for_another_number_of_agents():
    with pytest.raises(ScenarioError, match="part 'network' was made for 3 agents, and there are 4"):
        opened(4, Network.edges(Setup(3), [0], [1]))
    state = opened(3, Network.edges(Setup(3), [0], [1])).state()
    with pytest.raises(ScenarioError, match="has 3 agents in the checkpoint, not 4"):
        opened(4, Network.edges(Setup(4), [0], [1])).restore(state)


@given(st.lists(PAIRS, unique=True, min_size=1), st.lists(st.integers(0, 2), min_size=SIZE, max_size=SIZE))
def test_assortativity_and_degrees_against_igraph(pairs: list[tuple[int, int]], values: list[int]):
    one = network(dict.fromkeys(pairs, 1.0))
    graph = one.to_igraph()
    assert isinstance(graph, igraph.Graph)
    assert sorted(graph.get_edgelist()) == sorted(pairs)
    assert one.out_degree().tolist() == graph.outdegree()
    numbers = one.assortativity([float(value) for value in values])
    kinds = one.assortativity([f"kind {value}" for value in values])
    for ours, theirs in (
        (numbers, graph.assortativity(values, values, directed=True)),
        (kinds, graph.assortativity_nominal(values, directed=True)),
    ):
        assert ours == pytest.approx(theirs, abs=1e-6) or (math.isnan(ours) and not -1 - 1e-6 <= theirs <= 1 + 1e-6)


def test_assortativity_of_what_it_cannot_be():
    one = network({(0, 1): 1.0})
    with pytest.raises(ScenarioError, match=r"shape \(2,\) for 6 agents"):
        one.assortativity([1, 2])
    with pytest.raises(ScenarioError, match="numbers, booleans or text"):
        one.assortativity(np.array([None] * SIZE))
    assert math.isnan(network({}).assortativity([1.0] * SIZE))
