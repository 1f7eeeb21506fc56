"""Arms of several factors and doses, and who is treated within a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.experiments import SMALL, changed, run_here

from populace.core.errors import ScenarioError
from populace.experiments import Arm, Randomised, doses, factorial
from populace.experiments.loading import find_experiment
from populace.experiments.lots import draw_lots
from populace.experiments.planning import plan

OFF, ON = Arm(), Arm(levers=[{"at": 3, "block": {"sender": {"share": 0.3}}}], about="silence")


def test_every_combination_of_levels_does_what_each_does():
    arms = factorial({"news": {"off": OFF, "on": ON}, "open": {"low": OFF, "high": Arm(parameters={"openness": 0.9})}})
    assert list(arms) == ["news=off, open=low", "news=off, open=high", "news=on, open=low", "news=on, open=high"]
    both = arms["news=on, open=high"]
    assert (both.levers, both.parameters, both.about) == (tuple(ON.levers), {"openness": 0.9}, "silence")
    assert both.factors == {"news": "on", "open": "high"}
    with pytest.raises(ScenarioError, match="two of its levels set 'openness'"):
        factorial({name: {"x": Arm(parameters={"openness": value})} for name, value in (("a", 0.1), ("b", 0.2))})


def test_a_fraction_is_balanced_and_its_generator_holds():
    levels = {name: {"-": OFF, "+": Arm(parameters={name: 1})} for name in "abcd"}
    whole, half = factorial(levels), factorial(levels, fraction=["d=a*b*c"])
    assert (len(whole), len(half)) == (16, 8)
    signs = np.array([[1 if arm.factors[name] == "+" else -1 for name in "abcd"] for arm in half.values()])
    assert (signs[:, 3] == signs[:, :3].prod(axis=1)).all()
    assert np.array_equal(signs.T @ signs, 8 * np.eye(4))  # main effects are orthogonal
    assert len(factorial(levels, fraction=["c=a*b", "d=a*b"])) == 4
    with pytest.raises(ScenarioError, match="'e' is no factor of two levels"):
        factorial(levels, fraction=["e=a*b"])


def test_doses_are_arms_with_their_level():
    arms = doses("share", [0.1, 0.3], lambda share: Arm(levers=[{"at": 3, "block": {"sender": {"share": share}}}]))
    assert {name: arm.factors for name, arm in arms.items()} == {
        "share=0.1": {"share": 0.1}, "share=0.3": {"share": 0.3},
    }  # fmt: skip


ARMS = """arms=factorial({
        "quiet": {"no": Arm(), "yes": Arm(levers=[{"at": 3, "block": {"sender": {"share": 0.3}}}])},
        "open": {"no": Arm(), "yes": Arm(parameters={"openness": 0.9})},
    }),
    """


def test_arms_of_a_factorial_fork_where_they_part(tmp_path):
    source = Path(SMALL).read_text(encoding="utf-8")
    begin, end = source.index("arms={"), source.index("outcomes=[")
    source = f"{source[:begin]}{ARMS}{source[end:]}".replace("Arm, Experiment, Outcome", "Arm, Experiment, factorial")
    source = source.replace('[Outcome("spread", direction={"silenced": "up"}), "mean", "heard"]', '["spread", "mean"]')
    file = str(tmp_path / "factorial_experiment.py")
    Path(file).write_text(source, encoding="utf-8")
    design = plan(find_experiment(file))
    assert [(arm.name, arm.base, arm.at_tick) for arm in design.arms] == [
        ("quiet=no, open=no", "", 0),
        ("quiet=no, open=yes", "quiet=no, open=no", 0),
        ("quiet=yes, open=no", "quiet=no, open=no", 3),
        ("quiet=yes, open=yes", "quiet=no, open=yes", 3),
    ]
    results = run_here(file, tmp_path / "out", replicates=1)
    assert results.status == "complete"
    assert results.runs.set_index("arm")["began_at_tick"].tolist() == [0, 0, 2, 2]


LOT = '{"at": 3, "change": {"group": Randomised(by="communities", share=0.5), "fields": {"attitude": 8.0}}}'


def test_communities_are_treated_whole_and_agents_by_themselves(tmp_path):
    imports = "from populace.experiments import Arm, Experiment, Outcome"
    file = changed(
        tmp_path, (imports, f"{imports}, Randomised"), ('{"at": 3, "block": {"sender": {"share": 0.3}}}', LOT),
        ('"mean", "heard"]', '"mean"]'),
    )  # fmt: skip
    results = run_here(file, tmp_path / "out", replicates=2)
    frame = results.assignment("silenced")
    assert len(frame) == 2 * 16
    by_cluster = frame.groupby(["replicate", "cluster"])["treated"]
    assert (by_cluster.nunique() == 1).all()
    assert (frame.groupby("replicate")["cluster"].nunique() > 1).all()
    assert frame.groupby("replicate")["treated"].nunique().eq(2).all()
    levers = results.table("levers")
    for replicate in range(2):
        rows = levers[(levers["arm"] == "silenced") & (levers["replicate"] == replicate)]
        drawn = frame[(frame["replicate"] == replicate) & frame["treated"]]
        assert sorted(rows["agent"]) == sorted(drawn["agent"])
    assert results.design.randomised == [{"by": "communities", "share": 0.5, "key": "assignment"}]
    assert len(results.assignment("moved")) == 0


def test_one_key_is_one_lot_and_a_smaller_share_is_part_of_a_larger_one():
    experiment = find_experiment(SMALL)
    design = plan(experiment)

    def treated(**lot):
        lever = {"change": {"group": {"randomised": {"by": "agents", "share": 0.5, "key": "k", **lot}}}}
        (found,) = draw_lots(design.societies[0], design.read_settings(), [lever]).values()
        return set(np.flatnonzero(found.treated).tolist())

    assert treated(share=0.25) < treated()
    assert len(treated()) == 8
    assert treated(key="other") != treated()
    with pytest.raises(ScenarioError, match="key 'assignment' draws agents here and communities there"):
        plan(_with_two_lots(experiment))


def _with_two_lots(experiment):
    from dataclasses import replace

    def arm(by):
        return Arm(levers=[{"at": 3, "send": {"to": Randomised(by=by), "body": 1.0}}])

    return replace(experiment, arms={"control": Arm(), "a": arm("communities"), "b": arm("agents")}, outcomes=["mean"])
