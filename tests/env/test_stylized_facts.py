"""Measures of prices against closed forms."""

import numpy as np
import pytest

from populace.env.market.stylized_facts import autocorrelation, impact_exponent, returns, volatility_clustering


def test_returns_leave_out_what_is_no_price():
    assert returns(np.array([100.0, np.nan, 0.0, 200.0, 100.0])) == pytest.approx([np.log(2), -np.log(2)])


def test_autocorrelation_of_an_autoregression_is_its_coefficient():
    noise = np.random.default_rng(1).normal(size=40_000)
    values = np.zeros(len(noise))
    for at in range(1, len(noise)):
        values[at] = 0.6 * values[at - 1] + noise[at]
    assert autocorrelation(values) == pytest.approx(0.6, abs=0.02)
    assert autocorrelation(values, 2) == pytest.approx(0.36, abs=0.03)
    assert np.isnan(autocorrelation(np.ones(5)))
    assert np.isnan(autocorrelation(np.ones(1)))


def test_volatility_clusters_in_a_garch_series_and_not_in_a_random_walk():
    draw, variance, walk, clustered = np.random.default_rng(2), 1.0, [], []
    for _ in range(5_000):
        step = draw.normal()
        walk.append(step)
        clustered.append(step * variance**0.5)
        variance = 0.1 + 0.2 * clustered[-1] ** 2 + 0.7 * variance
    prices = [100.0 * np.exp(np.cumsum(np.array(steps)) / 1_000) for steps in (walk, clustered)]
    assert abs(volatility_clustering(prices[0])) < 0.03
    assert volatility_clustering(prices[1]) > 0.1


def test_the_exponent_of_impact_is_the_slope_of_logarithms():
    assert impact_exponent([1, 4, 9], [2.0, 4.0, 6.0]) == pytest.approx(0.5)
    assert np.isnan(impact_exponent([1, 4], [0.0, 1.0]))
    assert np.isnan(impact_exponent([1], [1.0]))
