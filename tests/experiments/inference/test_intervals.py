"""Intervals, tests and effects against scipy and statsmodels, and at the edges of what they take."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from populace.core.errors import ScenarioError, SettingsError
from populace.experiments import inference
from populace.experiments.inference.intervals import ENDS
from populace.experiments.inference.libraries import library

FEW = np.random.default_rng(1).exponential(size=20) - 0.4
finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


def test_students_interval_and_p_are_scipys():
    found = stats.ttest_1samp(FEW, 0.0)
    low, high = found.confidence_interval(0.9)
    made = inference.interval(FEW, "t", 0.9)
    assert (made.low, made.high) == pytest.approx((low, high))
    assert inference.effect(FEW, np.zeros(20)).p_t == pytest.approx(found.pvalue)


@pytest.mark.parametrize(("method", "scipys"), [("BCa", "BCa"), ("percentile", "percentile")])
def test_a_bootstrap_agrees_with_scipys_to_what_resampling_leaves(method, scipys):
    low, high = stats.bootstrap(
        (FEW,), np.mean, n_resamples=40_000, method=scipys, random_state=np.random.default_rng(2)
    ).confidence_interval
    made = inference.interval(FEW, method, draws=40_000)
    assert (made.low, made.high) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_a_studentised_bootstrap_is_the_plain_program():
    random = np.random.default_rng(3)
    t = []
    for _ in range(40_000):
        again = random.choice(FEW, 20)
        t.append((again.mean() - FEW.mean()) / (again.std(ddof=1) / math.sqrt(20)))
    high, low = np.quantile(t, [0.025, 0.975])
    error = FEW.std(ddof=1) / math.sqrt(20)
    made = inference.interval(FEW, "studentised", draws=40_000)
    expected = (FEW.mean() - low * error, FEW.mean() - high * error)
    assert (made.low, made.high) == pytest.approx(expected, abs=0.05)


def test_the_skew_of_the_data_is_in_the_studentised_interval_and_not_in_students():
    def lean(method: str) -> float:
        made = inference.interval(FEW, method)
        return (made.high - FEW.mean()) / (FEW.mean() - made.low)

    assert lean("t") == pytest.approx(1.0)
    assert lean("studentised") > 1.3
    assert lean("BCa") > 1.1


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(5, 12), elements=finite), st.sampled_from(sorted(ENDS)), st.floats(0.1, 50))
def test_intervals_are_ordered_hold_the_mean_and_move_with_the_unit(values, method, scale):
    made = inference.interval(values, method, draws=300)
    assert made.low <= made.high
    slack = 1e-9 * (1 + np.abs(values).max())
    assert method == "BCa" or made.low - slack <= values.mean() <= made.high + slack
    again = inference.interval(values * scale, method, draws=300)
    assert again.low == pytest.approx(made.low * scale, rel=1e-6, abs=1e-5 * scale)
    assert again.high == pytest.approx(made.high * scale, rel=1e-6, abs=1e-5 * scale)


@pytest.mark.parametrize("method", sorted(ENDS))
def test_equal_differences_have_an_interval_without_width(method):
    made = inference.interval(np.full(6, 1.5), method)
    assert (made.low, made.high) == (1.5, 1.5)
    rounded = inference.interval(np.full(20, 0.2) - 0.5, method)
    assert rounded.low == rounded.high == pytest.approx(-0.3), "whose mean is not one of them, by rounding"
    assert inference.interval([0.2, 0.2 + 1e-9, 0.2, 0.2, 0.2 + 1e-9], method).width > 0.0


def test_sign_flips_are_scipys_exact_test_and_drawn_ones_come_near(random):
    for size in (2, 5, 9):
        values = random.normal(0.5, 1, size)
        exact = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert inference.sign_flip_p(values) == pytest.approx(exact.pvalue)
    many = random.normal(0.3, 1, 40)
    assert inference.sign_flip_p(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.01)
    assert inference.sign_flip_p(many + 9) > 0
    assert inference.sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert inference.sign_flip_p([1.0, 1.0, 0.0]) == 0.5


def test_holm_is_that_of_statsmodels(random):
    p, multipletests = random.random((5, 7)) ** 3, library("statsmodels.stats.multitest").multipletests
    for row, adjusted in zip(p, inference.holm(p), strict=True):
        assert adjusted == pytest.approx(multipletests(row, method="holm")[1])
    assert not len(inference.holm([]))


def test_an_effect_says_what_pairing_bought(random):
    shared = random.normal(0, 3, 30)
    control = shared + random.normal(0, 0.3, 30)
    found = inference.effect(control + 1 + random.normal(0, 0.3, 30), control)
    assert found.difference == pytest.approx(1.0, abs=0.2)
    assert found.variance_ratio > 50
    assert found.d_z > 2 > 1 > found.hedges_g > 0
    unpaired = inference.effect(random.permutation(control) + 1, control)
    assert 0.3 < unpaired.variance_ratio < 3


def test_arms_are_compared_outcome_by_outcome_with_one_adjustment_over_all(random):
    arms = {
        arm: {name: random.normal(shift, 1, (12, 4)) for name in ("a", "b", "c")}
        for arm, shift in {"control": 0.0, "dose": 0.0, "more": 2.0}.items()
    }
    effects = inference.compare(arms)
    assert [(one.arm, one.outcome) for one in effects] == [(a, o) for a in ("dose", "more") for o in "abc"]
    assert [one.p_adjusted for one in effects] == pytest.approx(inference.holm([one.p_t for one in effects]))
    assert all(one.p_adjusted < 0.05 for one in effects if one.arm == "more")
    by_flips = inference.compare(arms, test="sign_flip", summary="mean")
    assert [one.p_adjusted for one in by_flips] == pytest.approx(inference.holm([one.p_sign_flip for one in by_flips]))
    assert effects[0].mean_control == pytest.approx(arms["control"]["a"][:, -1].mean())
    assert by_flips[0].mean_control == pytest.approx(arms["control"]["a"].mean())
    rows = inference.as_rows(effects)
    assert rows[0]["t_low"] == effects[0].t.low
    assert len(rows) == 6


def test_with_few_replicates_there_is_a_t_and_no_bootstrap():
    found = inference.effect([1.0, 2.0, 3.5], [0.0, 1.5, 2.0])
    assert found.studentised is None
    assert math.isnan(inference.as_rows((found,))[0]["studentised_low"])
    constant = inference.effect([1.0, 1.0], [0.0, 0.0])
    assert (constant.p_t, constant.d_z) == (0.5, math.inf)
    assert inference.effect(np.full(5, 0.3), np.full(5, 0.5)).p_t == pytest.approx(2 / 2**5), "but for rounding"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: inference.effect([1.0, np.nan, 2.0], [1, 2, 3]), "replicate 1 has no finite value"),
        (lambda: inference.effect([1.0, 2.0], [1, 2, 3]), "paired by replicate"),
        (lambda: inference.effect([1.0], [1.0]), "two replicates or more"),
        (lambda: inference.effect(np.ones((3, 2)), np.ones((3, 2)), summary=5), "no tick 5 of 2"),
        (lambda: inference.interval([1.0, 2, 3, 4], "BCa"), "resampling needs 5"),
        (lambda: inference.interval(FEW, "magic"), "t, studentised, BCa"),
        (lambda: inference.interval(FEW, level=95), "between 0 and 1"),
        (lambda: inference.compare({"a": {}}), "the arms are a"),
        (lambda: inference.compare({"control": {"x": [1, 2]}, "b": {"y": [1, 2]}}), "arm 'b' has outcomes"),
        (lambda: inference.holm([0.2, 1.2]), "between 0 and 1"),
    ],
)
def test_what_cannot_be_inferred_from_is_named(call, said):
    with pytest.raises(ScenarioError, match=said):
        call()


def test_without_the_libraries_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.stats.power", None)
    with pytest.raises(SettingsError, match=r"statsmodels: pip install 'populace\[experiments\]'"):
        inference.power_of(1.0, 1.0, 20)


def test_the_same_data_give_the_same_intervals_and_another_seed_others():
    first, again = (inference.interval(FEW, "studentised") for _ in range(2))
    assert first == again
    assert first != inference.interval(FEW, "studentised", seed=1)
