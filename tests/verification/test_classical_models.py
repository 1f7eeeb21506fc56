"""A mechanism that is broken, or a parameter that is another, gives a verdict that does not hold: negative controls."""

import numpy as np
import pytest

from verification import bounded_confidence, consensus, flocking, rumour, running, segregation, wealth
from verification.societies import flocking as around_module
from verification.societies.flocking import around
from verification.verdicts import Skipped


def holds(verdicts):
    return all(one.holds for one in verdicts)


def test_members_who_hold_on_to_their_prejudice_reach_no_consensus():
    assert not holds(consensus.degroot(30, 60, 3, least=0.95, most=0.95))


def test_the_plain_mean_is_not_the_consensus(monkeypatch):
    monkeypatch.setattr(consensus, "influence", lambda weights: np.full(len(weights), 1 / len(weights)))
    assert not holds(consensus.degroot(30, 60, 3))


def test_members_more_open_than_the_theory_has_it_end_elsewhere():
    assert not holds(consensus.friedkin(30, 60, 4, most=0.95))


def test_opinions_that_do_not_move_leave_no_clusters():
    assert not bounded_confidence.deffuant(0.2, agents=600, ticks=60, seeds=range(1), within=0.5, move=0.0).holds


def test_a_rumour_that_is_told_less_reaches_fewer():
    assert not rumour.reached(2.5, agents=1_500, seeds=range(1), told=0.25).holds


def test_units_that_are_given_away_are_not_exponential():
    assert not holds(wealth.exponential(1_000, 20, 5, rule="give"))


def test_two_rules_of_wealth_differ_and_one_rule_with_other_seeds_does_not():
    size = {"agents": 100, "ticks": 20}
    one, same = (wealth.giving(seeds, **size) for seeds in (range(3), range(3, 6)))
    other = [running.outcomes("wealth", seed=seed, parameters={"people": 100}, **size) for seed in range(3)]
    assert holds(running.compared(one, same, wealth.NAMES, ""))
    assert not holds(running.compared(one, other, wealth.NAMES, ""))


def test_residents_who_go_nowhere_are_not_segregated():
    moved, stayed = segregation.segregated(range(2), 10), segregation.segregated(range(2), 10, goes="nowhere")
    assert not holds(running.compared(moved, stayed, segregation.NAMES, ""))


def test_residents_come_to_the_same_in_columns_and_each_for_itself():
    size = {"agents": 300, "ticks": 4}
    columns, each = (running.outcomes(name, seed=3, **size) for name in ("segregation", "segregation:each"))
    assert columns == each
    assert each != running.outcomes("segregation:each", seed=3, parameters={"wanted": 0.5}, **size)


def test_boids_come_to_the_same_in_columns_and_each_for_itself():
    size = {"agents": 80, "ticks": 12, "seed": 3}
    columns, each = (running.outcomes(name, **size) for name in ("flocking", "flocking:each"))
    assert columns == each
    assert each != running.outcomes("flocking:each", parameters={"match": 0.06}, **size)


def test_boids_do_not_come_to_order_under_noise_or_without_heed():
    order = {
        name: running.outcomes("flocking", agents=60, ticks=30, seed=2, parameters={"side": 30.0, **given})["order"]
        for name, given in {
            "aligned": {"match": 1.0, "cohere": 0.0},
            "noise": {"match": 1.0, "cohere": 0.0, "noise": 100.0},
            "heedless": {"match": 0.0, "cohere": 0.0},
        }.items()
    }
    assert order["aligned"] > 0.9
    assert max(order["noise"], order["heedless"]) < 0.4


def test_two_rules_of_flocking_differ_and_one_rule_with_other_seeds_does_not():
    one, same = (flocking.flocked(seeds, 8, 60) for seeds in (range(3), range(3, 6)))
    other = flocking.flocked(range(3), 8, 60, match=1.0, cohere=0.0)
    assert holds(running.compared(one, same, flocking.NAMES, ""))
    assert not holds(running.compared(one, other, flocking.NAMES, ""))


def looked_around(at, headings, side, vision, separation):
    """What is around each, by the distances of all pairs."""
    apart = at[:, None, :] - at[:, :, None]
    apart -= side * np.round(apart / side)
    distance = np.hypot(*apart)
    seen = (distance <= vision) & ~np.eye(at.shape[1], dtype=bool)
    close = seen & (distance < separation)
    sums = [(what * where).sum(axis=2) for what, where in ((apart, seen), (apart, close), (headings[:, None, :], seen))]
    return [seen.sum(axis=1), *sums]


@pytest.mark.parametrize("vision", [4.0, 9.9, 10.0, 16.0, 24.0])
def test_a_search_by_cells_finds_what_a_search_among_all_pairs_finds(vision, monkeypatch):
    draw = np.random.default_rng(int(vision))
    at, headings = draw.random((2, 200)) * 50.0, draw.random((2, 200))
    at[:, :2] = [[0.0, 49.999999], [50.0, 0.0]]  # on the square's edges
    for many in (1_000_000, 700):
        monkeypatch.setattr(around_module, "CANDIDATES", many)
        found = around(at, headings, 50.0, vision, 3.0)
        for mine, expected in zip(found, looked_around(at, headings, 50.0, vision, 3.0), strict=True):
            np.testing.assert_allclose(mine, expected, atol=1e-9)


def test_without_mesa_a_comparison_is_skipped_with_a_reason_and_a_broken_one_says_why(monkeypatch, tmp_path):
    monkeypatch.delenv(running.MESA, raising=False)
    with pytest.raises(Skipped, match="POPULACE_MESA_PYTHON"):
        wealth.beside_mesa(False)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv(running.MESA, str(python))
    with pytest.raises(RuntimeError, match="no such thing"):
        segregation.beside_mesa(False)
