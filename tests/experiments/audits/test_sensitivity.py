"""Indices of functions for which they are known."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from support.audited_experiment import experiment
from support.command import populace as command
from support.experiments import run_here

from populace.core.errors import ScenarioError, SettingsError
from populace.experiments.audits.calibration import Calibration
from populace.experiments.audits.points import Points, ranges_of, sensitivity_of
from populace.experiments.audits.sensitivity import Sensitivity, sensitivity
from populace.experiments.audits.shown import sensitivity_text
from populace.experiments.audits.targets import target_of
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
    said = command(
        "experiment", "calibrate", "town", "--vary", "step=0:4", "--target", str(2 * effect), "--tolerance",
        str(effect), "--arm", "appeal", "--draws", "8", "--jobs", "2", cwd=tmp_path,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "mood, appeal less control, to be" in said.stdout
    fitted = msgspec.json.decode((out / "calibration.json").read_bytes(), type=Calibration)
    assert fitted.of("step").identified
    assert fitted.of("step").best == pytest.approx(2.0, abs=0.5)
    assert said.stdout.strip() == str(fitted)
    mood = Results(out).trajectories("mood", "control")[0]
    (tmp_path / "mood.csv").write_text("tick,value\n" + "".join(f"{at},{one}\n" for at, one in enumerate(mood)))
    series = target_of(str(tmp_path / "mood.csv"))
    own = Points(out, ["step"], ticks=series.ticks)({"step": 1.0})
    assert own.tolist() == pytest.approx(series.values), "at the society's own step the series is the control's"
    with pytest.raises(SettingsError, match="'control' is the control"):
        Points(out, ["step"], arm="control")
    with pytest.raises(SettingsError, match="is no parameter of citizens that is a number; there are step"):
        sensitivity_of(out, {"ballot": (0.0, 1.0)})
    with pytest.raises(SettingsError, match="NAME=low:high"):
        ranges_of(["step=2"])


def test_what_is_aimed_at_is_a_number_a_series_or_what_people_showed(tmp_path):
    assert target_of("0.5").values == [0.5]
    people = target_of("people:default_of_insurance")
    assert people.values == [pytest.approx(0.105)]
    assert "Cai, de Janvry and Sadoulet" in people.told
    path = tmp_path / "series.csv"
    path.write_text("tick,value\n4,2.5\n0,1\n")
    assert (target_of(str(path)).ticks, target_of(str(path)).values) == ([0, 4], [1.0, 2.5])
    for text, said in (
        ("tick,value\n1,x\n", r"series.csv:2: a line is a tick"), ("tick,value\n1,2\n1,3\n", "series.csv:3: a tick"),
        ("tick,value\n", "has no line"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(SettingsError, match=said):
            target_of(str(path))
    for text, said in (
        ("people:nobody", "there are callback_by_name"),
        ("nan", "finite"),
        ("gone.csv", "is no number"),
    ):
        with pytest.raises(SettingsError, match=said):
            target_of(text)
