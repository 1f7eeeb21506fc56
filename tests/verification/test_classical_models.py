"""A mechanism that is broken, or a parameter that is another, gives a verdict that does not hold: negative controls."""

import numpy as np
import pytest

from verification import bounded_confidence, consensus, rumour, running, segregation, wealth
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
