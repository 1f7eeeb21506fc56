"""Confidence sequences against a plain grid; failures by arm; bounds against the plain program."""

from __future__ import annotations

import numpy as np
import pytest

from populace.core.errors import ScenarioError
from populace.experiments import inference
from populace.experiments.inference.sequential import sequence_ends

RANDOM = np.random.default_rng(9)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(9)


def plain(values: np.ndarray, alpha: float = 0.05, grid: int = 2001) -> tuple[np.ndarray, np.ndarray]:
    """The hedged capital of Waudby-Smith and Ramdas, one candidate mean and one value after another."""
    candidates = np.linspace(0.0, 1.0, grid)
    kept = np.ones(grid, bool)
    above, below = np.ones(grid), np.ones(grid)
    mean_sum, square_sum, variance = 0.5, 0.25, 0.25
    lows, highs = [], []
    for at, value in enumerate(values, 1):
        bet = np.sqrt(2 * np.log(2 / alpha) / (variance * at * np.log(at + 1)))
        with np.errstate(divide="ignore"):
            above *= 1 + np.minimum(bet, 0.5 / candidates) * (value - candidates)
            below *= 1 - np.minimum(bet, 0.5 / (1 - candidates)) * (value - candidates)
        kept &= np.maximum(above, below) / 2 < 1 / alpha
        mean_sum += value
        square_sum += (value - mean_sum / (at + 1)) ** 2
        variance = square_sum / (at + 1)
        lows.append(candidates[kept].min())
        highs.append(candidates[kept].max())
    return np.array(lows), np.array(highs)


@pytest.mark.parametrize("values", [RANDOM.beta(2, 5, 60), (RANDOM.random(60) < 0.9) * 1.0, np.full(40, 0.25)])
def test_a_sequence_is_the_plain_program_on_a_grid(values):
    low, high = plain(values)
    made_low, made_high = (one[:, 0] for one in sequence_ends(values[:, None], 0.95))
    assert made_low == pytest.approx(low, abs=6e-4)
    assert made_high == pytest.approx(high, abs=6e-4)


def test_a_sequence_in_the_outcomes_unit_never_widens_and_holds_to_the_order(random):
    values = random.uniform(-4, 6, 80)
    made = inference.confidence_sequence(values, -10, 10)
    assert (np.diff(made.low) >= 0).all()
    assert (np.diff(made.high) <= 0).all()
    assert made.estimates[-1] == pytest.approx(values.mean())
    assert made.low[-1] < 1 < made.high[-1]
    longer = inference.confidence_sequence(np.append(values, 9.0), -10, 10)
    assert longer.low[:80] == pytest.approx(made.low)
    mirrored = inference.confidence_sequence(-values, -10, 10)
    assert -mirrored.low == pytest.approx(made.high)


def test_a_rule_stops_where_the_sequence_decides(random):
    clear = inference.stop(random.normal(0.5, 0.1, 100), -1, 1)
    assert clear.verdict == "above"
    assert clear.replicates < 30
    assert inference.stop(random.normal(-0.5, 0.1, 100), -1, 1).verdict == "below"
    nothing = random.uniform(-0.05, 0.05, 300)
    assert inference.stop(nothing, -1, 1).verdict == "open"
    assert inference.stop(nothing, -1, 1, margin=0.1).verdict == "negligible"
    assert inference.stop(random.normal(0.5, 0.1, 100), -1, 1, fewest=50).replicates == 50


def test_arms_that_abstain_unlike_each_other_are_told_apart_by_kind(random):
    tried = {"control": np.full(12, 200), "treated": np.full(12, 200)}
    failed = {
        "control": {"refusal": random.binomial(200, 0.02, 12), "schema": random.binomial(200, 0.05, 12)},
        "treated": {"refusal": random.binomial(200, 0.10, 12), "schema": random.binomial(200, 0.05, 12)},
    }
    found = inference.failures(failed, tried)
    rates = {(one.arm, one.kind): one for one in found.rates}
    assert found.differ
    assert rates["treated", "refusal"].p_adjusted < 0.01
    assert rates["treated", "schema"].p_adjusted > 0.05
    assert rates["treated", "refusal"].difference == pytest.approx(0.08, abs=0.02)
    assert found.largest == pytest.approx(rates["treated", "refusal"].difference)
    assert rates["control", "schema"].tried == 2400
    same = inference.failures({"control": failed["control"], "treated": failed["control"]}, tried)
    assert not same.differ
    assert same.largest == 0.0


