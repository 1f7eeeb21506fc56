"""A known truth is found; what the target leaves open is said."""

from __future__ import annotations

import numpy as np
import pytest

from populace.core.errors import ScenarioError
from populace.experiments.audits.calibration import calibrate

TICKS = np.arange(10)
RANGES = {"rate": (0.05, 1.0), "size": (0.5, 10.0)}


def growing(at):
    """A series that both parameters shape, each in its own way."""
    return at["size"] * (1.0 - np.exp(-at["rate"] * TICKS))


def test_a_known_truth_is_found_within_its_ranges():
    truth = {"rate": 0.4, "size": 6.0}
    found = calibrate(growing, RANGES, growing(truth), tolerance=0.3, draws=2000, seed=1)
    for name, value in truth.items():
        one = found.of(name)
        assert one.identified
        assert one.low <= value <= one.high
        assert one.best == pytest.approx(value, rel=0.15)
    assert "not identified" not in str(found)


def test_where_only_the_product_matters_neither_is_identified_and_both_are_tied():
    found = calibrate(lambda at: at["rate"] * at["size"], RANGES, 2.0, tolerance=0.1, draws=600, seed=1)
    assert not found.of("rate").identified
    assert not found.of("size").identified
    assert found.tied == [("rate", "size")]
    assert "Of rate and size only a combination is known." in str(found)


def test_a_parameter_without_effect_is_open_and_untied():
    found = calibrate(lambda at: at["size"], RANGES, 5.0, tolerance=0.5, draws=300, seed=1)
    assert (found.of("size").identified, found.of("rate").identified, found.tied) == (True, False, [])


def test_a_target_out_of_reach_is_said():
    with pytest.raises(ScenarioError, match=r"off, at .* = .*cannot give this target"):
        calibrate(lambda at: at["size"], RANGES, 99.0, tolerance=0.5, draws=50)
    with pytest.raises(ScenarioError, match="2 finite numbers"):
        calibrate(lambda at: 1.0, RANGES, [1.0, 2.0], tolerance=0.5, draws=5)
