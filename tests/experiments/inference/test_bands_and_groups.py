"""Bands of trajectories, effects by group and by quantile, power, and agents randomised within runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from populace.core.errors import ScenarioError
from populace.experiments import inference
from populace.experiments.inference.libraries import library


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def arms(
    random: np.random.Generator, ticks: int = 8, begins: int = 3, effect: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    control = random.normal(size=(20, ticks)).cumsum(axis=1)
    treated = control.copy()
    treated[:, begins:] += 2.0 + random.normal(size=(20, ticks - begins))
    return treated, control


def test_a_band_has_no_width_before_treatment_and_is_wider_than_ticks_one_by_one(random):
    treated, control = arms(random)
    made = inference.band(treated, control)
    assert (made.low[:3] == 0).all()
    assert (made.high[:3] == 0).all()
    assert (made.low[3:] < made.pointwise_low[3:]).all()
    assert (made.high[3:] > made.pointwise_high[3:]).all()
    assert made.clear_of_zero() == [3, 4, 5, 6, 7]
    assert made.critical > stats.t.ppf(0.975, 19)
    assert made.covers(made.difference)
    assert not made.covers(made.difference + 9)


def test_a_band_of_one_tick_is_about_students_interval(random):
    treated, control = arms(random, 1, 0)
    made = inference.band(treated, control, draws=20_000)
    assert made.critical == pytest.approx(stats.t.ppf(0.975, 19), abs=0.25)


def test_arms_that_never_differ_have_a_band_at_zero(random):
    _, control = arms(random)
    made = inference.band(control, control)
    assert made.critical == 0.0
    assert made.clear_of_zero() == []


def test_who_gains_is_found_by_how_groups_differ_and_not_by_stars(random):
    base = random.normal(size=20)
    control = {name: base + random.normal(0, 0.3, 20) for name in ("poor", "middle", "rich")}
    shift = {"poor": 1.5, "middle": 0.0, "rich": 0.0}
    treated = {name: values + shift[name] + random.normal(0, 0.3, 20) for name, values in control.items()}
    found = {one.effect.outcome: one for one in inference.by_group(treated, control)}
    assert found["poor"].effect.p_adjusted < 0.001
    assert found["poor"].unlike_others == pytest.approx(1.5, abs=0.3)
    assert found["poor"].p_unlike < 0.001
    assert found["rich"].effect.p_adjusted > 0.05
    alike = {name: values + 1.0 + random.normal(0, 0.3, 20) for name, values in control.items()}
    assert all(one.p_unlike > 0.01 for one in inference.by_group(alike, control))
    assert all(one.effect.p_adjusted < 0.01 for one in inference.by_group(alike, control))


def test_a_spread_that_grows_moves_quantiles_apart_and_not_the_median(random):
    control = random.normal(size=(20, 200))
    control -= np.median(control, axis=1, keepdims=True) + random.normal(0, 0.1, (20, 1))
    found = inference.by_quantile(2 * control, control, (0.1, 0.5, 0.9))
    low, middle, high = found.effects
    assert low.difference == pytest.approx(stats.norm.ppf(0.1), abs=0.15)
    assert high.difference == pytest.approx(stats.norm.ppf(0.9), abs=0.15)
    assert low.p_adjusted < 0.001 < 0.05 < middle.p_adjusted
    assert found.band.low[0] < found.effects[0].difference < found.band.high[0] < 0
    assert found.quantiles == (0.1, 0.5, 0.9)


def test_replicates_needed_are_those_of_statsmodels_and_a_small_pilot_is_not_believed():
    wanted = library("statsmodels.stats.power").TTestPower().solve_power(effect_size=0.5, power=0.8, alpha=0.05)
    assert inference.replicates_for(1.0, 2.0) == int(np.ceil(wanted))
    assert inference.replicates_for(1.0, 2.0, tests=4) > inference.replicates_for(1.0, 2.0)
    assert inference.replicates_for(1e-4, 1.0) is None
    assert inference.replicates_for(9.0, 0.0) == 2
    small, large = (inference.needed(np.tile([-1.0, 1.0], half), 0.5) for half in (3, 50))
    assert small.safe_replicates > 1.5 * small.replicates
    assert large.safe_replicates < 1.3 * large.replicates
    assert inference.power_of(large.detectable, large.deviation, 100) == pytest.approx(0.8, abs=1e-6)


def test_within_runs_the_interval_is_that_of_a_regression_with_runs_and_clusters(random):
    run = np.repeat(np.arange(12), 10)
    dealt = np.tile([0, 1], 60)
    own = random.normal(0, 2, 12)[run]
    values = own * dealt + random.normal(size=120) + own
    found = inference.within_runs(values, dealt, run)
    data = {"values": values, "dealt": dealt, "run": run}
    fitted = (
        library("statsmodels.formula.api")
        .ols("values ~ dealt + C(run)", data)
        .fit(cov_type="cluster", cov_kwds={"groups": run}, use_t=True)
    )
    assert found.difference == pytest.approx(fitted.params["dealt"])
    # fixed effects that are taken out beforehand are not counted in the correction for few observations
    ratio = np.sqrt((120 - 1) / (120 - 13))
    assert found.interval.width == pytest.approx(np.diff(fitted.conf_int().loc["dealt"])[0] / ratio, rel=1e-6)
    assert found.interval.width > 1.5 * found.naive.width
    assert (found.runs, found.agents) == (12, 120)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: inference.band(np.ones((4, 3)), np.ones((4, 3))), "needs 5 or more"),
        (lambda: inference.band(np.ones(6), np.ones(6)), r"\(replicates, ticks\)"),
        (lambda: inference.band(np.ones((6, 3)), np.ones((6, 2))), "paired by replicate"),
        (lambda: inference.by_group({"a": [1, 2]}, {"a": [1, 2]}), "two or more"),
        (lambda: inference.by_quantile(np.ones((6, 3)), np.ones((6, 3)), [2]), "between 0 and 1"),
        (lambda: inference.needed([1, 2, 3], 0.0), "smallest effect that matters"),
        (lambda: inference.needed([1, 2, 3], 1.0, power=80), "between 0 and 1"),
        (lambda: inference.within_runs([1, 2], [0, 1], [0, 0]), "one run only"),
        (lambda: inference.within_runs([1, 2], [0, 1], [0, 1]), "both treated and other"),
        (lambda: inference.within_runs([1, 2], [0, 3], [0, 1]), "0 or 1"),
        (lambda: inference.within_runs([1, 2], [0, 1, 1], [0, 1]), "of one length"),
    ],
)
def test_what_is_not_a_design_is_named(call, said):
    with pytest.raises(ScenarioError, match=said):
        call()
