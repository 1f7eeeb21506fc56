"""Who gains and who loses: planted effects by group and quantile are found, and nobody gains where there are none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.experiments import changed, run_here

from populace.core.errors import ScenarioError, SettingsError
from populace.experiments import Each, Subgroup
from populace.experiments.checks import check_design
from populace.experiments.gains import gains_of
from populace.experiments.inference import holm
from populace.experiments.loading import find_experiment
from populace.experiments.planning import plan
from populace.experiments.report.made import report_of
from populace.experiments.report.shown_gains import gains as gains_section
from populace.experiments.results import Results

PLANTED = (
    ('"moved": Arm(levers=[{"at": 4, "change": {"group": "all", "fields": {"attitude": 9.0}}}]),',
     ('"moved": Arm(levers=[{"at": 5, "change": {"group": {"where": {"group": 1}}, "fields": {"attitude": 40.0}}}]),\n'
     '        "drawn": Arm(levers=[{"at": 5, "change": {"group": Randomised(), "fields": {"attitude": 40.0}}}]),')),
    ('"silenced": Arm(levers=[{"at": 3, "block": {"sender": {"share": 0.3}}}]),', ""),
    ('"open": Arm(parameters={"openness": 0.9}),', ""),
    ("import Arm, Experiment, Outcome", "import Arm, Each, Experiment, Outcome, Randomised, Subgroup"),
    ('[Outcome("spread", direction={"silenced": "up"}), "mean", "heard"]',
     ('[Outcome("mean", each="attitude"), Outcome("heard", each="heard")],\n'
     '    subgroups=[Subgroup("group", names=("even", "odd")), Subgroup("attitude", parts=2)]')),
    ("    replicates=3,", "    replicates=7,"),
)  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Results:
    """Everybody of the second group is moved far in one arm; in the other whom a lot draws."""
    folder: Path = tmp_path_factory.mktemp("gains")
    return run_here(changed(folder, *PLANTED), folder / "out", dry=False)


@pytest.fixture(scope="module")
def gains(planted):
    return planted.effects().gains


def of(gains, arm, column, outcome="mean"):
    return [one for one in gains.groups if (one.arm, one.column, one.outcome) == (arm, column, outcome)]


def test_whom_a_treatment_reaches_gains_and_the_others_do_not(planted, gains):
    even, odd = of(gains, "moved", "group")
    assert (even.group, odd.group, even.agents, odd.agents) == ("even", "odd", 8.0, 8.0)
    assert odd.clear
    assert odd.effect.difference > 20.0
    assert abs(even.effect.difference) < odd.effect.difference / 3
    assert even.apart
    assert odd.apart
    assert odd.found.unlike_others == pytest.approx(-even.found.unlike_others)
    panel = planted.panel("attitude").pivot(index=["arm", "replicate"], columns="agent", values="value")
    between = panel.loc["moved"] - panel.loc["control"]
    assert odd.effect.difference == pytest.approx(between.loc[:, 1::2].mean().mean())
    assert 8 * (even.effect.difference + odd.effect.difference) == pytest.approx(between.sum(axis=1).mean())


def test_control_a_grouping_that_the_treatment_does_not_go_by_shows_no_difference(gains):
    drawn = of(gains, "drawn", "group")
    assert not any(one.apart for one in drawn)
    assert {one.group for one in of(gains, "moved", "attitude")} != {"even", "odd"}


def test_p_values_are_adjusted_over_all_groups_arms_and_outcomes(gains):
    assert len(gains.groups) == 2 * 2 * 2 * 2
    assert [one.effect.p_adjusted for one in gains.groups] == pytest.approx(
        holm([one.effect.p_t for one in gains.groups]).tolist()
    )
    assert [one.found.p_unlike for one in gains.groups] == pytest.approx(
        holm([one.found.p_unlike_alone for one in gains.groups]).tolist()
    )
    table = gains.table.set_index(["arm", "outcome", "column", "group"])
    assert table.loc[("moved", "mean", "group", "odd"), "clear"]
    assert (gains.registered, gains.claims, gains.missing) == (True, True, ())


def test_quantiles_move_where_agents_were_moved(gains):
    (moved,) = [one for one in gains.quantiles if (one.arm, one.outcome) == ("moved", "mean")]
    by = dict(zip(moved.found.quantiles, zip(moved.found.effects, moved.clear, strict=True), strict=True))
    assert by[0.75][1]
    assert by[0.75][0].difference > 15.0 > abs(by[0.1][0].difference)
    assert (moved.found.band.low <= [one.difference for one in moved.found.effects]).all()
    assert len(gains.quantile_table) == len(gains.quantiles) * 5


def test_of_those_drawn_within_runs_errors_are_clustered(planted, gains):
    within = {(one.arm, one.outcome): one for one in gains.within}
    assert set(within) == {("drawn", "mean"), ("drawn", "heard")}
    found = within["drawn", "mean"].found
    assert (found.agents, found.runs) == (7 * 16, 7)
    assert found.interval.low > 10.0
    lot = planted.assignment("drawn").set_index(["replicate", "agent"])["treated"]
    values = planted.panel("attitude").query("arm == 'drawn'").set_index(["replicate", "agent"])["value"]
    apart = values.groupby([lot[values.index].to_numpy()]).mean()
    assert found.difference == pytest.approx(apart[True] - apart[False])


def test_groups_that_were_not_registered_are_said_to_be_none_of_the_design(planted):
    found = planted.effects(subgroups=["group"]).gains
    assert not found.registered
    assert {one.column for one in found.groups} == {"group"}
    wrong = planted.effects(subgroups=["grop"]).gains
    assert not wrong.groups
    assert "the population has no column 'grop'; it has group, attitude" in wrong.missing[0]


def test_the_report_shows_it_and_its_first_lines_say_so(planted):
    report = report_of(planted)
    section = next(one for one in report.sections if one.title == "Who gains and who loses")
    figures = [one.name for one in report.figures if one.name.startswith(("gains", "quantiles"))]
    assert figures == ["gains-1", "gains-2", "gains-3", "gains-4", "quantiles-1", "quantiles-2"]
    tables = {one.caption for one in section.blocks if hasattr(one, "rows")}
    assert "Agents drawn within runs" in tables
    leads = [one.text for one in report.leads if one.text.startswith("Who gains")]
    assert any("what 'moved' does to 'mean' (of each agent attitude) differs by 'group'" in one for one in leads)
    assert any("(odd)" in one for one in leads)


def test_without_subgroups_or_agents_values_there_is_no_such_section(ran):
    assert ran.effects().gains is None
    assert gains_section(ran, ran.effects()) is None


def test_groups_are_part_of_what_is_registered(planted):
    design = planted.design
    other = msgspec.structs.replace(design, subgroups=design.subgroups[:1])
    assert design.digest != other.digest
    assert msgspec.structs.replace(design, audits=[], replicates=99).digest == design.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('each="attitude"', 'each="atitude"'), r":\d+: outcome 'mean': agents have no public field 'atitude'"),
        (('Subgroup("group", names', 'Subgroup("grup", names'), "the population has no column 'grup'; it has group"),
        (('names=("even", "odd")', 'names=("a", "b", "c")'), "'group': makes 2 groups, and 3 names are given"),
        (('Subgroup("attitude", parts=2)', '"group"'), "subgroup 'group' is named twice"),
        (('Subgroup("attitude", parts=2)', "3"), r"subgroups=\['income'"),
        ((', each="attitude"), Outcome("heard", each="heard")]', "), 'heard']"), "no outcome says what it is of each"),
    ],
)
def test_what_cannot_be_told_by_group_is_refused_with_its_line(tmp_path, change, said):
    path = changed(tmp_path, *PLANTED)
    text = Path(path).read_text(encoding="utf-8")
    assert text.count(change[0]) == 1
    Path(path).write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises((ScenarioError, SettingsError), match=said):
        check_design(find_experiment(path), plan(find_experiment(path)))


def test_a_group_of_nobody_is_left_out_and_said(planted):
    found = gains_of(planted, subgroups=[Subgroup("attitude", cuts=(-90.0, 5.0))])
    assert len([one for one in found.groups if one.arm == "moved" and one.outcome == "mean"]) == 2
    assert "group 'below -90': it has nobody with a value in 7 of 7 replicates" in found.missing[0]


def test_what_an_outcome_is_of_each_agent():
    now, start = [9.0, 5.0, 1.0, -1.0], [7.0, 5.0, 3.0, 6.0]
    rose = Each("attitude", distance_from=5.0, read="rose", by=0.5, missing=-1.0)
    assert rose.of(now, start)[:3].tolist() == [1.0, 0.0, 1.0]
    assert np.isnan(rose.of(now, start)[3])
    assert Each("a", read="fell").of(now, start).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert Each("a", read="change").of(now, start).tolist() == [2.0, 0.0, -2.0, -7.0]
    with pytest.raises(ScenarioError, match="holds no numbers"):
        Each("a").of(["x"], ["y"])


def test_groups_are_cut_of_all_runs_together():
    names, placed = Subgroup("income", parts=2).grouped({0: [1, 2, 3, None], 1: [10, 20, 30, float("nan")]})
    assert names == ("below 6.5", "6.5 and above")
    assert (placed[0].tolist(), placed[1].tolist()) == ([0, 0, 0, -1], [1, 1, 1, -1])
    names, placed = Subgroup("party").grouped({0: ["b", "a", "b"]})
    assert (names, placed[0].tolist()) == (("a", "b"), [1, 0, 1])
    with pytest.raises(ScenarioError, match="is cut where it holds numbers only"):
        Subgroup("name").grouped({0: [str(one) for one in range(9)]})