def test_a_kind_that_one_arm_never_saw_counts_as_none_there():
    tried = {"control": np.full(8, 10), "treated": np.full(8, 10)}
    found = inference.failures({"control": {}, "treated": {"exception": np.full(8, 3)}}, tried)
    assert {(one.arm, one.rate) for one in found.rates} == {("control", 0.0), ("treated", 0.3)}
    assert found.differ


def missing(random: np.random.Generator, table: np.ndarray, share: float) -> np.ndarray:
    return np.where(random.random(table.shape) < share, np.nan, table)


def test_worst_case_bounds_fill_in_the_worst_and_the_best():
    ours, theirs = np.array([[1.0, np.nan], [3.0, 4.0]]), np.array([[2.0, 2.0], [np.nan, 0.0]])
    found = inference.worst_case(ours, theirs, 0.0, 5.0)
    assert found.low == pytest.approx(((0.5 - 2) + (3.5 - 2.5)) / 2)
    assert found.high == pytest.approx(((3 - 2) + (3.5 - 0)) / 2)
    assert found.interval_low < found.low < found.high < found.interval_high
    assert (found.answered_treated, found.answered_control) == (0.75, 0.75)


def test_without_missing_answers_bounds_are_a_point_and_students_interval(random):
    ours, theirs = random.uniform(2, 5, (15, 30)), random.uniform(1, 4, (15, 30))
    found = inference.worst_case(ours, theirs, 0.0, 5.0)
    plain_t = inference.effect(ours.mean(axis=1), theirs.mean(axis=1)).t
    assert found.low == pytest.approx(found.high)
    assert (found.interval_low, found.interval_high) == pytest.approx((plain_t.low, plain_t.high))
    trimmed = inference.lee(ours, theirs)
    assert (trimmed.low, trimmed.high) == pytest.approx((found.low, found.high))


def test_lees_bounds_trim_the_arm_that_answers_more(random):
    ours, theirs = random.normal(1, 1, (10, 50)), missing(random, random.normal(0, 1, (10, 50)), 0.3)
    found = inference.lee(ours, theirs)
    told = np.sort(ours.ravel())
    kept = round(len(told) * found.answered_control)
    there = np.nanmean(theirs)
    assert found.low == pytest.approx(told[:kept].mean() - there)
    assert found.high == pytest.approx(told[-kept:].mean() - there)
    swapped = inference.lee(theirs, ours)
    assert (-swapped.high, -swapped.low) == pytest.approx((found.low, found.high))
    worst = inference.worst_case(np.clip(ours, -3, 3), np.clip(theirs, -3, 3), -3, 3)
    assert worst.low < found.low < found.high < worst.high


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: inference.confidence_sequence([0.5, 2.0], 0, 1), "value 1, 2, lies outside 0 to 1"),
        (lambda: inference.confidence_sequence([0.5], 1, 0), "the lower comes first"),
        (lambda: inference.confidence_sequence([], 0, 1), "one or more"),
        (lambda: inference.failures({"a": {}}, {"a": [1, 2]}), "control='control'"),
        (lambda: inference.failures({"control": {"x": [3, 0]}}, {"control": [2, 2]}), "counts from 0"),
        (lambda: inference.worst_case(np.ones((2, 2)) * 9, np.ones((2, 2)), 0, 5), "does not hold all answers"),
        (lambda: inference.worst_case(np.ones(3), np.ones(3), 0, 5), r"\(replicates, agents\)"),
        (lambda: inference.lee(np.full((2, 2), np.nan), np.ones((2, 2))), "no answer at all"),
        (lambda: inference.lee(np.full((2, 2), np.inf), np.ones((2, 2))), "finite, or NaN"),
    ],
)
def test_what_cannot_be_bounded_is_named(call, said):
    with pytest.raises(ScenarioError, match=said):
        call()
