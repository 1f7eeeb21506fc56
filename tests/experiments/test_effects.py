"""What an experiment's folder says of its arms: the pairs are pairs, and failures leave bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from populace.core.errors import SettingsError
from populace.experiments import inference
from populace.experiments.bounding import bounds_of, range_of
from populace.experiments.design import DesignedScale
from populace.experiments.effects import course_of, effects_of
from populace.experiments.inference import power
from populace.experiments.pilot import plan_from
from populace.experiments.pilot import told as in_words
from populace.experiments.report.shown_effects import _sizes
from populace.experiments.results import Results


@pytest.fixture
def arm(told) -> str:
    return told.design.treatments[0].name


def test_effects_are_those_of_the_runs_pairs(told, arm):
    effects = told.effects()
    assert effects.replicates == (0, 1, 2, 3, 4, 5)
    for outcome in ("spread", "mean", "heard"):
        paired = told.paired(outcome, arm)
        found = effects.of(arm, outcome)
        assert found.effect.difference == pytest.approx(paired.mean())
        assert (found.effect.t.low, found.effect.t.high) == pytest.approx(
            (inference.interval(paired).low, inference.interval(paired).high)
        )
        assert np.allclose(found.course.difference, _between(told, outcome, arm).mean(axis=0))
    p = [effects.of(arm, name).effect.p_t for name in ("spread", "mean", "heard")]
    assert [one.effect.p_adjusted for one in effects.found] == pytest.approx(list(inference.holm(p)))
    assert effects.of(arm, "mean").interval.method == "studentised"
    table = effects.table.set_index("outcome")
    assert table.loc["mean", "low"] < table.loc["mean", "difference"] < table.loc["mean", "high"]
    assert len(effects.trajectories) == 3 * 7
    with pytest.raises(SettingsError, match="no effect of arm 'nobody' on 'mean'"):
        effects.of("nobody", "mean")


def _between(results: Results, outcome: str, arm: str) -> np.ndarray:
    return results.trajectories(outcome, arm) - results.trajectories(outcome, results.design.control)


def test_bands_hold_the_course_and_have_no_width_before_the_treatment(told, arm):
    course = told.effects().of(arm, "mean").course
    assert (course.low <= course.difference).all()
    assert (course.difference <= course.high).all()
    assert not course.difference[:4].any()
    assert not (course.high - course.low)[:4].any()
    assert course.low[4] > 3.0


def test_a_tick_without_a_value_is_left_out_of_its_band_alone():
    rows = np.random.default_rng(3).normal(size=(2, 6, 5))
    treated, control = rows
    treated[2, 0] = np.nan
    course = course_of(treated, control, 0.95)
    assert np.isnan(course.difference[0])
    assert np.isfinite(course.low[1:]).all()


def test_a_tick_at_which_nearly_all_pairs_differ_alike_does_not_cost_the_others_their_band():
    treated = np.random.default_rng(5).normal(size=(8, 4))
    treated[:, 0], treated[:, 1] = 0.0, np.eye(8)[0]
    course = course_of(treated, np.zeros((8, 4)), 0.95)
    assert np.isfinite(course.low).tolist() == [True, False, True, True]
    assert course.low[0] == course.high[0] == 0.0
    assert inference.band(treated, np.zeros((8, 4))).critical > 1e6, "control: with that tick there is none"


def test_what_was_predicted_and_published_is_held_against_what_is_found(told, arm):
    effects = told.effects()
    spread, mean = effects.of(arm, "spread"), effects.of(arm, "mean")
    assert (spread.predicted, spread.verdict, spread.differs_from_predicted) == ("down", "as predicted", False)
    assert mean.published == pytest.approx(-0.3)
    assert mean.differs_from_published
    assert not spread.differs_from_published


def test_control_arms_swapped_in_the_table_change_the_sign_and_the_verdict(told, arm, monkeypatch):
    right = told.effects()
    as_it_is, control = Results.trajectories, told.design.control
    other = {arm: control, control: arm}
    monkeypatch.setattr(Results, "trajectories", lambda self, outcome, of: as_it_is(self, outcome, other[of]))
    swapped = effects_of(told)
    for one in right.found:
        assert swapped.of(one.arm, one.outcome).effect.difference == pytest.approx(-one.effect.difference)
    assert swapped.of(arm, "spread").verdict == "against the prediction"
    assert swapped.of(arm, "spread").differs_from_predicted
    assert not swapped.of(arm, "mean").differs_from_published


def test_control_an_unpaired_reading_loses_what_the_pairs_share(ran, monkeypatch):
    right = ran.effects().of("silenced", "mean")
    assert right.effect.variance_ratio > 5.0
    as_it_is = Results.trajectories

    def unpaired(self, outcome, of):
        return np.roll(as_it_is(self, outcome, of), 1, axis=0) if of == "control" else as_it_is(self, outcome, of)

    monkeypatch.setattr(Results, "trajectories", unpaired)
    wrong = effects_of(ran).of("silenced", "mean")
    assert wrong.effect.difference == pytest.approx(right.effect.difference)
    assert wrong.effect.t.width > 2.0 * right.effect.t.width
    assert wrong.effect.variance_ratio < right.effect.variance_ratio / 4.0
    assert wrong.effect.t.width != pytest.approx(inference.interval(ran.paired("mean", "silenced")).width)


def test_a_pair_without_a_value_is_left_out_as_a_pair_and_said(told, arm, monkeypatch):
    as_it_is = Results.trajectories

    def holed(self, outcome, of):
        series = as_it_is(self, outcome, of).copy()
        if outcome == "mean" and of == arm:
            series[2, -1] = np.nan
        if outcome == "spread":
            series[1:, -1] = np.nan
        return series

    monkeypatch.setattr(Results, "trajectories", holed)
    effects = effects_of(told)
    assert effects.of(arm, "mean").left_out == (2,)
    assert effects.of(arm, "mean").pairs == (0, 1, 3, 4, 5)
    assert effects.of(arm, "heard").left_out == ()
    assert effects.missing == (
        f"spread of arm {arm}: 1 of 6 pairs have a value in both arms, and a difference needs 2",
    )


def test_failures_are_counted_by_arm_and_leave_bounds(told, arm):
    effects = told.effects()
    (none, some) = effects.failures
    assert (none.arm, none.failures, none.p_adjusted) == ("control", 0, 1.0)
    asks = told.table("asks")
    refused = asks[(asks["arm"] == arm) & (asks["reason"] == "refusal")]
    assert (some.kind, some.of, some.failures) == ("refusal", "ask", len(refused))
    assert some.p == 2 / 2**6
    assert effects.failures_differ
    bounds = {one.outcome: one for one in effects.bounds}
    mean = bounds["mean"]
    assert mean.of == "attitude"
    assert mean.trimmed.low < effects.of(arm, "mean").effect.difference < mean.trimmed.high
    assert mean.trimmed.answered_treated < mean.trimmed.answered_control == 1.0
    assert mean.worst is None
    assert "no mean over agents" in bounds["spread"].why


def test_control_where_arms_fail_alike_there_are_no_bounds(ran):
    effects = ran.effects()
    assert not effects.failures
    assert not effects.bounds
    (mean,) = [one for one in bounds_of(ran, ["moved"]) if one.outcome == "mean"]
    assert mean.trimmed.low == mean.trimmed.high == pytest.approx(ran.paired("mean", "moved").mean())


def test_the_range_of_a_scale_is_that_of_its_recoded_answers():
    items = {"a": (0.0, 3.0), "b": (1.0, 5.0)}
    scale = DesignedScale(instrument="i", source="s", items=items, key={"a": 1, "b": -1}, how="sum")
    assert range_of(scale) == (1.0, 8.0)
    mean = DesignedScale(
        instrument="i", source="s", items={"a": (0.0, 3.0)}, key={"a": 1}, how="mean", recode=[(3.0, 9.0)]
    )
    assert range_of(mean) == (0.0, 9.0)


def test_effects_and_needs_print_as_tables(told):
    effects = told.effects()
    first, _, head, *rows = str(effects).splitlines()
    assert first.startswith(f"{len(effects.replicates)} replicates, arms against")
    assert head.split()[:2] == ["outcome", "arm"]
    assert len(rows) == len(effects.found) + len(effects.missing)
    for one, row in zip(effects.found, rows, strict=False):
        assert f"{one.effect.difference:+.4g}" in row
        assert row.endswith(one.verdict)
        assert row.index(f"{one.effect.difference:+.4g}") == head.index("difference")
    plan = power.needed([1.0, 2.0, 3.0, 4.0], 1.0)
    said = dict(line.rsplit(None, 1) for line in str(plan).splitlines())
    assert said["replicates needed"] == str(plan.replicates)
    assert said["to be safe (0.8)"] == str(plan.safe_replicates)
    assert "Needed(" not in str(plan)


@pytest.mark.parametrize(("pairs", "floor"), [(4, "0.125"), (5, "0.0625"), (6, None)])
def test_few_pairs_have_a_least_p_by_sign_flips_and_it_is_said(told, pairs, floor):
    found = told.effects().found[0]
    values = np.arange(1.0, pairs + 1.0)
    few = replace(found, effect=inference.effect(values, np.zeros(pairs), arm="a", outcome="o"))
    assert few.effect.p_sign_flip == 2.0 ** (1 - pairs)
    notes = [one.text for one in _sizes([few])[2:]]
    assert notes == ([] if floor is None else [
        f"With {pairs} pairs p by sign flips cannot be lower than {floor}, whatever they show."
    ])  # fmt: skip


def test_two_replicates_are_needed(ran, monkeypatch):
    monkeypatch.setattr(Results, "complete", property(lambda self: [0]))
    with pytest.raises(SettingsError, match=r"1 of 3 replicates are complete in every arm.*populace resume"):
        ran.effects()


def test_a_pilot_says_how_many_replicates_an_effect_needs(ran):
    (plan,) = plan_from(ran, "spread", 0.2, arm="moved")
    pairs = ran.paired("spread", "moved")
    assert plan.tests == 9
    assert plan.needed == inference.needed(pairs, 0.2, tests=9)
    reached = {n: one for n, one, _ in plan.curve}
    assert reached[plan.needed.replicates] >= 0.8
    assert power.power_of(0.2, plan.needed.deviation, plan.needed.replicates - 1, tests=9) < 0.8
    text = in_words(plan)
    assert f"{plan.needed.replicates:,} replicates, if pairs differ as they do in the pilot (3 pairs" in text
    assert "adjusted for 9 comparisons" in text
    assert len(plan_from(ran, "spread", 0.2)) == 3
    with pytest.raises(SettingsError, match="'control' is the control"):
        plan_from(ran, "spread", 0.2, arm="control")


@pytest.mark.parametrize(("size", "replicates"), [(0.2, 10), (1.0, 5), (0.63, 60), (2.0, 3)])
def test_power_by_quadrature_is_that_of_the_noncentral_t(size, replicates):
    solver = pytest.importorskip("statsmodels.stats.power").TTestPower()
    assert power.integrated_power(size, replicates, 0.01) == pytest.approx(
        solver.power(size, replicates, 0.01), abs=1e-5
    )


def test_power_has_a_value_where_the_noncentral_t_has_none():
    curve = [power.power_of(5.0, 1.0, n, tests=9) for n in range(2, 12)]
    assert np.isfinite(curve).all()
    assert (np.diff(curve) >= 0).all()
