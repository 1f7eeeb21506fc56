"""Ties among those alike: both algorithms against drawing tie after tie from the table of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from support.env_support import Setup

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env import Network
from populace.env.network.homophily import Traits, few, many
from populace.env.network.part import homophily

AGENTS, TIES, STRENGTH, SEEDS = 40, 30, 6.0, 400


def attributes(agents: int) -> dict[str, np.ndarray]:
    make = np.random.default_rng(11)
    return {
        "age": make.integers(18, 90, agents),
        "income": make.lognormal(size=agents),
        "party": make.choice(["left", "right", "none"], agents),
    }


def plainly(traits: Traits, strength: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The slow plain version: one tie after another, from the table of all pairs that have none yet."""
    make = np.random.default_rng(seed)
    one, other = np.triu_indices(AGENTS, 1)
    rates = np.exp(-strength * traits.distance(one, other))
    chosen = []
    for _ in range(TIES):
        cumulated = np.cumsum(rates)
        chosen.append(int(np.searchsorted(cumulated, make.random() * cumulated[-1], side="right")))
        rates[chosen[-1]] = 0.0
    return one[chosen], other[chosen]


def shares(ties) -> np.ndarray:
    """How often each pair is tied, over the seeds."""
    table = np.zeros((AGENTS, AGENTS))
    for seed in range(SEEDS):
        one, other = ties(seed)
        assert len(set(zip(one.tolist(), other.tolist(), strict=True))) == TIES
        assert (one < other).all()
        table[one, other] += 1
    return table[np.triu_indices(AGENTS, 1)] / SEEDS


def misfit(shares_a: np.ndarray, shares_b: np.ndarray) -> float:
    """The mean squared difference between two tables of shares, in units of its sampling variance: about 1."""
    pooled = (shares_a + shares_b) / 2
    variance = pooled * (1 - pooled) * 2 / SEEDS
    some = variance > 0
    return float(((shares_a - shares_b)[some] ** 2 / variance[some]).mean())


def test_both_algorithms_against_the_plain_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(homophily, "_CELL_AGENTS", 2)  # so that 40 agents make 16 cells
    traits = Traits(attributes(AGENTS), AGENTS)
    expected = shares(lambda seed: plainly(traits, STRENGTH, seed))

    def drawn(algorithm, strength: float = STRENGTH):
        return shares(lambda seed: algorithm(traits, AGENTS, TIES, strength, Draws(seed), "test"))

    # 780 pairs: the statistic is 1 with a standard deviation of 0.05.
    assert misfit(drawn(few), expected) == pytest.approx(1.0, abs=0.25)
    assert misfit(drawn(many), expected) == pytest.approx(1.0, abs=0.25)
    assert misfit(drawn(many, strength=STRENGTH - 2), expected) > 1.5  # the statistic sees another strength


def test_bounds_hold_for_every_pair(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(homophily, "_CELL_AGENTS", 3)
    traits = Traits(attributes(200), 200)
    cells = homophily._Cells(traits, 200, 4.0)
    count = len(cells._sizes)
    cell_of = np.empty(200, dtype=np.int64)
    cell_of[cells._order] = np.repeat(np.arange(count), cells._sizes)
    one, other = (axis.ravel() for axis in np.indices((200, 200)))
    log_rate = -4.0 * traits.distance(one, other)
    bound = cells._bound[cell_of[one] * count + cell_of[other]]
    assert count == 64
    assert (log_rate <= bound + 1e-12).all()
    assert bound.min() < -1.0  # and they are not all idle


@pytest.mark.parametrize("agents", [30, 1_500, 1_501, 4_000])
def test_mean_degree_is_exact_and_strength_brings_ties_together(agents: int):
    setup, given = Setup(agents), attributes(agents)
    traits = Traits(given, agents)
    distances = []
    for strength in (0.0, 4.0, 12.0):
        one = Network.homophily(setup, given, mean_degree=6, strength=strength)
        assert one.edge_count == agents * 6
        distances.append(traits.distance(one.out.sources(), one.out.targets).mean())
    assert distances[0] > 1.2 * distances[1] > 1.4 * distances[2]


def test_no_homophily_is_a_random_graph():
    one = Network.homophily(Setup(4_000), attributes(4_000), mean_degree=10, strength=0)
    assert one.out_degree().mean() == 10
    assert one.out_degree().var() == pytest.approx(10, rel=0.1)  # Poisson
    assert abs(one.assortativity(attributes(4_000)["age"])) < 4 / np.sqrt(20_000)


def test_a_table_and_columns_by_name_are_the_same():
    table = np.random.default_rng(1).random((50, 2))
    by_name = {"a": table[:, 0], "b": table[:, 1]}
    first, second = (Network.homophily(Setup(50), one, mean_degree=4, strength=8) for one in (table, by_name))
    assert first.out.targets.tolist() == second.out.targets.tolist()


def test_gower_distance():
    traits = Traits({"n": [0.0, 5.0, 10.0], "s": ["a", "a", "b"], "b": [True, False, False], "same": [1, 1, 1]}, 3)
    one, other = np.array([0, 0, 1, 2]), np.array([1, 2, 2, 2])
    assert traits.distance(one, other).tolist() == [1.5 / 4, 3 / 4, 1.5 / 4, 0.0]


def test_everybody_with_everybody():
    one = Network.homophily(Setup(9), {"x": range(9)}, mean_degree=8, strength=20)
    assert one.edge_count == 72


def test_one_who_has_nobody():
    assert Network.homophily(Setup(1), {"x": [1.0]}, mean_degree=0, strength=1).edge_count == 0


@pytest.mark.parametrize(
    ("given", "values", "message"),
    [
        ({"x": [1.0] * 9}, {}, r"'x' has the shape \(9,\) for 10 agents"),
        ({"x": [1.0] * 9 + [np.nan]}, {}, "'x' of agent 9 is nan: fill or drop it first"),
        ({"x": [None] * 10}, {}, "'x' holds neither numbers nor text"),
        ({}, {}, "name one attribute or more"),
        ([1.0] * 10, {}, "columns by name, or a table"),
        ({"x": range(10)}, {"mean_degree": 10}, "mean_degree=10 must be from 0 to 9"),
        ({"x": range(10)}, {"strength": -1}, "strength=-1 must be at least 0"),
        ({"x": range(10)}, {"strength": float("nan")}, "strength=nan must be at least 0"),
    ],
)
def test_arguments_that_cannot_be(given, values, message):
    with pytest.raises(ScenarioError, match=message):
        Network.homophily(Setup(10), given, **({"mean_degree": 2, "strength": 3} | values))


def test_a_strength_that_leaves_too_few_pairs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(homophily, "_TRIES", 300_000)
    given = np.random.default_rng(1).random((2_000, 6))
    network = Network.homophily(Setup(2_000), given, mean_degree=20, strength=400)
    with pytest.raises(ScenarioError, match="leaves too few likely pairs for mean_degree=20"):
        network.state()
