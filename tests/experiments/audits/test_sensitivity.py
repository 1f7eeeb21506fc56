"""Indices of functions for which they are known."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from support.audited_experiment import experiment
from support.experiments import run_here

from populace.core.errors import ScenarioError, SettingsError
from populace.experiments.audits.calibration import calibrate
from populace.experiments.audits.points import outcome_at, ranges_of, sensitivity_of
from populace.experiments.audits.sensitivity import Sensitivity, sensitivity
from populace.experiments.audits.shown import sensitivity_text
from populace.experiments.results import Results

PI = (-math.pi, math.pi)


def ishigami(at: dict[str, float]) -> float:
    """Ishigami and Homma (1990), a = 7, b = 0.1."""
    return math.sin(at["x1"]) + 7.0 * math.sin(at["x2"]) ** 2 + 0.1 * at["x3"] ** 4 * math.sin(at["x1"])


def known() -> tuple[dict[str, float], dict[str, float], float]:
    """Its first-order and total indices and its variance, in closed form."""
    a, b = 7.0, 0.1
    whole = 0.5 + a**2 / 8 + b * math.pi**4 / 5 + b**2 * math.pi**8 / 18
    v1, v2, v13 = 0.5 * (1 + b * math.pi**4 / 5) ** 2, a**2 / 8, b**2 * math.pi**8 * 8 / 225
    first = {"x1": v1 / whole, "x2": v2 / whole, "x3": 0.0}
    return first, {"x1": (v1 + v13) / whole, "x2": v2 / whole, "x3": v13 / whole}, whole


def test_sobols_indices_of_ishigami_are_the_known_ones():
    first, total, whole = known()
    found = sensitivity(ishigami, dict.fromkeys(("x1", "x2", "x3"), PI), samples=1024, seed=1)
    assert found.points == 1024 * 5
    assert found.variance == pytest.approx(whole, rel=0.03)
    for name in ("x1", "x2", "x3"):
        share = found.of(name)
        assert share.first == pytest.approx(first[name], abs=0.04)
        assert share.total == pytest.approx(total[name], abs=0.04)
    assert found.of("x3").total - found.of("x3").first > 0.15


def test_morris_finds_the_slope_of_what_is_linear_and_the_spread_of_what_is_not():
    ranges = {"a": (0.0, 2.0), "b": (0.0, 1.0), "c": (0.0, 1.0), "idle": (0.0, 9.0)}
    found = sensitivity(lambda at: 3.0 * at["a"] + at["b"] * at["c"], ranges, method="morris", samples=40, seed=2)
    assert found.of("a").effect == pytest.approx(6.0)
    assert found.of("a").spread == pytest.approx(0.0, abs=1e-9)
    assert found.of("b").spread > 0.1
    assert found.of("idle").effect == 0.0


def test_what_does_not_move_has_no_shares_and_what_is_wrong_is_said():
    still = sensitivity(lambda at: 4.0, {"a": (0.0, 1.0)}, samples=8)
    assert (still.variance, still.of("a").first, still.of("a").total) == (0.0, 0.0, 0.0)
    with pytest.raises(ScenarioError, match="the lower end comes first"):
        sensitivity(ishigami, {"x1": (1.0, 0.0)})
    with pytest.raises(ScenarioError, match="powers of 2"):
        sensitivity(ishigami, {"x1": (0.0, 1.0)}, samples=60)
    with pytest.raises(ScenarioError, match="is nan"):
        sensitivity(lambda at: np.nan, {"a": (0.0, 1.0)}, samples=4)


def test_a_society_is_played_at_points_and_shows_what_its_outcome_goes_by(tmp_path):
    """Its mood is the step times what was answered, and nobody's answer goes by the step: the slope is known."""
    out = tmp_path / "town"
    run_here(experiment, out, dry=False, replicates=1)
    found = sensitivity_of(out, {"step": (0.0, 4.0)}, samples=2, arm="appeal")
    effect = Results(out).paired("mood", "appeal")[0]
    assert found.of("step").effect == pytest.approx(4.0 * effect)
    assert found.of("step").spread == pytest.approx(0.0, abs=1e-9)
    assert msgspec.json.decode((out / "sensitivity.json").read_bytes(), type=Sensitivity) == found
    assert "| step | 0 to 4 |" in sensitivity_text(found)
    fitted = calibrate(
        outcome_at(out, ["step"], arm="appeal"), {"step": (0.0, 4.0)}, 2 * effect, tolerance=effect, draws=8
    )
    assert fitted.of("step").identified
    assert fitted.of("step").best == pytest.approx(2.0, abs=0.5)
    with pytest.raises(SettingsError, match="is no parameter of citizens that is a number; there are step"):
        sensitivity_of(out, {"ballot": (0.0, 1.0)})
    with pytest.raises(SettingsError, match="NAME=low:high"):
        ranges_of(["step=2"])
