"""Negative controls of the checks of scoring: simulations that are taken for people, noise that is left in."""

from verification import score as checks


def test_simulations_that_are_taken_for_people_hold_no_mean():
    held, _ = checks.powered(200, 0.9, trusted=True)
    assert held < 0.05


def test_a_simulation_that_knows_nothing_saves_nobody():
    _, found = checks.powered(300, 0.0)
    assert found < 105
    assert checks.known_worth(0.0) == 100
